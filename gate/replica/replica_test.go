package replica_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"gatehouse/gate/replica"
	"gatehouse/syncproto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var stream = uuid.MustParse("0190a0b0-0000-7000-8000-000000000001")

func open(t testing.TB, path string) *replica.Replica {
	t.Helper()
	r, err := replica.Open(t.Context(), replica.Config{Path: path})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

func ticket(no, rev int) syncproto.Record {
	return syncproto.Record{Kind: syncproto.RecordTicket, Ticket: &syncproto.Ticket{
		No: syncproto.TicketNo(no), Rev: int64(rev), Code: syncproto.CodeHash{byte(no), byte(no >> 8), byte(no >> 16), byte(rev)},
		Type: syncproto.TypeNo(no % 7), Status: syncproto.StatusPaid, StatusAt: 1_790_000_000_000 + int64(rev),
	}}
}

func device(n, rev int) syncproto.Record {
	return syncproto.Record{Kind: syncproto.RecordDevice, Device: &syncproto.DeviceRecord{
		Device: uuid.UUID{15: byte(n)}, Rev: int64(rev), Name: fmt.Sprintf("gate %d rev %d", n, rev),
	}}
}

func rules(rev int) syncproto.Record {
	return syncproto.Record{Kind: syncproto.RecordRules, Rules: &syncproto.Rules{
		Rev: int64(rev), Event: 7, Stream: stream, Name: "Fête", Timezone: "Europe/Paris", Zones: []syncproto.Zone{}, Types: []syncproto.TicketType{},
	}}
}

func trust(n byte) syncproto.Record {
	return syncproto.Record{Kind: syncproto.RecordTrust, Trust: &syncproto.TrustBundle{Central: uuid.UUID{n}, Root: []byte{n}, Keys: []syncproto.SignedKey{}}}
}

func entry(seq int, outcome syncproto.Outcome) syncproto.Record {
	return syncproto.Record{Kind: syncproto.RecordEntry, Entry: &syncproto.EntryRecord{
		Entry: syncproto.Entry{Incarnation: uuid.UUID{1}, Seq: uint64(seq), Kind: syncproto.KindAdmit, T: 9, Ticket: 3}, Outcome: outcome,
	}}
}

func finding(id, rev int, state syncproto.FindingState) syncproto.Record {
	return syncproto.Record{Kind: syncproto.RecordFinding, Finding: &syncproto.FindingRecord{
		ID: int64(id), Rev: int64(rev), Kind: syncproto.FindingDouble, State: state, Ticket: 3, Count: 1,
		Sides: []syncproto.FindingSide{{Device: uuid.UUID{15: 1}, Lane: "N1"}, {Device: uuid.UUID{15: 2}, Lane: "S1"}},
	}}
}

func page(from, to int64, recs ...syncproto.Record) *syncproto.Page {
	return &syncproto.Page{Stream: stream, From: from, To: to, Next: fmt.Sprint("c", to), Head: to, ServerMS: 1000 + to, Records: recs}
}

// state reads everything, keyed by subject.
func state(ctx context.Context, r *replica.Replica) (map[string]syncproto.Record, error) {
	out := map[string]syncproto.Record{}
	err := r.Load(ctx, func(rec *syncproto.Record) error {
		c := *rec
		if c.Ticket != nil {
			t := *c.Ticket
			c.Ticket = &t
		}
		k := key(&c)
		if _, twice := out[k]; twice {
			return fmt.Errorf("%s came twice", k)
		}
		out[k] = c
		return nil
	})
	return out, err
}

func key(rec *syncproto.Record) string {
	switch {
	case rec.Ticket != nil:
		return fmt.Sprint("ticket ", rec.Ticket.No)
	case rec.Device != nil:
		return "device " + rec.Device.Device.String()
	case rec.Entry != nil:
		return fmt.Sprint("entry ", rec.Entry.Ref())
	case rec.Finding != nil:
		return fmt.Sprint("finding ", rec.Finding.ID)
	}
	return string(rec.Kind)
}

func everything() []syncproto.Record {
	return []syncproto.Record{
		trust(1), rules(1), device(1, 1), device(2, 1), ticket(1, 1), ticket(2, 1), ticket(3, 1), entry(1, syncproto.OutcomeFirst), entry(2, ""),
		finding(1, 1, syncproto.FindingOpen), finding(2, 1, syncproto.FindingClosed),
	}
}

func TestWhatIsAppliedIsLoadedAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "replica.db")
	r := open(t, path)
	_, err := r.Position(t.Context())
	require.ErrorIs(t, err, replica.ErrEmpty)

	all := everything()
	require.NoError(t, r.Apply(t.Context(), page(0, 12, all...)))
	require.NoError(t, r.Close())

	r = open(t, path)
	got, err := state(t.Context(), r)
	require.NoError(t, err)
	require.Len(t, got, len(all))
	for i := range all {
		require.Equal(t, all[i], got[key(&all[i])])
	}
	pos, err := r.Position(t.Context())
	require.NoError(t, err)
	require.Equal(t, replica.Position{Stream: stream, Seq: 12, Cursor: "c12", ServerMS: 1012, Schema: syncproto.SchemaLevel}, pos)
	n, err := r.Count(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 3, n)
}

