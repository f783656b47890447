package syncproto_test

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
)

const digestEvent syncproto.EventNo = 7

// digestVector is a record with its bucket and, alone in a digest, its sum.
type digestVector struct {
	Record  syncproto.Record `json:"record"`
	Subject string           `json:"subject"`
	Bucket  uint8            `json:"bucket"`
	Sum     string           `json:"sum"` // hex; empty where it is not counted
}

func vectorRecords() []syncproto.Record {
	rules := syncprototest.Rules("Vectors")
	rules.Rev, rules.Event, rules.Stream = 3, digestEvent, syncprototest.ID("stream")
	paid := syncprototest.Ticket(digestEvent, 42, syncprototest.TypeSingle)
	far := syncprototest.Ticket(digestEvent, 1_000_000, syncprototest.TypeDaily)
	far.Rev, far.Status, far.StatusAt = 9, syncproto.StatusRevoked, 1_760_000_000_000
	later := syncprototest.Ticket(digestEvent, 64, syncprototest.TypeSingle)
	later.Status = "resold" // of a later version
	c := syncprototest.NewChain(syncprototest.ID("device"), syncprototest.Key("gate"), digestEvent,
		syncprototest.Incarnation(1_760_000_000_000, "vectors"), syncproto.Position{}, 1_760_000_000_000)
	admitted := syncproto.EntryRecord{Entry: c.Admit(42, 1_760_000_000_005), Device: c.Device, Outcome: syncproto.OutcomeFirst}
	double := syncproto.EntryRecord{
		Entry: c.Admit(42, 1_760_000_000_009), Device: c.Device, Outcome: syncproto.OutcomeDuplicate, OfEntry: admitted.Ref(), Untrusted: true,
	}
	genesis := syncproto.EntryRecord{Entry: c.Entries[0], Device: c.Device}
	trust := syncproto.TrustBundle{Central: syncprototest.ID("central"), Root: []byte{1}, Keys: []syncproto.SignedKey{}}
	return []syncproto.Record{
		{Kind: syncproto.RecordRules, Rules: &rules},
		{Kind: syncproto.RecordDevice, Device: &syncproto.DeviceRecord{
			Device: c.Device, Rev: 2, Name: "North", Key: syncprototest.Key("gate").Public().(ed25519.PublicKey), Revoked: true, Trusted: admitted.Ref(),
		}},
		{Kind: syncproto.RecordTicket, Ticket: &paid},
		{Kind: syncproto.RecordTicket, Ticket: &far},
		{Kind: syncproto.RecordTicket, Ticket: &later},
		{Kind: syncproto.RecordEntry, Entry: &admitted},
		{Kind: syncproto.RecordEntry, Entry: &double},
		{Kind: syncproto.RecordEntry, Entry: &genesis},
		{Kind: syncproto.RecordTrust, Trust: &trust},
	}
}

func alone(rec *syncproto.Record) string {
	var d, none syncproto.Digest
	d.Add(digestEvent, rec)
	differs := d.Differs(&none)
	if len(differs) == 0 {
		return ""
	}
	at := int(differs[0]) * 16
	return hex.EncodeToString(d.Bytes()[at : at+16])
}

