package e2e_test

import (
	"crypto/ed25519"
	"encoding/base32"
	"encoding/base64"
	"slices"
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

// badCode is a text that no lane opens for, and why.
type badCode struct{ name, text, reason string }

// notCodes are texts that are no code of ours, some made from a genuine one.
func notCodes(t *testing.T, code string) []badCode {
	t.Helper()
	raw, err := base32.StdEncoding.DecodeString(code)
	require.NoError(t, err)
	all := []badCode{
		{name: "garbage", text: "HELLO WORLD"},
		{name: "a web address", text: "https://example.org/?q=1&r=2#x"},
		{name: "a bar code", text: "4006381333931"},
		{name: "SQL", text: `'; DROP TABLE ticket; --`},
		{name: "JSON", text: `{"decision":"admit"}`},
		{name: "binary", text: "\xff\xfe\x00\x01\x80\x81\x82\x83\x84\x85"},
		{name: "a terminal's escape", text: "\x1b[2J\x1b[31mADMITTED"},
		{name: "UTF-8", text: "ТИКЕТ № 1 – 票"},
		{name: "spaces", text: "      "},
		{name: "one character", text: "A"},
		{name: "long", text: strings.Repeat("A", 1000)},
		{name: "truncated by half", text: code[:68]},
		{name: "truncated by one", text: code[:135]},
		{name: "one too many", text: code + "A"},
		{name: "twice in one line", text: code + code},
		{name: "with a space before", text: " " + code},
		{name: "lower case", text: strings.ToLower(code)},
		{name: "padded", text: code + "===="},
		{name: "as base64", text: base64.StdEncoding.EncodeToString(raw)},
		{name: "in extended hex base32", text: base32.HexEncoding.EncodeToString(raw)},
		{name: "another version", text: forge(t, code, 0, 3)},
		{name: "ticket number 0", text: forge(t, code, 9, lastOfNumber(t, code))},
	}
	for i := range all {
		all[i].reason = "malformed"
	}
	return all
}

// forgeries are codes that were made from a genuine one without its key.
func forgeries(t *testing.T, code string) []badCode {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	return []badCode{
		{"another key id", forge(t, code, 1, 0x40), "unknown"},
		{"another event number", forge(t, code, 5, 0x40), "bad_signature"},
		{"another ticket number", forge(t, code, 7, 0x40), "bad_signature"},
		{"another ticket type", forge(t, code, 11, 1), "bad_signature"},
		{"another flag", forge(t, code, 12, 1), "bad_signature"},
		{"another window", forge(t, code, 20, 1), "bad_signature"},
		{"a bit of the signature", forge(t, code, 21, 1), "bad_signature"},
		{"the last bit of the signature", forge(t, code, 84, 1), "bad_signature"},
		{"re-signed", resign(t, code, key, func(*credential.Fields) {}), "bad_signature"},
		{"re-signed for a new number", resign(t, code, key, func(f *credential.Fields) { f.Ticket = 900_000 }), "bad_signature"},
		{"re-signed for another event", resign(t, code, key, func(f *credential.Fields) { f.Event += 77 }), "bad_signature"},
		{"re-signed under an unheard-of key", resign(t, code, key, func(f *credential.Fields) { f.Key = 200 }), "unknown"},
	}
}

func TestBadInputIsRefused(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	sold := e.sell(t, "A,day,paid", "gone,day,paid")
	code := sold["A"].code
	newer := e.must(t, "ticket", "reissue", "--reference", "gone")
	g := e.newGate(t, "North", lane{"N1", "main", "in"}, lane{"N2", "main", "in"})
	g.flags = append(g.flags, "--guard", "0")
	g.start(t)
	g.untilSynced(t)
	for _, bad := range slices.Concat(notCodes(t, code), forgeries(t, code), []badCode{
		{"another central's", otherCentral(t).newFestival(t).sell(t, "A,day,paid")["A"].code, "bad_signature"},
		{"another event's", theTown(t).newFestival(t).sell(t, "A,day,paid")["A"].code, "wrong_event"},
		{"superseded", sold["gone"].code, "revoked"},
	}) {
		d := g.scan(t, "N1", bad.text)
		require.Equal(t, "deny "+bad.reason, d.String(), bad.name)
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

	// What is no line at all is dropped, and the lane goes on.
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

// lastOfNumber is the last byte of a small ticket number.
func lastOfNumber(t *testing.T, code string) byte {
	t.Helper()
	c, err := credential.Parse([]byte(code))
	require.NoError(t, err)
	require.Less(t, c.Ticket, syncproto.TicketNo(256))
	return byte(c.Ticket)
}
