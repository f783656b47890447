package syncproto_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/syncproto"
)

func key(seed string) ed25519.PrivateKey {
	s := sha256.Sum256([]byte(seed))
	return ed25519.NewKeyFromSeed(s[:])
}

// The list is append-only: scripts and journals hold these codes.
func TestReasonsBeginAsPublished(t *testing.T) {
	published := strings.Fields(`admitted reentry exited same_code duplicate unknown malformed bad_signature wrong_event wrong_zone
		revoked unpaid cancelled too_early too_late day_limit total_limit must_exit_first not_inside override emergency`)
	for i, want := range published {
		require.Equal(t, syncproto.Reason(want), syncproto.Reasons()[i])
	}
	for _, r := range syncproto.Reasons() {
		require.NotEqual(t, syncproto.Reason("?").Sentence(), r.Sentence(), "%s has a sentence of its own", r)
	}
}

func entry() syncproto.Entry {
	return syncproto.Entry{
		Incarnation: uuid.MustParse("01890000-0000-7000-8000-000000000001"), Seq: 2, Kind: syncproto.KindAdmit, Reason: syncproto.ReasonAdmitted,
		T: syncproto.HLCAt(time.UnixMilli(1_783_677_600_000)), At: 1_783_677_600_000, OffsetMS: -5, ErrMS: 3, Event: 1, Ticket: 42,
		Code: syncproto.CodeHash{1, 2}, Lane: "N1", Zone: "main", Direction: syncproto.In,
	}
}

// This value is in the journals of every gate: it never changes for version 1.
func TestChainHashIsFrozen(t *testing.T) {
	e := entry()
	h := e.ChainHash(syncproto.Hash{0xff})
	require.Equal(t, "b555ee8a", hex.EncodeToString(h[:4]))
}

func TestEveryFieldOfAnEntryIsHashed(t *testing.T) {
	base := entry()
	seen := map[syncproto.Hash]bool{base.ChainHash(syncproto.Hash{}): true}
	for name, change := range map[string]func(*syncproto.Entry){
		"inc": func(e *syncproto.Entry) { e.Incarnation[0]++ }, "seq": func(e *syncproto.Entry) { e.Seq++ },
		"kind": func(e *syncproto.Entry) { e.Kind = syncproto.KindDeny }, "reason": func(e *syncproto.Entry) { e.Reason = "x" },
		"t": func(e *syncproto.Entry) { e.T++ }, "at": func(e *syncproto.Entry) { e.At++ }, "off": func(e *syncproto.Entry) { e.OffsetMS++ },
		"err": func(e *syncproto.Entry) { e.ErrMS++ }, "ev": func(e *syncproto.Entry) { e.Event++ }, "n": func(e *syncproto.Entry) { e.Ticket++ },
		"code": func(e *syncproto.Entry) { e.Code[15]++ }, "lane": func(e *syncproto.Entry) { e.Lane = "N" }, "zone": func(e *syncproto.Entry) { e.Zone = "1main" },
		"dir": func(e *syncproto.Entry) { e.Direction = syncproto.Out }, "of": func(e *syncproto.Entry) { e.Of.Seq++ },
		"parent": func(e *syncproto.Entry) { e.ParentHash[31]++ }, "by": func(e *syncproto.Entry) { e.By = "s" }, "note": func(e *syncproto.Entry) { e.Note = "s" },
	} {
		e := entry()
		change(&e)
		h := e.ChainHash(syncproto.Hash{})
		require.False(t, seen[h], name)
		seen[h] = true
	}
	require.False(t, seen[base.ChainHash(syncproto.Hash{1})], "the hash before counts")
}

func TestEntriesComeBackFromJSONWithTheSameHash(t *testing.T) {
	e := entry()
	e.Hash = e.ChainHash(syncproto.Hash{})
	b, err := json.Marshal(e)
	require.NoError(t, err)
	require.NotContains(t, string(b), `"of"`, "empty fields are left out")
	var back syncproto.Entry
	require.NoError(t, json.Unmarshal(b, &back))
	require.Equal(t, e, back)
	require.Equal(t, e.Hash, back.ChainHash(syncproto.Hash{}))
}

func TestPreimagesOfDifferentFieldsDiffer(t *testing.T) {
	ab := syncproto.NewPreimage("d").String("ab").String("c").Sum()
	require.NotEqual(t, ab, syncproto.NewPreimage("d").String("a").String("bc").Sum())
	require.NotEqual(t, ab, syncproto.NewPreimage("dab").String("c").Sum())
}

func TestCursor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := syncproto.Cursor{Seq: rapid.Int64Min(0).Draw(t, "seq"), Tag: rapid.Int64().Draw(t, "tag")}
		copy(c.Epoch[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "epoch"))
		back, err := syncproto.ParseCursor(c.String())
		require.NoError(t, err)
		require.Equal(t, c, back)
	})
	for _, bad := range []string{"", "x", strings.Repeat("A", 44), syncproto.Cursor{Seq: -1}.String(), syncproto.Cursor{}.String() + "A"} {
		_, err := syncproto.ParseCursor(bad)
		require.ErrorIs(t, err, syncproto.ErrCursor, bad)
	}
}

