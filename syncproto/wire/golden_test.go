package wire_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
	"gatehouse/syncproto/wire"
)

// golden compares with a file that another implementation can use as well.
// GOLDEN=write writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if os.Getenv("GOLDEN") == "write" {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), name)
}

// goldenDevice and the things below are the values of all golden files.
func goldenDevice() uuid.UUID { return syncprototest.ID("golden device") }

func goldenRecords() []syncproto.Record {
	rules := syncprototest.Rules("Golden")
	rules.Rev, rules.Event, rules.Stream = 3, 7, syncprototest.ID("golden stream")
	trust := syncprototest.Trust("wire")
	ticket := syncprototest.Ticket(7, 42, syncprototest.TypeSingle)
	revoked := syncprototest.Ticket(7, 43, syncprototest.TypeDaily)
	revoked.Status, revoked.StatusAt, revoked.Rev = syncproto.StatusRevoked, noon, 9
	entry := goldenChain().Entries[1]
	return []syncproto.Record{
		{Kind: syncproto.RecordTrust, Trust: &trust},
		{Kind: syncproto.RecordRules, Rules: &rules},
		{Kind: syncproto.RecordDevice, Device: &syncproto.DeviceRecord{
			Device: goldenDevice(), Rev: 2, Name: "North", Key: syncprototest.Key("golden").Public().(ed25519.PublicKey),
			Revoked: true, Trusted: entry.Ref(),
		}},
		{Kind: syncproto.RecordTicket, Ticket: &ticket},
		{Kind: syncproto.RecordTicket, Ticket: &revoked},
		{Kind: syncproto.RecordEntry, Entry: &syncproto.EntryRecord{
			Entry: entry, Device: goldenDevice(), Outcome: syncproto.OutcomeDuplicate,
			OfEntry: syncproto.Ref{Incarnation: syncprototest.ID("earlier"), Seq: 5}, Untrusted: true,
		}},
		{Kind: syncproto.RecordLease, Lease: goldenLease()},
		{Kind: syncproto.RecordFinding, Finding: &syncproto.FindingRecord{
			ID: 17, Rev: 2, Kind: syncproto.FindingDouble, Detail: syncproto.DetailDuplicate, State: syncproto.FindingNoted, Ticket: 42,
			Count: 1, First: noon, Last: noon + 5,
			Sides: []syncproto.FindingSide{
				{
					Device: syncprototest.ID("other device"), Entry: syncproto.Ref{Incarnation: syncprototest.ID("earlier"), Seq: 5},
					Lane: "south", Zone: "main", Direction: syncproto.In, By: "staff-1", At: noon - 120, OffsetMS: 120, ErrMS: 15,
				},
				syncproto.SideOf(goldenDevice(), &entry),
			},
		}},
		{Kind: "turnstile"},
		{Kind: syncproto.RecordHolder, Holder: &syncproto.HolderRecord{No: 42, Rev: 3, Box: []byte("a box of package holder")}},
		{Kind: syncproto.RecordHolder, Holder: &syncproto.HolderRecord{No: 43, Rev: 4}},
		{Kind: syncproto.RecordVault, Vault: &syncproto.VaultRecord{Rev: 2, Wrap: &syncproto.VaultWrap{
			KDF: "argon2id", Salt: []byte("sixteen bytes up"), Time: 3, MemoryKiB: 65536, Threads: 1, Box: []byte("nonce, vault key and tag"),
		}}},
	}
}

func goldenLease() *syncproto.Lease {
	return &syncproto.Lease{
		ID: syncprototest.ID("golden lease"), Rev: 2, Device: goldenDevice(), Incarnation: syncprototest.Incarnation(noon, "golden"),
		Type: syncprototest.TypeSingle, First: 5000, Count: 50, Granted: noon, Expires: noon + 86_400_000, State: syncproto.LeaseOpen,
	}
}

