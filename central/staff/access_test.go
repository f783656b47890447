package staff_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/central/staff"
)

// However many copies start at once, there is one key.
func TestTheKeyIsMadeOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.pool.Exec(t.Context(), `DELETE FROM token_key`)
	require.NoError(t, err)
	var starting sync.WaitGroup
	for range 8 {
		starting.Go(func() {
			s, err := staff.New(staff.Config{Pool: b.pool, Now: b.now})
			if err == nil {
				err = s.Prepare(t.Context())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	starting.Wait()
	var keys int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM token_key`).Scan(&keys))
	require.Equal(t, 1, keys)
}

// forged is an access token that somebody else has made, in some way.
func forged(t *testing.T, claims jwt.MapClaims, method jwt.SigningMethod, kid, key any, change func(jwt.MapClaims)) string {
	t.Helper()
	change(claims)
	token := jwt.NewWithClaims(method, claims)
	token.Header["kid"] = kid
	text, err := token.SignedString(key)
	require.NoError(t, err)
	return text
}

func TestForgedAccessTokensAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.account(t, "ada@example.org", staff.Admin)
	other := b.account(t, "bob@example.org", staff.Admin)
	in := b.tokens(t, "ada@example.org")
	browser := b.browser(t, "ada@example.org")
	var secret []byte
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT secret FROM token_key`).Scan(&secret))
	good := func() jwt.MapClaims {
		return jwt.MapClaims{
			"iss": "gatehouse-central", "aud": "gatehouse-api", "sub": a.ID.String(), "sid": in.Principal.SignIn.String(),
			"iat": b.now().Unix(), "exp": b.now().Add(time.Minute).Unix(),
		}
	}
	forge := func(method jwt.SigningMethod, kid any, key any, change func(jwt.MapClaims)) string {
		return forged(t, good(), method, kid, key, change)
	}
	set := func(name string, value any) func(jwt.MapClaims) {
		return func(c jwt.MapClaims) { c[name] = value }
	}
	without := func(name string) func(jwt.MapClaims) {
		return func(c jwt.MapClaims) { delete(c, name) }
	}
	same := func(jwt.MapClaims) {}
	_, err := b.SignIns.ByAccess(t.Context(), forge(jwt.SigningMethodHS256, "1", secret, same), home())
	require.NoError(t, err, "what follows is refused for what is said of it")
	for name, text := range map[string]string{
		"nothing":            "",
		"no token":           "a.b.c",
		"too long":           in.Access + strings.Repeat("A", 2000),
		"a signature is off": in.Access[:len(in.Access)-2] + "AA",
		"no method":          forge(jwt.SigningMethodNone, "1", jwt.UnsafeAllowNoneSignatureType, same),
		"another method":     forge(jwt.SigningMethodHS512, "1", secret, same),
		"another key":        forge(jwt.SigningMethodHS256, "1", []byte(strings.Repeat("k", 32)), same),
		"an unknown key":     forge(jwt.SigningMethodHS256, "7", secret, same),
		"a key of no number": forge(jwt.SigningMethodHS256, "../1", secret, same),
		"a key of no text":   forge(jwt.SigningMethodHS256, 1, secret, same),
		"another issuer":     forge(jwt.SigningMethodHS256, "1", secret, set("iss", "somebody")),
		"no issuer":          forge(jwt.SigningMethodHS256, "1", secret, without("iss")),
		"another audience":   forge(jwt.SigningMethodHS256, "1", secret, set("aud", "gatehouse-gate")),
		"no audience":        forge(jwt.SigningMethodHS256, "1", secret, without("aud")),
		"no expiry":          forge(jwt.SigningMethodHS256, "1", secret, without("exp")),
		"no time of issue":   forge(jwt.SigningMethodHS256, "1", secret, without("iat")),
		"expired":            forge(jwt.SigningMethodHS256, "1", secret, set("exp", b.now().Add(-time.Minute).Unix())),
		"good for too long":  forge(jwt.SigningMethodHS256, "1", secret, set("exp", b.now().Add(24*time.Hour).Unix())),
		"of the future":      forge(jwt.SigningMethodHS256, "1", secret, set("iat", b.now().Add(time.Minute).Unix())),
		"of nobody":          forge(jwt.SigningMethodHS256, "1", secret, without("sub")),
		"of somebody else":   forge(jwt.SigningMethodHS256, "1", secret, set("sub", other.ID.String())),
		"of no sign-in":      forge(jwt.SigningMethodHS256, "1", secret, without("sid")),
		"of an unknown one":  forge(jwt.SigningMethodHS256, "1", secret, set("sid", uuid.NewString())),
		"of a browser's":     forge(jwt.SigningMethodHS256, "1", secret, set("sid", browser.Principal.SignIn.String())),
		"a refresh token":    in.Refresh,
		"a cookie":           browser.Cookie,
		"two tokens in one":  in.Access + "." + in.Access,
		"with a line break":  in.Access + "\n",
		"padded":             in.Access + "=",
	} {
		_, err := b.SignIns.ByAccess(t.Context(), text, home())
		require.ErrorIs(t, err, staff.ErrToken, name)
	}
	b.pass(staff.AccessTTL + staff.ClockSkewMax)
	_, err = b.SignIns.ByAccess(t.Context(), in.Access, home())
	require.ErrorIs(t, err, staff.ErrToken)
	require.LessOrEqual(t, staff.AccessTTL+staff.ClockSkewMax, 15*time.Minute)
}

// A key can be followed by another one, and tokens of the one before stay good until it
// is retired.
func TestKeysFollowEachOther(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.account(t, "ada@example.org", staff.Admin)
	old := b.tokens(t, "ada@example.org")
	_, err := b.pool.Exec(t.Context(), `INSERT INTO token_key (secret, created_at) VALUES (sha256('next'), now())`)
	require.NoError(t, err)
	next := b.other(t).tokens(t, "ada@example.org")
	b.pass(time.Second)
	for _, in := range []staff.Tokens{old, next} {
		_, err := b.SignIns.ByAccess(t.Context(), in.Access, home())
		require.NoError(t, err, "a copy that has not heard of a key asks")
	}
	_, err = b.pool.Exec(t.Context(), `UPDATE token_key SET retired_at = now() WHERE kid = 1`)
	require.NoError(t, err)
	b.pass(time.Minute)
	_, err = b.SignIns.ByAccess(t.Context(), old.Access, home())
	require.ErrorIs(t, err, staff.ErrToken)
	_, err = b.SignIns.ByAccess(t.Context(), next.Access, home())
	require.NoError(t, err)
}