func TestEnrolToken(t *testing.T) {
	tok := syncproto.EnrolToken{Secret: strings.Repeat("s", 22), Root: syncproto.Hash{1}, URL: "http://127.0.0.1:1"}
	back, err := syncproto.ParseEnrolToken("  " + tok.String() + "\n")
	require.NoError(t, err)
	require.Equal(t, tok, back)
	for _, bad := range []string{"", "GH1-", "GH1-!!!", tok.String()[:20], "GH2-" + tok.String()[4:], syncproto.EnrolToken{Secret: "short"}.String(), "GH1-" + strings.Repeat("A", 5000)} {
		_, err := syncproto.ParseEnrolToken(bad)
		require.ErrorIs(t, err, syncproto.ErrToken, bad)
	}
}

func TestSealedSecretsOpenForTheirBoxAndPurposeOnly(t *testing.T) {
	priv, pub, err := syncproto.NewBoxKey()
	require.NoError(t, err)
	sealed, err := syncproto.SealTo(pub, syncproto.PurposeHashKey, []byte("secret"))
	require.NoError(t, err)
	plain, err := syncproto.OpenSealed(priv, syncproto.PurposeHashKey, sealed)
	require.NoError(t, err)
	require.Equal(t, "secret", string(plain))
	_, err = syncproto.OpenSealed(priv, "another purpose", sealed)
	require.Error(t, err)
	stranger, _, err := syncproto.NewBoxKey()
	require.NoError(t, err)
	_, err = syncproto.OpenSealed(stranger, syncproto.PurposeHashKey, sealed)
	require.Error(t, err)
	sealed[len(sealed)-1] ^= 1
	_, err = syncproto.OpenSealed(priv, syncproto.PurposeHashKey, sealed)
	require.Error(t, err)
	_, err = syncproto.SealTo([]byte("short"), "p", nil)
	require.Error(t, err)
}

func TestTrustBundle(t *testing.T) {
	root := key("root")
	b := syncproto.TrustBundle{Central: uuid.New(), Root: root.Public().(ed25519.PublicKey)}
	k := syncproto.SignedKey{Purpose: syncproto.PurposeOnline, ID: 1, Public: key("online").Public().(ed25519.PublicKey), NotBefore: 1}
	k.RootSig = ed25519.Sign(root, k.Preimage(b.Central))
	b.Keys = append(b.Keys, k)
	pinned := syncproto.Fingerprint(b.Root)
	require.NoError(t, b.Verify(pinned))
	require.NotNil(t, b.Key(syncproto.PurposeOnline, 1))
	require.Nil(t, b.Key(syncproto.PurposeTicket, 1), "a key serves one purpose")
	require.ErrorIs(t, b.Verify(syncproto.Hash{1}), syncproto.ErrUntrusted)
	for name, change := range map[string]func(*syncproto.TrustBundle){
		"purpose": func(b *syncproto.TrustBundle) { b.Keys[0].Purpose = syncproto.PurposeTicket },
		"id":      func(b *syncproto.TrustBundle) { b.Keys[0].ID++ },
		"expiry":  func(b *syncproto.TrustBundle) { b.Keys[0].NotAfter++ },
		"central": func(b *syncproto.TrustBundle) { b.Central = uuid.New() },
		"key":     func(b *syncproto.TrustBundle) { b.Keys[0].Public = key("thief").Public().(ed25519.PublicKey) },
		"no root": func(b *syncproto.TrustBundle) { b.Root = nil },
	} {
		bad := b
		bad.Keys = append([]syncproto.SignedKey(nil), b.Keys...)
		change(&bad)
		require.ErrorIs(t, bad.Verify(pinned), syncproto.ErrUntrusted, name)
	}
}

func TestChainHeads(t *testing.T) {
	dev, k := uuid.New(), key("device")
	head := syncproto.Position{Ref: syncproto.Ref{Incarnation: uuid.New(), Seq: 7}, Hash: syncproto.Hash{1}}
	sig := syncproto.SignHead(k, dev, head)
	pub := k.Public().(ed25519.PublicKey)
	require.True(t, syncproto.VerifyHead(pub, dev, head, sig))
	require.False(t, syncproto.VerifyHead(pub, uuid.New(), head, sig))
	require.False(t, syncproto.VerifyHead(nil, dev, head, sig))
	head.Seq++
	require.False(t, syncproto.VerifyHead(pub, dev, head, sig))
}

func TestTicketIDsAreDerived(t *testing.T) {
	s := uuid.MustParse("01890000-0000-7000-8000-0000000000ee")
	require.Equal(t, "f02f4f38-bce3-5d59-b230-161d2ee6d729", syncproto.TicketID(s, 1).String(), "it is printed on tickets and in logs")
	require.NotEqual(t, syncproto.TicketID(s, 1), syncproto.TicketID(s, 2))
	require.NotEqual(t, syncproto.TicketID(s, 1), syncproto.TicketID(uuid.Nil, 1))
	require.Equal(t, uuid.Version(5), syncproto.TicketID(s, 1).Version())
}

func TestHLC(t *testing.T) {
	at := time.UnixMilli(1_783_677_600_123).UTC()
	h := syncproto.HLCAt(at)
	require.Equal(t, at, h.Time())
	require.Equal(t, h+1, h.Next(h), "strictly later")
	require.Equal(t, h+1, h.Next(h-100), "also when the clock went back")
	require.Equal(t, h+100, h.Next(h+100))
}

func TestErrorsAreFoundInAChain(t *testing.T) {
	e := syncproto.Errorf(syncproto.CodeGap, "go on from %d", 3)
	require.Same(t, e, syncproto.AsError(e))
	require.Nil(t, syncproto.AsError(nil))
	require.Equal(t, 409, e.Code.Status())
	require.Equal(t, 503, syncproto.Code("of a later version").Status())
}
