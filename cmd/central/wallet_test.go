package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// applePapers are files as an operator has them, by an authority that stands for Apple's.
func applePapers(t *testing.T) walletFlags {
	t.Helper()
	root, rootKey := paper(t, pkix.Name{CommonName: "WWDR of a test"}, nil, nil)
	leaf, leafKey := paper(t, pkix.Name{
		CommonName: "Pass", OrganizationalUnit: []string{"TEAM"},
		ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, Value: "pass.example"}},
	}, root, rootKey)
	der, err := x509.MarshalPKCS8PrivateKey(leafKey)
	require.NoError(t, err)
	return walletFlags{
		appleCert: file(t, "pass.pem", inPEM("CERTIFICATE", leaf.Raw)), appleWWDR: file(t, "wwdr.pem", inPEM("CERTIFICATE", root.Raw)),
		appleKey: file(t, "key.pem", inPEM("PRIVATE KEY", der)),
	}
}

func inPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func paper(t *testing.T, subject pkix.Name, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: parent == nil, KeyUsage: x509.KeyUsageCertSign,
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

func TestWalletsAreThoseOfTheFlags(t *testing.T) {
	t.Parallel()
	none, err := (&walletFlags{}).config()
	require.NoError(t, err)
	require.Nil(t, none.Apple)
	require.Nil(t, none.Google)
	good := applePapers(t)
	cfg, err := good.config()
	require.NoError(t, err)
	require.NotNil(t, cfg.Apple)
	for says, spoil := range map[string]func(f *walletFlags){
		"give all three":            func(f *walletFlags) { f.appleKey = "" },
		"is not a PEM file":         func(f *walletFlags) { f.appleCert = file(t, "der", "\x30\x82") },
		"is not a certificate":      func(f *walletFlags) { f.appleCert = f.appleKey },
		"not a key":                 func(f *walletFlags) { f.appleKey = f.appleCert },
		"did not sign the other":    func(f *walletFlags) { f.appleWWDR = applePapers(t).appleWWDR },
		"is not that of the":        func(f *walletFlags) { f.appleKey = applePapers(t).appleKey },
		"no such file":              func(f *walletFlags) { f.appleWWDR = "/nowhere/wwdr.pem" },
		"--google-wallet-issuer be": func(f *walletFlags) { f.googleKey = f.appleKey },
		"is a JSON file":            func(f *walletFlags) { f.googleKey, f.googleIssuer = f.appleKey, "12" },
	} {
		bad := good
		spoil(&bad)
		_, err := bad.config()
		require.ErrorContains(t, err, says)
	}
}
