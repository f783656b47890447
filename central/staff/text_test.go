package staff_test

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/central/staff"
)

func TestEmailAddresses(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"ada@example.org":              "ada@example.org",
		"  Ada.Lovelace@Example.ORG\n": "ada.lovelace@example.org",
		"a+b_c-d@mail.example.co.uk":   "a+b_c-d@mail.example.co.uk",
		"o'neill@example.org":          "o'neill@example.org",
		"ada@bücher.example":           "ada@xn--bcher-kva.example",
		"ada@موقع.example":             "ada@xn--4gbrim.example",
		strings.Repeat("a", 64) + "@" + strings.Repeat("b", 60) + ".org": strings.Repeat("a", 64) + "@" + strings.Repeat("b", 60) + ".org",
	} {
		got, err := staff.ParseEmail(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got)
	}
	long := strings.Repeat("b.", 100)
	for _, in := range []string{
		"", "ada", "@", "ada@", "@example.org", "ada@example", "ada@@example.org", "a b@example.org", "ada@exa mple.org", "ada@-example.org",
		"ada@example-.org", "ada@.example.org", "ada@example..org", ".ada@example.org", "ada.@example.org", "a..b@example.org",
		"Ada <ada@example.org>", `"ada"@example.org`, "ada@[127.0.0.1]", "ada@127.0.0.1", "ada@1.2", "ada@example.org,bob@example.org", "ada\x00@example.org",
		"ada@exa\x00mple.org", "ada@example.org\nBcc: bob@example.org", "adä@example.org", "\xff@example.org", "ada@\xff.org", "ada@exam_ple.org",
		strings.Repeat("a", 65) + "@example.org", "ada@" + strings.Repeat("b", 64) + ".org", strings.Repeat("a", 60) + "@" + long + "org",
	} {
		_, err := staff.ParseEmail(in)
		require.Error(t, err, "%q", in)
		input := (*staff.InputError)(nil)
		require.ErrorAs(t, err, &input)
		require.Equal(t, "email", input.Field)
	}
}

func FuzzParseEmail(f *testing.F) {
	f.Add("ada@example.org")
	f.Add("Ada <ada@example.org>")
	f.Add("ada@bücher.example")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := staff.ParseEmail(text)
		if err != nil {
			require.Empty(t, got)
			return
		}
		require.Equal(t, strings.ToLower(got), got)
		require.LessOrEqual(t, len(got), staff.EmailMax)
		require.Equal(t, 1, strings.Count(got, "@"))
		require.False(t, strings.ContainsFunc(got, func(r rune) bool { return r <= ' ' || r >= utf8.RuneSelf || r == 0x7f }))
		again, err := staff.ParseEmail(got)
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}

func FuzzParseAPIKey(f *testing.F) {
	f.Add(staff.FormatAPIKey(uuid.Nil, make([]byte, 32)))
	f.Add("ghk_")
	f.Add(strings.Repeat("a", staff.APIKeyChars))
	f.Fuzz(func(t *testing.T, text string) {
		id, secret, err := staff.ParseAPIKey(text)
		if err != nil {
			require.ErrorIs(t, err, staff.ErrToken)
			return
		}
		require.Len(t, secret, 32)
		require.Equal(t, text, staff.FormatAPIKey(id, secret), "a key has one text")
	})
}

func FuzzParseSecret(f *testing.F) {
	f.Add(strings.Repeat("A", 43))
	f.Add(strings.Repeat("A", 42) + "B")
	f.Add("AAAA\n" + strings.Repeat("A", 39))
	f.Fuzz(func(t *testing.T, text string) {
		secret, err := staff.ParseSecret(text)
		if err != nil {
			require.ErrorIs(t, err, staff.ErrToken)
			return
		}
		require.Len(t, secret, 32)
		require.Equal(t, text, staff.SecretText(secret), "a secret has one text")
	})
}

// Whatever is changed about the one token that is good, it is good no more.
func FuzzParseAccess(f *testing.F) {
	now := time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)
	good, err := staff.SignAccess([]byte("a key"), uuid.UUID{1}, uuid.UUID{2}, now)
	require.NoError(f, err)
	f.Add(good)
	f.Add(good + "\n")
	f.Add("..")
	f.Fuzz(func(t *testing.T, text string) {
		if err := staff.ParseAccess([]byte("a key"), text, now); text != good {
			require.ErrorIs(t, err, staff.ErrToken)
		} else {
			require.NoError(t, err)
		}
	})
}

func TestAPIKeyTexts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		secret := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "secret")
		text := staff.FormatAPIKey(id, secret)
		require.Regexp(t, `^ghk_[a-z2-7]{26}_[a-z2-7]{52}$`, text)
		gotID, gotSecret, err := staff.ParseAPIKey(text)
		require.NoError(t, err)
		require.Equal(t, id, gotID)
		require.Equal(t, secret, gotSecret)
		i := rapid.IntRange(0, len(text)-1).Draw(t, "flipped")
		bent := text[:i] + rapid.SampledFrom([]string{"a", "b", "A", "_", "1", "\n", "=", "é"}).Draw(t, "to") + text[i+1:]
		gotID, gotSecret, err = staff.ParseAPIKey(bent)
		require.False(t, err == nil && bent != text && gotID == id && string(gotSecret) == string(secret))
	})
}

