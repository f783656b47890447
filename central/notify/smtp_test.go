package notify_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/central/notify"
)

func TestAnAddressOfAServerIsRead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]notify.SMTPConfig{
		"smtp://mail.example.org":                 {Host: "mail.example.org", Port: 587, Security: notify.StartTLS},
		"smtp://ada%40x.org@mail.example.org:25":  {Host: "mail.example.org", Port: 25, User: "ada@x.org", Security: notify.StartTLS},
		"smtps://ada@mail.example.org":            {Host: "mail.example.org", Port: 465, User: "ada", Security: notify.ImplicitTLS},
		"smtp://127.0.0.1:2525?starttls=never":    {Host: "127.0.0.1", Port: 2525, Security: notify.Plain},
		"smtp://ada@[::1]:2525?starttls=never":    {Host: "::1", Port: 2525, User: "ada", Security: notify.Plain},
		"smtp://relay.example.org?starttls=never": {Host: "relay.example.org", Port: 587, Security: notify.Plain},
	} {
		got, err := notify.ParseSMTP(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for text, says := range map[string]string{
		"smtp://ada:secret@mail.example.org":            "password",
		"smtp://ada@mail.example.org?starttls=never":    "password",
		"smtps://mail.example.org?starttls=never":       "starttls",
		"smtp://mail.example.org?tls=no":                "starttls",
		"smtp://mail.example.org?starttls=never&x=y":    "starttls",
		"smtp://mail.example.org:99999":                 "port",
		"http://mail.example.org":                       "not an address",
		"mail.example.org:587":                          "not an address",
		"smtp://":                                       "not an address",
		"smtp://mail.example.org/inbox":                 "not an address",
		"smtp://a%0d%0ab@mail.example.org?starttls=yes": "characters",
	} {
		_, err := notify.ParseSMTP(text)
		require.ErrorContains(t, err, says, text)
		require.NotContains(t, err.Error(), "secret")
	}
}

func FuzzParseSMTP(f *testing.F) {
	for _, text := range []string{"smtp://ada@mail.example.org:587", "smtps://h", "smtp://127.0.0.1:25?starttls=never", "smtp://a:b@c", "smtp://[::1]", "smtp://h:0", "::"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cfg, err := notify.ParseSMTP(text)
		if err != nil {
			return
		}
		require.NotEmpty(t, cfg.Host)
		require.False(t, strings.ContainsAny(cfg.Host+cfg.User, "\r\n\x00"))
		require.Empty(t, cfg.Password)
		require.True(t, cfg.Port > 0 && cfg.Port < 1<<16)
		u, err := url.Parse(text)
		require.NoError(t, err)
		_, has := u.User.Password()
		require.False(t, has)
		if cfg.Security == notify.Plain {
			require.Contains(t, text, "never")
		}
	})
}
