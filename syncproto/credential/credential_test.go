package credential_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
)

var update = flag.Bool("update", false, "rewrite testdata/vectors.json")

func key(seed string) ed25519.PrivateKey {
	s := sha256.Sum256([]byte(seed))
	return ed25519.NewKeyFromSeed(s[:])
}

func anyFields() *rapid.Generator[credential.Fields] {
	return rapid.Custom(func(t *rapid.T) credential.Fields {
		if rapid.Bool().Draw(t, "provisional") {
			return credential.Fields{
				Provisional: true,
				Event:       syncproto.EventNo(rapid.Uint32().Draw(t, "event")),
				Ticket:      syncproto.TicketNo(rapid.Uint32Min(1).Draw(t, "ticket")),
				Type:        syncproto.TypeNo(rapid.Uint16().Draw(t, "type")),
				NotBefore:   int64(rapid.Uint32().Draw(t, "sold")),
				NotAfter:    int64(rapid.Uint32().Draw(t, "exp")),
			}
		}
		return credential.Fields{
			Key:         syncproto.KeyID(rapid.Uint8().Draw(t, "key")),
			Event:       syncproto.EventNo(rapid.Uint32().Draw(t, "event")),
			Ticket:      syncproto.TicketNo(rapid.Uint32Min(1).Draw(t, "ticket")),
			Type:        syncproto.TypeNo(rapid.Uint16().Draw(t, "type")),
			NeedsRoster: rapid.Bool().Draw(t, "needs_roster"),
			Issue:       rapid.Uint8Max(credential.IssueMax).Draw(t, "issue"),
			NotBefore:   int64(rapid.Uint32().Draw(t, "nbf")),
			NotAfter:    int64(rapid.Uint32().Draw(t, "exp")),
		}
	})
}

func TestSignedFieldsComeBack(t *testing.T) {
	k := key("a")
	rapid.Check(t, func(t *rapid.T) {
		f := anyFields().Draw(t, "fields")
		text, err := credential.Sign(k, f)
		require.NoError(t, err)
		require.Len(t, text, credential.TextLen)
		require.LessOrEqual(t, len(text), 140)
		c, err := credential.Parse([]byte(text))
		require.NoError(t, err)
		require.Equal(t, f, c.Fields)
		require.True(t, c.Verify(k.Public().(ed25519.PublicKey)))
		require.False(t, c.Verify(key("b").Public().(ed25519.PublicKey)))
		require.False(t, c.Verify(nil))
	})
}

func TestAnyChangedCharacterIsRefused(t *testing.T) {
	k := key("a")
	text, err := credential.Sign(k, credential.Fields{Key: 1, Event: 7, Ticket: 42, Type: 1})
	require.NoError(t, err)
	for i := range text {
		for _, r := range "A7b\x00" {
			b := []byte(text)
			if b[i] == byte(r) {
				continue
			}
			b[i] = byte(r)
			c, err := credential.Parse(b)
			require.Truef(t, err != nil || !c.Verify(k.Public().(ed25519.PublicKey)), "character %d as %q", i, r)
		}
	}
}

func TestOnlyTheCanonicalTextIsACode(t *testing.T) {
	text, err := credential.Sign(key("a"), credential.Fields{Event: 1, Ticket: 1})
	require.NoError(t, err)
	for name, s := range map[string]string{
		"empty": "", "short": text[:135], "long": text + "A", "padded": text + "====", "lower": strings.ToLower(text),
		"space": " " + text[1:], "newline inside": text[:70] + "\n" + text[71:], "version": "AQ" + text[2:],
		"binary": string(make([]byte, 136)), "url": "https://example.org/" + text,
		"ticket zero": zeroTicket(t, text),
	} {
		_, err := credential.Parse([]byte(s))
		require.ErrorIsf(t, err, credential.ErrMalformed, name)
	}
}

func zeroTicket(t *testing.T, text string) string {
	b, err := base32.StdEncoding.DecodeString(text)
	require.NoError(t, err)
	copy(b[6:10], make([]byte, 4))
	return base32.StdEncoding.EncodeToString(b)
}

func TestSignRefusesFieldsThatDoNotFit(t *testing.T) {
	for _, f := range []credential.Fields{
		{Ticket: 0},
		{Ticket: 1, Issue: 128},
		{Ticket: 1, NotBefore: -1},
		{Ticket: 1, NotAfter: 1 << 32},
		{Ticket: 1, Provisional: true, Key: 1},
		{Ticket: 1, Provisional: true, Issue: 1},
		{Ticket: 1, Provisional: true, NeedsRoster: true},
	} {
		_, err := credential.Sign(key("a"), f)
		require.Error(t, err)
	}
}

