package pass_test

import (
	"archive/zip"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"gatehouse/central/pass"
)

// papers are an operator's, by an authority that stands for Apple's.
type papers struct {
	pass.AppleConfig
	root *x509.Certificate
}

func apple(t *testing.T) papers {
	t.Helper()
	issue := func(subject pkix.Name, serial int64, ca bool, parent *x509.Certificate, by *rsa.PrivateKey) (*x509.Certificate, *rsa.PrivateKey) {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		require.NoError(t, err)
		template := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			BasicConstraintsValid: true, IsCA: ca, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		}
		if parent == nil {
			parent, by = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
		require.NoError(t, err)
		cert, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		return cert, key
	}
	root, rootKey := issue(pkix.Name{CommonName: "Root of a test"}, 1, true, nil, nil)
	middle, middleKey := issue(pkix.Name{CommonName: "Intermediate of a test"}, 2, true, root, rootKey)
	leaf, key := issue(pkix.Name{
		CommonName: "Pass Type ID: pass.example.tickets", OrganizationalUnit: []string{"TEAM123456"},
		ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, Value: "pass.example.tickets"}},
	}, 3, false, middle, middleKey)
	return papers{pass.AppleConfig{Certificate: leaf, Key: key, Intermediate: middle}, root}
}

// unpack is what a pass has, by name.
func unpack(t *testing.T, body []byte) map[string][]byte {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(body), int64(len(body)))
	require.NoError(t, err)
	out := map[string][]byte{}
	for _, f := range z.File {
		r, err := f.Open()
		require.NoError(t, err)
		out[f.Name], err = io.ReadAll(r)
		require.NoError(t, err)
	}
	return out
}

// verify has openssl check a pass's signature by the root alone.
func (p papers) verify(t *testing.T, files map[string][]byte) error {
	t.Helper()
	dir := t.TempDir()
	put := func(name string, body []byte) string {
		at := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(at, body, 0o600))
		return at
	}
	root := put("root.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.root.Raw}))
	out, err := exec.CommandContext(t.Context(), "openssl", "smime", "-verify", "-binary", "-inform", "DER", "-purpose", "any",
		"-in", put("signature", files["signature"]), "-content", put("manifest.json", files["manifest.json"]), "-CAfile", root, "-out", os.DevNull).CombinedOutput()
	t.Logf("openssl: %s", out)
	return err
}

func TestApplePassIsWhatOpenSSLVerifies(t *testing.T) {
	t.Parallel()
	p := apple(t)
	a, err := pass.NewApple(p.AppleConfig)
	require.NoError(t, err)
	tk := ticket()
	body, err := a.Pass(&tk, at)
	require.NoError(t, err)
	files := unpack(t, body)
	require.NoError(t, p.verify(t, files))
	var sums map[string]string
	require.NoError(t, json.Unmarshal(files["manifest.json"], &sums))
	for name, body := range files {
		if name == "manifest.json" || name == "signature" {
			continue
		}
		sum := sha1.Sum(body)
		require.Equal(t, hex.EncodeToString(sum[:]), sums[name], name)
		delete(sums, name)
	}
	require.Empty(t, sums)
	var content struct {
		PassTypeIdentifier, TeamIdentifier, SerialNumber, RelevantDate string
		Barcodes                                                       []struct{ Format, Message string }
	}
	require.NoError(t, json.Unmarshal(files["pass.json"], &content))
	require.Equal(t, "pass.example.tickets", content.PassTypeIdentifier)
	require.Equal(t, "TEAM123456", content.TeamIdentifier)
	require.Equal(t, tk.Code, content.Barcodes[0].Message)
	require.Equal(t, "2026-07-01T16:00:00+02:00", content.RelevantDate)
	require.Contains(t, files, "icon.png")

	files["manifest.json"] = append(files["manifest.json"], ' ')
	require.Error(t, p.verify(t, files), "what was changed is not verified")
}

func TestApplePapersHaveToBelongTogether(t *testing.T) {
	t.Parallel()
	good, other := apple(t), apple(t)
	bad := good.AppleConfig
	bad.Key = other.Key
	_, err := pass.NewApple(bad)
	require.ErrorContains(t, err, "the key is not that of the certificate")
	bad = good.AppleConfig
	bad.Intermediate = other.Intermediate
	_, err = pass.NewApple(bad)
	require.ErrorContains(t, err, "intermediate certificate did not sign")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	bad = good.AppleConfig
	bad.Key = key
	_, err = pass.NewApple(bad)
	require.Error(t, err)
	_, err = pass.NewApple(pass.AppleConfig{})
	require.ErrorContains(t, err, "required")
	_, err = pass.NewApple(pass.AppleConfig{Certificate: good.Intermediate, Key: good.Key, Intermediate: good.root})
	require.Error(t, err)
}

func TestGoogleLinkIsSignedByTheServiceAccount(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	file, err := json.Marshal(map[string]string{"client_email": "gate@example.iam", "private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))})
	require.NoError(t, err)
	account, read, err := pass.ReadGoogleKey(file)
	require.NoError(t, err)
	g, err := pass.NewGoogle(pass.GoogleConfig{Issuer: "3388000000012345678", Account: account, Key: read})
	require.NoError(t, err)
	tk := ticket()
	link, err := g.Link(&tk, at)
	require.NoError(t, err)
	u, err := url.Parse(link)
	require.NoError(t, err)
	require.Equal(t, "pay.google.com", u.Host)
	text := strings.TrimPrefix(u.Path, "/gp/v/save/")
	claims := jwt.MapClaims{}
	_, err = jwt.ParseWithClaims(text, claims, func(*jwt.Token) (any, error) { return key.Public(), nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithAudience("google"), jwt.WithIssuer("gate@example.iam"), jwt.WithTimeFunc(func() time.Time { return at }))
	require.NoError(t, err)
	object := claims["payload"].(map[string]any)["eventTicketObjects"].([]any)[0].(map[string]any)
	require.Equal(t, tk.Code, object["barcode"].(map[string]any)["value"])
	require.Equal(t, "Ada Lovelace", object["ticketHolderName"])
	class := claims["payload"].(map[string]any)["eventTicketClasses"].([]any)[0].(map[string]any)
	require.Equal(t, class["id"], object["classId"])
}

func TestGoogleKeysThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	for body, says := range map[string]string{
		"": "JSON file", "{}": "no client_email", `{"client_email":"a","private_key":"b"}`: "private_key",
	} {
		_, _, err := pass.ReadGoogleKey([]byte(body))
		require.ErrorContains(t, err, says)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for _, issuer := range []string{"", "12x"} {
		_, err := pass.NewGoogle(pass.GoogleConfig{Issuer: issuer, Account: "a", Key: key})
		require.ErrorContains(t, err, "issuer is a number")
	}
}

func FuzzGoogleKey(f *testing.F) {
	f.Add([]byte(`{"client_email":"a","private_key":"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		account, key, err := pass.ReadGoogleKey(body)
		if err == nil && (account == "" || key == nil) {
			t.Fatal("a key that is none")
		}
	})
}
