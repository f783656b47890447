package e2e_test

import (
	"crypto/ed25519"
	"encoding/base32"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
)

// forge changes one byte of a code, XORing it, and encodes it anew.
func forge(t *testing.T, code string, at int, flip byte) string {
	t.Helper()
	raw, err := base32.StdEncoding.DecodeString(code)
	require.NoError(t, err)
	raw[at] ^= flip
	return base32.StdEncoding.EncodeToString(raw)
}

// resign signs what a code says with another key, after change.
func resign(t *testing.T, code string, key ed25519.PrivateKey, change func(*credential.Fields)) string {
	t.Helper()
	c, err := credential.Parse([]byte(code))
	require.NoError(t, err)
	change(&c.Fields)
	text, err := credential.Sign(key, c.Fields)
	require.NoError(t, err)
	return text
}

func TestBadInputIsRefused(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	sold := e.sell(t, "A,day,paid", "B,day,paid", "gone,day,paid")
	elsewhere := theTown(t).newFestival(t).sell(t, "A,day,paid")
	stranger := otherCentral(t).newFestival(t).sell(t, "A,day,paid")
	newer := e.must(t, "ticket", "reissue", "--reference", "gone")
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	code := sold["A"].code
	raw, err := base32.StdEncoding.DecodeString(code)
	require.NoError(t, err)
	same := func(*credential.Fields) {}

	g := e.newGate(t, "North", lane{"N1", "main", "in"}, lane{"N2", "main", "in"})
	g.flags = append(g.flags, "--guard", "0")
	g.start(t)
	g.untilSynced(t)
	for _, bad := range []struct{ name, text, reason string }{
		{"garbage", "HELLO WORLD", "malformed"},
		{"a web address", "https://example.org/?q=1&r=2#x", "malformed"},
		{"a bar code", "4006381333931", "malformed"},
		{"a quote", `'; DROP TABLE ticket; --`, "malformed"},
		{"a JSON text", `{"decision":"admit"}`, "malformed"},
		{"binary", "\xff\xfe\x00\x01\x80\x81\x82\x83\x84\x85", "malformed"},
		{"a terminal's escape", "\x1b[2J\x1b[31mADMITTED", "malformed"},
		{"UTF-8", "ТИКЕТ № 1 – 票", "malformed"},
		{"spaces", "      ", "malformed"},
		{"one character", "A", "malformed"},
		{"long", strings.Repeat("A", 1000), "malformed"},
		{"truncated by half", code[:68], "malformed"},
		{"truncated by one", code[:135], "malformed"},
		{"one too many", code + "A", "malformed"},
		{"twice in one line", code + code, "malformed"},
		{"with a space before", " " + code, "malformed"},
		{"lower case", strings.ToLower(code), "malformed"},
		{"padded", code + "====", "malformed"},
		{"as base64", base64.StdEncoding.EncodeToString(raw), "malformed"},
		{"in extended hex base32", base32.HexEncoding.EncodeToString(raw), "malformed"},
		{"another version", forge(t, code, 0, 3), "malformed"},
		{"ticket number 0", forge(t, code, 9, code9(t, code)), "malformed"},
		{"another key id", forge(t, code, 1, 0x40), "unknown"},
		{"another event number", forge(t, code, 5, 0x40), "bad_signature"},
		{"another ticket number", forge(t, code, 7, 0x40), "bad_signature"},
		{"another ticket type", forge(t, code, 11, 1), "bad_signature"},
		{"another flag", forge(t, code, 12, 1), "bad_signature"},
		{"another window", forge(t, code, 20, 1), "bad_signature"},
		{"a bit of the signature", forge(t, code, 21, 1), "bad_signature"},
		{"the last bit of the signature", forge(t, code, 84, 1), "bad_signature"},
		{"re-signed", resign(t, code, key, same), "bad_signature"},
		{"re-signed for a new number", resign(t, code, key, func(f *credential.Fields) { f.Ticket = 900_000 }), "bad_signature"},
		{"re-signed for another event", resign(t, code, key, func(f *credential.Fields) { f.Event += 77 }), "bad_signature"},
		{"re-signed under an unheard-of key", resign(t, code, key, func(f *credential.Fields) { f.Key = 200 }), "unknown"},
		{"another central's", stranger["A"].code, "bad_signature"},
		{"superseded", sold["gone"].code, "revoked"},
		{"another event's", elsewhere["A"].code, "wrong_event"},
	} {
		d := g.scan(t, "N1", bad.text)
		require.Equal(t, "deny "+bad.reason, d.String(), bad.name)
		require.NotContains(t, d.CodeHash, " ", bad.name)
		if bad.reason != "revoked" {
			require.Nil(t, d.TicketID, bad.name)
		}
		// No argument of a command can hold a NUL, and verify takes a code that was
		// pasted with white space around it.
		if !strings.Contains(bad.text, "\x00") && bad.text == strings.TrimSpace(bad.text) {
			require.Equal(t, d.String(), g.verify(t, bad.text).String(), bad.name)
		}
	}
	require.Empty(t, g.admits(t))

	// Nobody is asked about what is no line at all.
	g.send(t, "N1", "\r\n\r\n\t\r")
	g.send(t, "N1", strings.Repeat("A", 10_000)+"\r")
	g.send(t, "N1", "\x00\x01\r")
	g.expect(t, "N1", code, "admit admitted")
	g.expect(t, "N1", code, "deny duplicate") // replayed
	g.expect(t, "N2", code, "deny duplicate")
	g.expect(t, "N1", newer, "admit admitted")
	s := g.scanner(t, "N1")
	require.EqualValues(t, 1, s.Dropped.Long)
	require.EqualValues(t, 1, s.Dropped.Noise)
	require.Equal(t, map[string]int{sold["A"].id: 1, sold["gone"].id: 1}, g.admits(t))
	for _, entry := range g.journal(t) {
		require.NotContains(t, []string{"malformed", "unknown", "bad_signature"}, entry.Reason)
	}
	require.True(t, g.proc.alive())
	require.NotContains(t, g.proc.log(), "panic")
	g.untilSynced(t)
	require.Equal(t, 2, e.attendance(t).Admitted)
}

// code9 is what turns the last byte of a small ticket number to zero.
func code9(t *testing.T, code string) byte {
	t.Helper()
	c, err := credential.Parse([]byte(code))
	require.NoError(t, err)
	require.Less(t, c.Ticket, syncproto.TicketNo(256))
	return byte(c.Ticket)
}