// A provisional code and one of central differ in what is signed, so that neither
// key's signature can be carried over by changing the version.
func TestAProvisionalCodeIsNoOther(t *testing.T) {
	k := key("device")
	f := credential.Fields{Event: 7, Ticket: 42, Type: 1, NotBefore: 1_750_000_000}
	for _, provisional := range []bool{false, true} {
		f.Provisional = provisional
		text, err := credential.Sign(k, f)
		require.NoError(t, err)
		raw, err := base32.StdEncoding.DecodeString(text)
		require.NoError(t, err)
		raw[0] = 3 - raw[0] // the other version
		c, err := credential.Parse([]byte(base32.StdEncoding.EncodeToString(raw)))
		require.NoError(t, err)
		require.Equal(t, !provisional, c.Provisional)
		require.False(t, c.Verify(k.Public().(ed25519.PublicKey)))
	}
	for at, name := range map[int]string{1: "key id", 12: "flags"} {
		text, err := credential.Sign(k, f)
		require.NoError(t, err)
		raw, err := base32.StdEncoding.DecodeString(text)
		require.NoError(t, err)
		raw[at] = 1
		_, err = credential.Parse([]byte(base32.StdEncoding.EncodeToString(raw)))
		require.ErrorIs(t, err, credential.ErrMalformed, name)
	}
}

type vector struct {
	Seed    string `json:"ed25519_seed_hex"`
	Public  string `json:"ed25519_public_hex"`
	HashKey string `json:"hash_key_hex"`
	Fields  struct {
		Provisional bool   `json:"provisional,omitempty"`
		Key         uint8  `json:"key_id"`
		Event       uint32 `json:"event"`
		Ticket      uint32 `json:"ticket"`
		Type        uint16 `json:"type"`
		NeedsRoster bool   `json:"needs_roster"`
		Issue       uint8  `json:"issue"`
		NotBefore   int64  `json:"not_before"`
		NotAfter    int64  `json:"not_after"`
	} `json:"fields"`
	Code     string `json:"code"`
	CodeHash string `json:"code_hash_base64url"`
}

func (v *vector) fields() credential.Fields {
	return credential.Fields{
		Provisional: v.Fields.Provisional,
		Key:         syncproto.KeyID(v.Fields.Key), Event: syncproto.EventNo(v.Fields.Event), Ticket: syncproto.TicketNo(v.Fields.Ticket),
		Type: syncproto.TypeNo(v.Fields.Type), NeedsRoster: v.Fields.NeedsRoster, Issue: v.Fields.Issue,
		NotBefore: v.Fields.NotBefore, NotAfter: v.Fields.NotAfter,
	}
}

func TestVectors(t *testing.T) {
	const file = "testdata/vectors.json"
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	var vs []vector
	require.NoError(t, json.Unmarshal(raw, &vs))
	require.NotEmpty(t, vs)
	for i := range vs {
		v := &vs[i]
		seed, err := hex.DecodeString(v.Seed)
		require.NoError(t, err)
		hk, err := hex.DecodeString(v.HashKey)
		require.NoError(t, err)
		k := ed25519.NewKeyFromSeed(seed)
		code, err := credential.Sign(k, v.fields())
		require.NoError(t, err)
		sum := credential.NewHasher(hk).Sum([]byte(code))
		if *update {
			v.Public, v.Code, v.CodeHash = hex.EncodeToString(k.Public().(ed25519.PublicKey)), code, sum.String()
			continue
		}
		require.Equal(t, v.Code, code)
		require.Equal(t, v.Public, hex.EncodeToString(k.Public().(ed25519.PublicKey)))
		require.Equal(t, v.CodeHash, base64.RawURLEncoding.EncodeToString(sum[:]))
	}
	if *update {
		out, err := json.MarshalIndent(vs, "", "  ")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, append(out, '\n'), 0o644))
	}
}

func TestOurBase32IsTheStandardOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFields().Draw(t, "fields")
		text, err := credential.Sign(key("a"), f)
		require.NoError(t, err)
		raw, err := base32.StdEncoding.DecodeString(text)
		require.NoError(t, err)
		require.Equal(t, text, base32.StdEncoding.EncodeToString(raw))
	})
}

func FuzzParse(f *testing.F) {
	text, err := credential.Sign(key("a"), credential.Fields{Key: 1, Event: 7, Ticket: 42, Type: 1})
	require.NoError(f, err)
	f.Add([]byte(text))
	sold, err := credential.Sign(key("a"), credential.Fields{Provisional: true, Event: 7, Ticket: 42, Type: 1, NotBefore: 1_750_000_000})
	require.NoError(f, err)
	f.Add([]byte(sold))
	f.Add([]byte(strings.ToLower(text)))
	f.Add([]byte(""))
	f.Add(make([]byte, 136))
	pub := key("a").Public().(ed25519.PublicKey)
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := credential.Parse(text)
		if err != nil {
			require.ErrorIs(t, err, credential.ErrMalformed)
			return
		}
		if c.Verify(pub) {
			again, err := credential.Sign(key("a"), c.Fields)
			require.NoError(t, err)
			require.Equal(t, string(text), again, "one text for each code")
		}
	})
}

func BenchmarkParse(b *testing.B) {
	text, _ := credential.Sign(key("a"), credential.Fields{Key: 1, Event: 7, Ticket: 42, Type: 1})
	raw := []byte(text)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = credential.Parse(raw)
	}
}

func BenchmarkHash(b *testing.B) {
	text, _ := credential.Sign(key("a"), credential.Fields{Key: 1, Event: 7, Ticket: 42, Type: 1})
	raw, h := []byte(text), credential.NewHasher(make([]byte, 32))
	b.ReportAllocs()
	for b.Loop() {
		h.Sum(raw)
	}
}