func TestPasswordLimits(t *testing.T) {
	t.Parallel()
	for password, ok := range map[string]bool{
		strings.Repeat("x", staff.PasswordMin):   true,
		strings.Repeat("x", staff.PasswordMin-1): false,
		strings.Repeat("ä", staff.PasswordMin):   true,
		strings.Repeat("ä", staff.PasswordMin-1): false,
		strings.Repeat("x", staff.PasswordMax):   true,
		strings.Repeat("x", staff.PasswordMax+1): false,
		"two\nlines of it":                       false,
		"a nul \x00 in it":                       false,
		"\xff\xfe no text at all":                false,
		"Ada@Example.org":                        false,
		"كلمة سر طويلة":                          true,
	} {
		_, err := staff.CheckPassword(password, "ada@example.org")
		require.Equal(t, ok, err == nil, "%q: %v", password, err)
	}
	composed, err := staff.CheckPassword("caf\u00e9 caf\u00e9", "")
	require.NoError(t, err)
	combining, err := staff.CheckPassword("cafe\u0301 cafe\u0301", "")
	require.NoError(t, err)
	require.Equal(t, composed, combining, "one text, whichever keyboard wrote it")

	seen := map[string]bool{}
	for range 100 {
		p, err := staff.GeneratePassword(rand.Reader)
		require.NoError(t, err)
		require.Regexp(t, `^[0-9a-z]{4}(-[0-9a-z]{4}){4}$`, p)
		_, err = staff.CheckPassword(p, "")
		require.NoError(t, err)
		require.False(t, seen[p])
		seen[p] = true
	}
	_, err = staff.GeneratePassword(strings.NewReader("short"))
	require.Error(t, err)
}

func TestCSRFTokens(t *testing.T) {
	t.Parallel()
	a, b := staff.CSRFToken("cookie a"), staff.CSRFToken("cookie b")
	require.NotEqual(t, a, b)
	require.True(t, staff.CSRFValid("cookie a", a))
	require.False(t, staff.CSRFValid("cookie a", b))
	require.False(t, staff.CSRFValid("cookie a", ""))
	require.False(t, staff.CSRFValid("", staff.CSRFToken("")), "without a sign-in there is none")
}

// RFC 6238, appendix B, SHA-1. Its codes have eight digits; ours are the last six.
func TestCodesAreThoseOfTheRFC(t *testing.T) {
	t.Parallel()
	for at, want := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130",
	} {
		code, err := staff.TOTPCode([]byte("12345678901234567890"), at/30)
		require.NoError(t, err)
		require.Equal(t, want[2:], code)
	}
	require.Equal(t, "otpauth://totp/The%20Fair:ada@example.org?algorithm=SHA1&digits=6&issuer=The%20Fair&period=30&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
		staff.TOTPURI("The Fair", "ada@example.org", []byte("12345678901234567890")))
}

func TestLocksGrowAndEnd(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)
	var f staff.Tries
	for range staff.EmailTriesMax - 1 {
		f = f.FailEmail(now)
		require.Zero(t, f.Locked(now))
	}
	for _, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, staff.LockMax, staff.LockMax} {
		f = f.FailEmail(now)
		require.Equal(t, want, f.Locked(now))
		require.Zero(t, f.Locked(now.Add(want)), "it ends")
		now = now.Add(want)
	}
	locked := f.FailEmail(now)
	require.Equal(t, staff.LockMax, locked.Locked(now.Add(-staff.ClockSkewMax)), "another copy's clock is a little behind")
	require.Zero(t, locked.Locked(now.Add(-staff.ClockSkewMax-1)))
	require.Zero(t, f.Locked(now.Add(-2*staff.LockMax)), "a clock that was set back locks nobody out for longer")
	require.Equal(t, f.Count()+1, f.FailEmail(now.Add(-24*time.Hour)).Count(), "and forgives nothing")
	require.Equal(t, 1, f.FailEmail(now.Add(24*time.Hour)).Count(), "a day later all is forgotten")
	require.Equal(t, f.Count(), f.FailEmail(now.Add(staff.EmailForgets)).Count(), "an hour later, one")

	// What an address can try for good is one in AddressForgets, whatever it does.
	f, tried := staff.Tries{}, 0
	for end := now.Add(24 * time.Hour); now.Before(end); now = now.Add(time.Second) {
		if f.Locked(now) == 0 {
			f = f.FailAddress(now)
			tried++
		}
	}
	require.LessOrEqual(t, tried, staff.AddressTriesMax+int(24*time.Hour/staff.AddressForgets))
}

func TestLocksLastNoLongerThanTheyMay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)
		var f staff.Tries
		for range rapid.IntRange(0, 300).Draw(t, "tries") {
			f = f.FailEmail(now)
			now = now.Add(time.Duration(rapid.Int64Range(-int64(time.Hour), int64(2*time.Hour)).Draw(t, "pause")))
			require.Positive(t, f.Count())
			require.LessOrEqual(t, f.Locked(now), staff.LockMax)
		}
	})
}

func TestRememberedSignInsAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := staff.NewStates()
	for range staff.StatesMax + 1 {
		id := uuid.New()
		gen, ok := s.Get(id, now)
		require.False(t, ok)
		s.Put(id, gen, now)
		_, ok = s.Get(id, now)
		require.True(t, ok)
		_, ok = s.Get(id, now.Add(staff.StateAgeMax))
		require.False(t, ok)
		_, ok = s.Get(id, now.Add(-staff.StateAgeMax))
		require.False(t, ok, "nor when the clock was set back")
	}
	require.Equal(t, 1, s.Len())
	id := uuid.New()
	gen, _ := s.Get(id, now)
	s.Forget()
	s.Put(id, gen, now)
	require.Zero(t, s.Len(), "what was read before all was forgotten is not remembered")
}
