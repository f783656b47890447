package notify_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/central/notify"
)

// certificate is one of 127.0.0.1, and who trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	require.NoError(t, err)
	read, err := x509.ParseCertificate(raw)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(read)
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, pool
}

func TestLettersGoByTLS(t *testing.T) {
	t.Parallel()
	cert, trusted := certificate(t)
	for _, security := range []notify.Security{notify.StartTLS, notify.ImplicitTLS} {
		t.Run(string(security), func(t *testing.T) {
			t.Parallel()
			s := listen(t, 0, func(s *server) {
				s.password, s.security = "right", security
				s.tls = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
			})
			with := func(pool *x509.CertPool) *bundle {
				return setup(t, s.port, func(cfg *notify.Config) {
					cfg.Sender = sender(t, s.port, func(c *notify.SMTPConfig) {
						c.Security, c.User, c.Password, c.TLS = security, "ada", "right", &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
					})
				})
			}
			b := with(trusted)
			b.link(t, "ada@example.org")
			require.Equal(t, 1, b.step(t))
			require.Len(t, s.all(), 1)
			require.True(t, s.all()[0].safe)

			b = with(x509.NewCertPool())
			b.link(t, "ada@example.org")
			_, err := b.Step(t.Context())
			require.ErrorContains(t, err, "certificate")
			require.Len(t, s.all(), 1)
			require.Zero(t, b.only(t).Tries)
			require.NotContains(t, b.log.String(), "right")
			require.Equal(t, 1, strings.Count(b.log.String(), "takes no letters"))
		})
	}
}