// TestDigestVectors compares with a file that another implementation can use as
// well. GOLDEN=write writes it.
func TestDigestVectors(t *testing.T) {
	t.Parallel()
	records := vectorRecords()
	var got []digestVector
	for i := range records {
		s := syncproto.SubjectOf(&records[i])
		got = append(got, digestVector{Record: records[i], Subject: s.String(), Bucket: s.Bucket(), Sum: alone(&records[i])})
	}
	body, err := json.MarshalIndent(got, "", "  ")
	require.NoError(t, err)
	path := filepath.Join("testdata", "digest.json")
	if os.Getenv("GOLDEN") == "write" {
		require.NoError(t, os.WriteFile(path, append(body, '\n'), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(body)+"\n")
	require.Empty(t, got[7].Sum, "an entry that is about no ticket")
	require.Empty(t, got[8].Sum, "keys are signed by themselves")
}

// Every field that a gate acts on is in the sum, each in a way of its own.
func TestDigestSeesEveryField(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	note := func(what string, rec syncproto.Record) {
		sum := alone(&rec)
		require.NotEmpty(t, sum, what)
		require.Empty(t, seen[sum], "%s and %s look alike", what, seen[sum])
		seen[sum] = what
	}
	ticket := func(what string, change func(*syncproto.Ticket)) {
		v := *vectorRecords()[3].Ticket
		change(&v)
		note("ticket "+what, syncproto.Record{Kind: syncproto.RecordTicket, Ticket: &v})
	}
	ticket("as it is", func(*syncproto.Ticket) {})
	ticket("no", func(v *syncproto.Ticket) { v.No++ })
	ticket("rev", func(v *syncproto.Ticket) { v.Rev++ })
	ticket("code", func(v *syncproto.Ticket) { v.Code[15] ^= 1 })
	ticket("type", func(v *syncproto.Ticket) { v.Type++ })
	ticket("status", func(v *syncproto.Ticket) { v.Status = syncproto.StatusPaid })
	ticket("status time", func(v *syncproto.Ticket) { v.StatusAt++ })
	entry := func(what string, change func(*syncproto.EntryRecord)) {
		v := *vectorRecords()[6].Entry
		change(&v)
		note("entry "+what, syncproto.Record{Kind: syncproto.RecordEntry, Entry: &v})
	}
	entry("as it is", func(*syncproto.EntryRecord) {})
	entry("ticket", func(v *syncproto.EntryRecord) { v.Ticket++ })
	entry("kind", func(v *syncproto.EntryRecord) { v.Kind = syncproto.KindUndo })
	entry("time", func(v *syncproto.EntryRecord) { v.T++ })
	entry("hash", func(v *syncproto.EntryRecord) { v.Hash[0] ^= 1 })
	entry("outcome", func(v *syncproto.EntryRecord) { v.Outcome = syncproto.OutcomeFirst })
	entry("outcome of", func(v *syncproto.EntryRecord) { v.OfEntry.Seq++ })
	entry("untrusted", func(v *syncproto.EntryRecord) { v.Untrusted = false })
	entry("device", func(v *syncproto.EntryRecord) { v.Device[0] ^= 1 })
	device := func(what string, change func(*syncproto.DeviceRecord)) {
		v := *vectorRecords()[1].Device
		change(&v)
		note("device "+what, syncproto.Record{Kind: syncproto.RecordDevice, Device: &v})
	}
	device("as it is", func(*syncproto.DeviceRecord) {})
	device("name", func(v *syncproto.DeviceRecord) { v.Name = "South" })
	device("revoked", func(v *syncproto.DeviceRecord) { v.Revoked = false })
	device("trusted", func(v *syncproto.DeviceRecord) { v.Trusted.Seq++ })
	device("addresses", func(v *syncproto.DeviceRecord) { v.Addrs = []string{"10.0.0.7:7000"} })
	device("enrolled", func(v *syncproto.DeviceRecord) { v.EnrolledAt++ })
	device("revoked at", func(v *syncproto.DeviceRecord) { v.RevokedAt++ })
	device("key", func(v *syncproto.DeviceRecord) { v.Key = slices.Clone(v.Key); v.Key[0] ^= 1 })
	rules := func(what string, change func(*syncproto.Rules)) {
		v := *vectorRecords()[0].Rules
		change(&v)
		note("rules "+what, syncproto.Record{Kind: syncproto.RecordRules, Rules: &v})
	}
	rules("as they are", func(*syncproto.Rules) {})
	rules("admits", func(v *syncproto.Rules) { v.Admits = !v.Admits })
	rules("zone", func(v *syncproto.Rules) { v.Zones = v.Zones[:1] })
	rules("type", func(v *syncproto.Rules) { v.Types[0].EntriesTotal++ })
	rules("policy", func(v *syncproto.Rules) { v.Policy.ClaimWaitMS++ })
}

// Whatever the order, and with whatever was added and taken out in between, a
// digest is that of what is in it.
func TestDigestIsThatOfASet(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		held := map[syncproto.TicketNo]syncproto.Ticket{}
		var grown syncproto.Digest
		record := func(v syncproto.Ticket) *syncproto.Record {
			return &syncproto.Record{Kind: syncproto.RecordTicket, Ticket: &v}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			no := syncproto.TicketNo(rapid.IntRange(1, 400).Draw(t, "no"))
			if old, ok := held[no]; ok {
				grown.Remove(digestEvent, record(old))
				delete(held, no)
			}
			if rapid.Bool().Draw(t, "put") {
				v := syncprototest.Ticket(digestEvent, no, syncprototest.TypeSingle)
				v.Rev = int64(rapid.IntRange(1, 1000).Draw(t, "rev"))
				held[no] = v
				grown.Add(digestEvent, record(v))
			}
		}
		var fresh syncproto.Digest
		for _, v := range held { // in the random order of a map
			fresh.Add(digestEvent, record(v))
		}
		require.Equal(t, fresh.Bytes(), grown.Bytes())
		require.EqualValues(t, len(held), grown.Count())
		back, err := syncproto.ParseDigest(grown.Bytes(), grown.Count())
		require.NoError(t, err)
		require.Empty(t, back.Differs(&fresh))
		for no, v := range held { // one difference shows in its bucket alone
			v.Status = syncproto.StatusCancelled
			fresh.Remove(digestEvent, record(held[no]))
			fresh.Add(digestEvent, record(v))
			require.Equal(t, []uint8{syncproto.Subject{Kind: syncproto.RecordTicket, No: uint64(no)}.Bucket()}, fresh.Differs(&grown))
			break
		}
	})
}