func goldenChain() *syncprototest.Chain {
	parent := syncproto.Position{Ref: syncproto.Ref{Incarnation: syncprototest.ID("parent"), Seq: 12}, Hash: syncproto.Hash{1, 2, 3}}
	c := syncprototest.NewChain(goldenDevice(), syncprototest.Key("golden"), 7, syncprototest.Incarnation(noon, "golden"), parent, noon)
	c.Admit(42, noon+5)
	c.Exit(42, noon+5)
	c.Add(syncproto.Entry{
		Kind: syncproto.KindUndo, Ticket: 42, Of: c.Entries[1].Ref(), By: "staff-1", Note: "wrong <person> & \"ticket\" – ü",
		OffsetMS: -120, ErrMS: 15,
	}, noon+9)
	return c
}

func TestGoldenRequest(t *testing.T) {
	t.Parallel()
	key, central := syncprototest.Key("golden"), syncprototest.ID("golden central")
	req := &wire.Request{
		Method: http.MethodGet, Target: "/v1/changes?cursor=&limit=7&stream=" + goldenDevice().String(),
		Header: http.Header{}, Body: []byte("body"),
	}
	nonce, err := wire.SignRequest(req, key, central, goldenDevice(), noon, zeros{})
	require.NoError(t, err)

	body := sha256.Sum256(req.Body)
	device := goldenDevice()
	preimage := syncproto.NewPreimage("gatehouse/request/v1").String(req.Method).String(req.Target).Bytes(body[:]).
		Bytes(central[:]).Bytes(device[:]).Int(noon).Bytes(nonce[:]).Sum()
	auth := req.Header.Get("Authorization")
	sig, err := base64.RawURLEncoding.DecodeString(auth[strings.LastIndex(auth, "=")+1:])
	require.NoError(t, err)
	require.True(t, ed25519.Verify(key.Public().(ed25519.PublicKey), preimage, sig), "the preimage is the documented one")
	golden(t, "request.txt", fmt.Appendf(nil, "device key seed: %x\ncentral: %s\nmethod: %s\ntarget: %s\nbody: %s\npreimage: %x\nAuthorization: %s\n",
		key.Seed(), central, req.Method, req.Target, req.Body, preimage, auth))
}

func TestGoldenResponse(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	req := &wire.Request{Method: http.MethodPost, Target: wire.PathHeartbeat, Header: http.Header{wire.HeaderProto: {"1"}}, Body: []byte("{}")}
	nonce, err := wire.SignRequest(req, r.key, r.reply.Trust.Central, r.reply.Device, noon, zeros{})
	require.NoError(t, err)
	resp := r.server.Serve(t.Context(), req)
	sum := sha256.Sum256(resp.Body)
	preimage := syncproto.NewPreimage("gatehouse/response/v1").Bytes(nonce[:]).Int(int64(resp.Status)).Bytes(sum[:]).Sum()
	header := resp.Header.Get(wire.HeaderSignature)
	sig, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(header, "kid=1,sig="))
	require.NoError(t, err)
	require.True(t, ed25519.Verify(syncprototest.Key("online wire").Public().(ed25519.PublicKey), preimage, sig))
	golden(t, "response.txt", fmt.Appendf(nil, "online key seed: %x\nnonce: %x\nstatus: %d\nbody: %s\npreimage: %x\n%s: %s\n",
		syncprototest.Key("online wire").Seed(), nonce, resp.Status, resp.Body, preimage, wire.HeaderSignature, header))
}

func TestGoldenPage(t *testing.T) {
	t.Parallel()
	page := syncproto.Page{
		Stream: syncprototest.ID("golden stream"), From: 10, To: 19, Head: 30, ServerMS: noon, Records: goldenRecords(),
		Next: syncproto.Cursor{Epoch: syncprototest.ID("golden epoch"), Seq: 19, Tag: 77}.String(),
	}
	body, err := wire.EncodePage(&page, online())
	require.NoError(t, err)
	golden(t, "page.ndjson", body)
	trust := syncprototest.Trust("wire")
	back, err := wire.DecodePage(body, &trust)
	require.NoError(t, err)
	require.Equal(t, page, back)
}