func TestEveryStatusSurvives(t *testing.T) {
	t.Parallel()
	r := open(t, filepath.Join(t.TempDir(), "replica.db"))
	var recs []syncproto.Record
	for i, s := range []syncproto.Status{syncproto.StatusPaid, syncproto.StatusUnpaid, syncproto.StatusCancelled, syncproto.StatusRevoked, syncproto.StatusIncomplete} {
		rec := ticket(i+1, 1)
		rec.Ticket.Status = s
		recs = append(recs, rec)
	}
	require.NoError(t, r.Apply(t.Context(), page(0, 4, recs...)))
	got, err := state(t.Context(), r)
	require.NoError(t, err)
	for i := range recs {
		require.Equal(t, recs[i], got[key(&recs[i])])
	}
}

func TestAPageThatDoesNotFollowChangesNothing(t *testing.T) {
	t.Parallel()
	r := open(t, filepath.Join(t.TempDir(), "replica.db"))
	require.NoError(t, r.Apply(t.Context(), page(0, 5, ticket(1, 1))))
	before, err := r.Position(t.Context())
	require.NoError(t, err)

	other := page(5, 6, ticket(1, 9))
	other.Stream = uuid.New()
	for name, p := range map[string]*syncproto.Page{
		"repeated": page(0, 5, ticket(1, 9)), "gap": page(6, 7, ticket(1, 9)), "overlap": page(4, 7, ticket(1, 9)),
		"backwards": page(5, 4, ticket(1, 9)), "other stream": other,
	} {
		require.ErrorIs(t, r.Apply(t.Context(), p), replica.ErrOutOfOrder, name)
	}
	for name, rec := range map[string]syncproto.Record{
		"finding 0": finding(0, 1, syncproto.FindingOpen), "no finding": {Kind: syncproto.RecordFinding},
		"ticket 0": ticket(0, 1), "no content": {Kind: syncproto.RecordTicket}, "negative rev": ticket(2, -1),
	} {
		require.ErrorIs(t, r.Apply(t.Context(), page(5, 6, ticket(1, 9), rec)), replica.ErrRecord, name)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, r.Apply(ctx, page(5, 6, ticket(1, 9))))

	after, err := r.Position(t.Context())
	require.NoError(t, err)
	require.Equal(t, before, after)
	got, err := state(t.Context(), r)
	require.NoError(t, err)
	require.EqualValues(t, 1, got["ticket 1"].Ticket.Rev)
	require.Len(t, got, 1)
}