func TestParseDigestRefusesOtherLengths(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 4095, 4097, 8192} {
		_, err := syncproto.ParseDigest(make([]byte, n), 0)
		require.Error(t, err, "%d bytes", n)
	}
}

func TestSubjectText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"rules", "trust", "ticket/42", "device/62de14aa-0090-5a5b-b9bb-3eec234a8c19", "entry/62de14aa-0090-5a5b-b9bb-3eec234a8c19/7",
	} {
		var s syncproto.Subject
		require.NoError(t, s.UnmarshalText([]byte(text)), text)
		require.Equal(t, text, s.String())
	}
	for _, text := range []string{
		"ticket", "ticket/", "ticket/x", "ticket/-1", "ticket/042", "ticket/4294967296", "device/x", "entry/62de14aa-0090-5a5b-b9bb-3eec234a8c19",
		"entry/62de14aa-0090-5a5b-b9bb-3eec234a8c19/", "entry/62DE14AA-0090-5A5B-B9BB-3EEC234A8C19/7", "entry/62de14aa-0090-5a5b-b9bb-3eec234a8c19/7/8",
	} {
		var s syncproto.Subject
		require.Error(t, s.UnmarshalText([]byte(text)), text)
	}
	var later syncproto.Subject
	require.NoError(t, later.UnmarshalText([]byte("turnstile/9")), "a kind of a later version")
	require.Equal(t, syncproto.RecordKind("turnstile"), later.Kind)
}

func TestBucketsHoldNeighbours(t *testing.T) {
	t.Parallel()
	bucket := func(no uint64) uint8 { return syncproto.Subject{Kind: syncproto.RecordTicket, No: no}.Bucket() }
	require.Equal(t, bucket(64), bucket(127))
	require.NotEqual(t, bucket(127), bucket(128))
	require.Equal(t, bucket(5), bucket(5+64*256))
	id := uuid.UUID{15: 250}
	require.EqualValues(t, 250, syncproto.Subject{Kind: syncproto.RecordEntry, ID: id, No: 1}.Bucket())
	require.EqualValues(t, 4, syncproto.Subject{Kind: syncproto.RecordEntry, ID: id, No: 64 * 10}.Bucket())
}

func BenchmarkDigestAdd(b *testing.B) {
	records := vectorRecords()
	for _, i := range []int{3, 5} {
		b.Run(string(records[i].Kind), func(b *testing.B) {
			var d syncproto.Digest
			b.ReportAllocs()
			for b.Loop() {
				d.Add(digestEvent, &records[i])
			}
		})
	}
}