func TestGoldenPush(t *testing.T) {
	t.Parallel()
	c := goldenChain()
	req := c.All()
	body, err := wire.EncodePush(&req)
	require.NoError(t, err)
	golden(t, "push.ndjson", body)
	back, err := wire.DecodePush(body)
	require.NoError(t, err)
	require.Equal(t, req, back)
	require.NoError(t, wire.VerifyPush(&back, c.Key.Public().(ed25519.PublicKey)))

	var chain bytes.Buffer
	for i := range req.Entries {
		fmt.Fprintf(&chain, "%d %s\n", req.Entries[i].Seq, hex.EncodeToString(req.Entries[i].Hash[:]))
	}
	fmt.Fprintf(&chain, "device key seed %x\nhead preimage %x\nhead signature %x\n", c.Key.Seed(), syncproto.HeadPreimage(c.Device, c.Last()), req.HeadSig)
	golden(t, "chain.txt", chain.Bytes())
}

func TestGoldenManifest(t *testing.T) {
	t.Parallel()
	m := syncproto.Manifest{
		Stream: syncprototest.ID("golden stream"), Seq: 19, Count: 12,
		Cursor: syncproto.Cursor{Epoch: syncprototest.ID("golden epoch"), Seq: 19, Tag: 77}.String(),
		Chunks: []syncproto.Chunk{{Hash: syncproto.Hash{1}, Bytes: 100, Count: 8}, {Hash: syncproto.Hash{2}, Bytes: 70, Count: 4}},
	}
	require.NoError(t, wire.SignManifest(&m, online()))
	body, err := json.Marshal(m)
	require.NoError(t, err)
	golden(t, "manifest.json", append(body, '\n'))
	trust := syncprototest.Trust("wire")
	require.NoError(t, wire.VerifyManifest(&m, &trust))
}

// TestGoldenChunk reads a chunk that an earlier version wrote. Its bytes may be
// others when the compressor changes, what is in it may not.
func TestGoldenChunk(t *testing.T) {
	t.Parallel()
	var chunks []wire.EncodedChunk
	require.NoError(t, wire.EncodeChunks(each(goldenRecords()), func(c wire.EncodedChunk) error {
		chunks = append(chunks, c)
		return nil
	}))
	require.Len(t, chunks, 1)
	path := filepath.Join("testdata", "golden", "chunk.zst")
	if os.Getenv("GOLDEN") == "write" {
		require.NoError(t, os.WriteFile(path, chunks[0].Body, 0o644))
	}
	body, err := os.ReadFile(path)
	require.NoError(t, err)
	want := syncproto.Chunk{Hash: sha256.Sum256(body), Bytes: int64(len(body)), Count: int64(len(goldenRecords()))}
	var got []syncproto.Record
	require.NoError(t, wire.DecodeChunk(body, want, func(rec *syncproto.Record) error {
		got = append(got, copied(rec))
		return nil
	}))
	require.Equal(t, goldenRecords(), got)
}

