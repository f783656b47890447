package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/central/pgtest"
)

func TestLoopbackIsToldFromOtherAddresses(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9": true, "::1": true, "localhost": true,
		"": false, "0.0.0.0": false, "::": false, "192.0.2.1": false, "no-such-host.invalid": false,
	} {
		require.Equal(t, want, loopback(t.Context(), host), host)
	}
}

func TestURLsSayWhereCentralIsReached(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flags         serveFlags
		addr          string
		local, public string
	}{
		{serveFlags{}, "127.0.0.1:80", "http://127.0.0.1:80", "http://127.0.0.1:80"},
		{serveFlags{cert: "c"}, "192.0.2.1:443", "https://192.0.2.1:443", "https://192.0.2.1:443"},
		{serveFlags{}, "[::1]:80", "http://[::1]:80", "http://[::1]:80"},
		{serveFlags{}, "[::]:80", "http://127.0.0.1:80", ""},
		{serveFlags{}, "0.0.0.0:80", "http://127.0.0.1:80", ""},
		{serveFlags{public: "https://x.example/"}, "0.0.0.0:80", "http://127.0.0.1:80", "https://x.example"},
	} {
		addr, err := net.ResolveTCPAddr("tcp", c.addr)
		require.NoError(t, err)
		local, public := c.flags.urls(addr)
		require.Equal(t, c.local, local, c.addr)
		require.Equal(t, c.public, public, c.addr)
	}
}

func TestTakenAddressIsFoundBeforeAnythingIsMade(t *testing.T) {
	t.Parallel()
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	data := dataDir(t)
	r := run(t, "serve", "--data", data, "--listen", taken.Addr().String())
	require.Equal(t, exitFailure, r.code)
	require.Contains(t, r.err, "choose another address with --listen")
	require.Equal(t, 1, strings.Count(r.err, "\n"))
	require.NoDirExists(t, data)
}

func TestServeSpeaksTLSWithACertificate(t *testing.T) {
	t.Parallel()
	cert, key, pool := certificate(t)
	s := serve(t, "--database-url", pgtest.Empty(t), "--tls-cert", cert, "--tls-key", key)
	require.True(t, strings.HasPrefix(s.url, "https://"))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/readyz", nil)
	require.NoError(t, err)
	answer, err := client.Do(request)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Empty(t, s.stop(t))
}

// certificate makes a self-signed certificate for this machine.
func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool = x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(certPEM))
	return file(t, "cert.pem", string(certPEM)), file(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))), pool
}