func TestUnknownKindsAreSkippedAndCounted(t *testing.T) {
	t.Parallel()
	r := open(t, filepath.Join(t.TempDir(), "replica.db"))
	unknown := syncproto.Record{Kind: "weather"}
	require.NoError(t, r.Apply(t.Context(), page(0, 3, unknown, ticket(1, 1), unknown)))
	require.NoError(t, r.Apply(t.Context(), page(3, 4, unknown)))
	pos, err := r.Position(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 3, pos.SkippedUnknown)
	require.EqualValues(t, 4, pos.Seq)
}

// Records of tickets, rules and devices may come in any order, cut into any
// pages, any number of times: the highest rev of each subject remains.
func TestOrderAndRepetitionDoNotMatter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		r, err := replica.Open(t.Context(), replica.Config{Path: filepath.Join(dir, fmt.Sprint(n, ".db"))})
		require.NoError(rt, err)
		defer func() { require.NoError(rt, r.Close()) }()

		want := map[string]syncproto.Record{}
		rev := func(rec syncproto.Record) int64 {
			switch {
			case rec.Ticket != nil:
				return rec.Ticket.Rev
			case rec.Device != nil:
				return rec.Device.Rev
			}
			return rec.Rules.Rev
		}
		recs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) syncproto.Record {
			no, rev := rapid.IntRange(1, 4).Draw(t, "no"), rapid.IntRange(0, 9).Draw(t, "rev")
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				return ticket(no, rev)
			case 1:
				return device(no, rev)
			}
			return rules(rev)
		}), 1, 40).Draw(rt, "records")
		for _, rec := range recs {
			if old, ok := want[key(&rec)]; !ok || rev(rec) > rev(old) {
				want[key(&rec)] = rec
			}
		}
		at := int64(0)
		for len(recs) > 0 {
			k := rapid.IntRange(1, len(recs)).Draw(rt, "page")
			require.NoError(rt, r.Apply(t.Context(), page(at, at+int64(k), recs[:k]...)))
			at, recs = at+int64(k), recs[k:]
		}
		got, err := state(t.Context(), r)
		require.NoError(rt, err)
		require.Equal(rt, want, got)
	})
}

func TestLaterWordOnAnEntryCounts(t *testing.T) {
	t.Parallel()
	r := open(t, filepath.Join(t.TempDir(), "replica.db"))
	require.NoError(t, r.Apply(t.Context(), page(0, 1, entry(1, syncproto.OutcomeFirst), trust(9))))
	require.NoError(t, r.Apply(t.Context(), page(1, 2, entry(1, syncproto.OutcomeDuplicate), trust(1))))
	got, err := state(t.Context(), r)
	require.NoError(t, err)
	e := entry(1, "")
	require.Equal(t, syncproto.OutcomeDuplicate, got[key(&e)].Entry.Outcome)
	require.Equal(t, *trust(1).Trust, *got["trust"].Trust)
}

func TestLaterWordOnAFindingCounts(t *testing.T) {
	t.Parallel()
	r := open(t, filepath.Join(t.TempDir(), "replica.db"))
	open, closed := finding(7, 1, syncproto.FindingOpen), finding(7, 2, syncproto.FindingClosed)
	require.NoError(t, r.Apply(t.Context(), page(0, 1, open)))
	require.NoError(t, r.Apply(t.Context(), page(1, 2, closed)))
	require.NoError(t, r.Apply(t.Context(), page(2, 3, open)))
	got, err := state(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, map[string]syncproto.Record{"finding 7": closed}, got)
}

// What an earlier version skipped and this one knows is missing: the replica
// serves, and another snapshot is due.
func TestAReplicaOfAnEarlierVersionIsStale(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "replica.db")
	r := open(t, path)
	unknown := syncproto.Record{Kind: "weather"}
	require.NoError(t, r.Apply(t.Context(), page(0, 1, ticket(1, 1), unknown)))
	pos, err := r.Position(t.Context())
	require.NoError(t, err)
	require.False(t, pos.Stale(), "what this version does not know either is no reason")
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `UPDATE position SET schema = 1`)
	require.NoError(t, errors.Join(err, db.Close()))
	pos, err = r.Position(t.Context())
	require.NoError(t, err)
	require.True(t, pos.Stale())
	require.NoError(t, r.Apply(t.Context(), page(1, 2, ticket(2, 1))))
	pos, err = r.Position(t.Context())
	require.NoError(t, err)
	require.True(t, pos.Stale(), "changes do not bring what was skipped")
}

func TestBuildReplacesTheFileAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "replica.db")
	old := open(t, path)
	require.NoError(t, old.Apply(t.Context(), page(0, 5, ticket(1, 1), ticket(9, 1))))

	b, err := replica.NewBuild(t.Context(), path)
	require.NoError(t, err)
	for _, rec := range append(everything(), ticket(2, 7), ticket(2, 3), syncproto.Record{Kind: "weather"}) {
		require.NoError(t, b.Add(&rec))
	}
	got, err := state(t.Context(), old)
	require.NoError(t, err)
	require.Len(t, got, 2, "the file in use is untouched until Commit")

	require.NoError(t, old.Close())
	want := replica.Position{Stream: stream, Seq: 77, Cursor: "c77", ServerMS: 5}
	require.NoError(t, b.Commit(t.Context(), want))
	require.NoError(t, b.Discard(), "harmless after Commit")

	r := open(t, path)
	pos, err := r.Position(t.Context())
	require.NoError(t, err)
	want.SkippedUnknown, want.Schema = 1, syncproto.SchemaLevel
	require.Equal(t, want, pos)
	got, err = state(t.Context(), r)
	require.NoError(t, err)
	require.Len(t, got, len(everything()))
	require.EqualValues(t, 7, got["ticket 2"].Ticket.Rev)
	require.NotContains(t, got, "ticket 9")
	require.NoError(t, r.Apply(t.Context(), page(77, 78, ticket(9, 1))))
	require.NoFileExists(t, path+".new")
}

// A gate that was killed leaves a write-ahead log. It belongs to the old file and
// must never be read as the new one's.
func TestBuildDoesNotInheritALogThatWasLeftBehind(t *testing.T) {
	t.Parallel()
	for _, damaged := range []bool{false, true} {
		dir := t.TempDir()
		path, kept := filepath.Join(dir, "replica.db"), filepath.Join(dir, "kept.db")
		old := open(t, path)
		require.NoError(t, old.Apply(t.Context(), page(0, 5, ticket(1, 1), ticket(9, 1))))
		for _, suffix := range []string{"", "-wal"} { // as a kill would leave them
			copyFile(t, path+suffix, kept+suffix)
		}
		if damaged {
			require.NoError(t, os.WriteFile(kept, make([]byte, 8192), 0o600))
		}
		b, err := replica.NewBuild(t.Context(), kept)
		require.NoError(t, err)
		rec := ticket(2, 1)
		require.NoError(t, b.Add(&rec))
		require.NoError(t, b.Commit(t.Context(), replica.Position{Stream: stream, Seq: 77, Cursor: "c"}))
		got, err := state(t.Context(), open(t, kept))
		require.NoError(t, err)
		require.Equal(t, map[string]syncproto.Record{"ticket 2": rec}, got)
	}
}

func TestAnUnfinishedBuildLeavesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "replica.db")
	ctx, cancel := context.WithCancel(t.Context())
	b, err := replica.NewBuild(ctx, path)
	require.NoError(t, err)
	rec := ticket(2, 1)
	require.NoError(t, b.Add(&rec))
	cancel()
	require.ErrorIs(t, b.Add(&rec), context.Canceled)
	require.NoError(t, b.Discard())
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Empty(t, left)
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, b, 0o600))
}

func TestAStatusOfALaterVersionIsKeptAsWithdrawn(t *testing.T) {
	t.Parallel()
	r := open(t, filepath.Join(t.TempDir(), "replica.db"))
	rec := ticket(1, 1)
	rec.Ticket.Status = "burnt"
	require.NoError(t, r.Apply(t.Context(), page(0, 1, rec)))
	got, err := state(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, syncproto.StatusRevoked, got[key(&rec)].Ticket.Status)
}