// TestGoldenMessages is the JSON of the small messages.
func TestGoldenMessages(t *testing.T) {
	t.Parallel()
	last := goldenChain().Last()
	trust := syncprototest.Trust("wire")
	refusal := syncproto.Errorf(syncproto.CodeFork, "Entry 4 is stored with other contents.")
	refusal.Seq, refusal.Hash = last.Seq, last.Hash
	shown := int64(1)
	var out bytes.Buffer
	for _, m := range []struct {
		name string
		v    any
	}{
		{"enrol request", syncproto.EnrolRequest{Token: "secret", DeviceKey: trust.Root, BoxKey: make([]byte, 32), App: "gate/1"}},
		{"enrol reply", syncproto.EnrolReply{Device: goldenDevice(), Name: "North", Event: 7, Stream: syncprototest.ID("golden stream"), Trust: trust, HashKey: []byte("sealed")}},
		{"hello request", syncproto.HelloRequest{ProtoMin: 1, ProtoMax: 1, Schema: 1, Incarnation: last.Incarnation, Parent: last, Ratchet: "r1", ClockMS: noon, FreeBytes: 1 << 30, App: "gate/1"}},
		{"hello reply", syncproto.HelloReply{
			Proto: 1, Limits: syncproto.DefaultServerLimits(), Acked: []syncproto.Position{last}, Ratchet: "r2",
			Streams: []syncproto.StreamHead{{Stream: syncprototest.ID("golden stream"), Head: 30}}, ServerMS: noon, SpreadMS: 2000,
			Trust: trust, HashKey: []byte("sealed"), Quarantined: true,
		}},
		{"hello reply with a vault key", syncproto.HelloReply{Proto: 1, Ratchet: "r2", ServerMS: noon, VaultKey: []byte("sealed")}},
		{"push reply", syncproto.PushReply{Acked: last, BackoffMS: 250}},
		{"heartbeat request", syncproto.HeartbeatRequest{Incarnation: last.Incarnation, Unsent: 3, OldestMS: 900, FsyncP99US: 1400, FreeBytes: 1 << 30, Cursor: "c", ClockMS: noon, OffsetMS: -3, ErrMS: 8, App: "gate/1", Journals: []syncproto.JournalReport{
			{Incarnation: last.Incarnation, First: 1, Last: last.Seq, Admitted: 1, Shown: &shown}, {Incarnation: syncprototest.ID("earlier"), First: 3, Last: 12, Admitted: 9},
		}}},
		{"heartbeat request after a comparison", syncproto.HeartbeatRequest{Incarnation: last.Incarnation, Cursor: "c", ClockMS: noon, App: "gate/1", Check: &syncproto.CheckState{
			AtMS: noon, Result: syncproto.CheckRepaired, Records: 3, Buckets: 2, DivergedMS: noon - 5, ResyncMS: noon - 9_000_000,
		}}},
		{"heartbeat reply", syncproto.HeartbeatReply{ServerMS: noon, Head: 30, Quarantined: true}},
		{"lease request", syncproto.LeaseRequest{Request: syncprototest.ID("golden request"), Incarnation: last.Incarnation, Type: 1, Count: 50}},
		{"lease request for more time", syncproto.LeaseRequest{Request: syncprototest.ID("golden request"), Incarnation: last.Incarnation, Extend: goldenLease().ID}},
		{"lease reply", syncproto.LeaseReply{Lease: goldenLease(), Left: 120}},
		{"walk-up request", syncproto.WalkUpRequest{Sales: []syncproto.SealedSale{{Ticket: 5000, Key: 1, Sealed: []byte("sealed")}}}},
		{"what is sealed", syncproto.SaleDetails{Event: 7, Ticket: 5000, Name: "Ada", Email: "ada@example.org", Code: "AIAA..."}},
		{"walk-up reply", syncproto.WalkUpReply{Taken: []syncproto.TicketNo{5000}, Refused: []syncproto.TicketNo{5001}}},
		{"refusal", refusal},
	} {
		b, err := json.MarshalIndent(m.v, "", "  ")
		require.NoError(t, err)
		fmt.Fprintf(&out, "// %s\n%s\n", m.name, b)
	}
	golden(t, "messages.jsonc", out.Bytes())
}

// each lists records as EncodeChunks wants them.
func each(records []syncproto.Record) func(func(*syncproto.Record, error) bool) {
	return func(yield func(*syncproto.Record, error) bool) {
		for i := range records {
			if !yield(&records[i], nil) {
				return
			}
		}
	}
}

// copied is a record that outlives the call it was handed to.
func copied(rec *syncproto.Record) syncproto.Record {
	out := *rec
	if rec.Ticket != nil {
		t := *rec.Ticket
		out.Ticket = &t
	}
	return out
}
