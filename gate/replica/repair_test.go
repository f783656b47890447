package replica_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/gate/replica"
	"gatehouse/syncproto"
)

const event syncproto.EventNo = 7

// fact is an entry about a ticket of the event.
func fact(seq int, ticket syncproto.TicketNo, outcome syncproto.Outcome) syncproto.Record {
	return syncproto.Record{Kind: syncproto.RecordEntry, Entry: &syncproto.EntryRecord{
		Entry: syncproto.Entry{Incarnation: uuid.UUID{1}, Seq: uint64(seq), Kind: syncproto.KindAdmit, T: 9, Ticket: ticket, Event: event}, Outcome: outcome,
	}}
}

func withStatus(rec syncproto.Record, s syncproto.Status) syncproto.Record {
	t := *rec.Ticket
	t.Status = s
	rec.Ticket = &t
	return rec
}

func summary(t testing.TB, path string) *replica.Summary {
	t.Helper()
	v, err := replica.OpenView(t.Context(), replica.Config{Path: path})
	require.NoError(t, err)
	defer func() { require.NoError(t, v.Close()) }()
	s, err := v.Digest(t.Context(), event)
	require.NoError(t, err)
	return s
}

func digestOf(recs ...syncproto.Record) *syncproto.Digest {
	var d syncproto.Digest
	for i := range recs {
		d.Add(event, &recs[i])
	}
	return &d
}

func never(syncproto.Subject) bool { return false }

// central answers for a bucket as central does.
func central(bucket uint8, recs []syncproto.Record) []syncproto.Record {
	var out []syncproto.Record
	for _, rec := range recs {
		if syncproto.Counted(event, &rec) && syncproto.SubjectOf(&rec).Bucket() == bucket {
			out = append(out, rec)
		}
	}
	return out
}

func TestDigestOfAFileIsThatOfItsRecords(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "replica.db")
	r := open(t, path)
	all := append(everything(), fact(3, 2, syncproto.OutcomeFirst), entry(4, ""))
	require.NoError(t, r.Apply(t.Context(), page(0, 20, all...)))
	s := summary(t, path)
	require.Empty(t, s.All.Differs(digestOf(all...)))
	require.EqualValues(t, 7, s.All.Count(), "rules, two devices, three tickets and a fact")
	require.Empty(t, s.Tickets.Differs(digestOf(ticket(1, 1), ticket(2, 1), ticket(3, 1))))
	require.Empty(t, s.Damaged)
	require.EqualValues(t, 20, s.At.Seq)
}

// A view is of one moment: pages that are applied beside it are not in it.
func TestViewIsOfOneMoment(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "replica.db")
	r := open(t, path)
	require.NoError(t, r.Apply(t.Context(), page(0, 3, ticket(1, 1), ticket(2, 1))))
	v, err := replica.OpenView(t.Context(), replica.Config{Path: path})
	require.NoError(t, err)
	require.NoError(t, r.Apply(t.Context(), page(3, 5, ticket(2, 2), ticket(3, 1))))
	s, err := v.Digest(t.Context(), event)
	require.NoError(t, err)
	require.Empty(t, s.All.Differs(digestOf(ticket(1, 1), ticket(2, 1))))
	require.EqualValues(t, 3, v.Position().Seq)
	var revs []int64
	subjects := []syncproto.Subject{{Kind: syncproto.RecordTicket, No: 2}, {Kind: syncproto.RecordTicket, No: 3}, {Kind: syncproto.RecordRules}}
	require.NoError(t, v.Records(t.Context(), subjects, func(rec *syncproto.Record) { revs = append(revs, rec.Ticket.Rev) }))
	require.Equal(t, []int64{1}, revs, "as it was, and nothing of what was not there")
	require.NoError(t, v.Close())
	require.Empty(t, summary(t, path).All.Differs(digestOf(ticket(1, 1), ticket(2, 2), ticket(3, 1))))
}

func TestRepairPutsCentralsBucketInPlace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "replica.db")
	r := open(t, path)
	revoked := withStatus(ticket(5, 4), syncproto.StatusRevoked)
	theirs := []syncproto.Record{rules(3), ticket(1, 1), ticket(2, 1), revoked, fact(1, 2, syncproto.OutcomeFirst), device(0, 2)}
	require.NoError(t, r.Apply(t.Context(), page(0, 9,
		rules(2), ticket(1, 1), withStatus(revoked, syncproto.StatusPaid), ticket(7, 1), fact(1, 3, ""), device(0, 1), ticket(64, 1),
	)))
	out, err := r.Repair(t.Context(), replica.Bucket{No: 0, Records: central(0, theirs), Seq: 9, Told: never})
	require.NoError(t, err)
	require.Len(t, out.Put, 5, "all but ticket 1")
	require.Equal(t, []syncproto.Subject{{Kind: syncproto.RecordTicket, No: 7}}, out.Removed)
	require.Zero(t, out.Kept)
	require.Len(t, out.Was, 1)
	require.EqualValues(t, 3, out.Was[0].Entry.Ticket)
	got, err := state(t.Context(), r)
	require.NoError(t, err)
	require.Len(t, got, len(theirs)+1)
	for _, rec := range append(theirs, ticket(64, 1)) {
		require.Equal(t, rec, got[key(&rec)])
	}
	again, err := r.Repair(t.Context(), replica.Bucket{No: 0, Records: central(0, theirs), Seq: 9, Told: never})
	require.NoError(t, err)
	require.Zero(t, again.Count())
	require.NoError(t, r.Apply(t.Context(), page(9, 10, ticket(8, 1))), "pages go on from where they were")
}

// Nothing that refuses gives way to what is missing or older, and no fact goes.
func TestRepairUnrevokesNothingAndForgetsNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "replica.db")
	r := open(t, path)
	stolen := device(0, 9)
	stolen.Device.Revoked = true
	ours := []syncproto.Record{
		withStatus(ticket(1, 5), syncproto.StatusRevoked), withStatus(ticket(2, 1), syncproto.StatusCancelled), withStatus(ticket(3, 1), syncproto.StatusUnpaid),
		fact(1, 4, syncproto.OutcomeFirst), stolen,
	}
	require.NoError(t, r.Apply(t.Context(), page(0, 5, ours...)))
	older := device(0, 8)
	out, err := r.Repair(t.Context(), replica.Bucket{No: 0, Records: []syncproto.Record{ticket(1, 4), older}, Seq: 5, Told: never})
	require.NoError(t, err)
	require.Zero(t, out.Count())
	require.Equal(t, 4, out.Kept)
	require.Empty(t, summary(t, path).All.Differs(digestOf(ours...)))

	out, err = r.Repair(t.Context(), replica.Bucket{No: 0, Records: []syncproto.Record{ticket(1, 5), device(0, 9)}, Seq: 5, Told: never})
	require.NoError(t, err)
	require.Len(t, out.Put, 2, "of the same rev central has the last word")
}

func TestRepairLeavesAloneWhatWasToldSince(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "replica.db")
	r := open(t, path)
	ours := []syncproto.Record{ticket(1, 7), ticket(2, 1), fact(1, 2, syncproto.OutcomeFirst)}
	require.NoError(t, r.Apply(t.Context(), page(0, 5, ours...)))
	told := func(syncproto.Subject) bool { return true }
	out, err := r.Repair(t.Context(), replica.Bucket{No: 0, Records: []syncproto.Record{ticket(1, 6), fact(1, 2, "")}, Seq: 5, Told: told})
	require.NoError(t, err)
	require.Zero(t, out.Count()+out.Kept)
	require.Empty(t, summary(t, path).All.Differs(digestOf(ours...)))
}

func TestRepairRefusesWhatIsNotOfItsBucket(t *testing.T) {
	t.Parallel()
	r := open(t, filepath.Join(t.TempDir(), "replica.db"))
	require.NoError(t, r.Apply(t.Context(), page(0, 5, ticket(1, 1))))
	_, err := r.Repair(t.Context(), replica.Bucket{No: 0, Records: []syncproto.Record{ticket(2, 1), ticket(64, 1)}, Told: never})
	require.ErrorIs(t, err, replica.ErrRecord)
	n, err := r.Count(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, n, "nothing of it was written")
	for _, bad := range []syncproto.Record{ticket(0, 1), fact(0, 1, "")} {
		_, err := r.Repair(t.Context(), replica.Bucket{No: syncproto.SubjectOf(&bad).Bucket(), Records: []syncproto.Record{bad}, Told: never})
		require.ErrorIs(t, err, replica.ErrRecord)
	}
}

// scramble damages a file beside the one that serves it.
func scramble(t *rapid.T, path string, statements ...string) {
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	for _, s := range statements {
		_, err := db.ExecContext(context.Background(), s)
		require.NoError(t, err)
	}
	require.NoError(t, db.Close())
}

// Whatever rows are damaged, lost or made up: what the digests name is repaired,
// and after that the file is central's.
func TestDamageOfAnyKindIsFoundAndRepaired(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		path := filepath.Join(root, uuid.NewString()+".db")
		r := open(t, path)
		theirs := []syncproto.Record{rules(1), trust(1), device(1, 1), device(130, 1)}
		for i := range rapid.IntRange(1, 300).Draw(rt, "tickets") {
			theirs = append(theirs, ticket(i*7+1, 1))
		}
		for i := range rapid.IntRange(0, 150).Draw(rt, "facts") {
			theirs = append(theirs, fact(i+1, syncproto.TicketNo(i*7+1), syncproto.OutcomeFirst))
		}
		require.NoError(t, r.Apply(t.Context(), page(0, 999, theirs...)))
		damage := rapid.SliceOfN(rapid.SampledFrom([]string{
			`UPDATE ticket SET record = zeroblob(39) WHERE number = 8`,
			`UPDATE ticket SET record = (SELECT record FROM ticket WHERE number = 1) WHERE number = 15`,
			`DELETE FROM ticket WHERE number % 5 = 2`,
			`INSERT OR IGNORE INTO ticket (number, record) VALUES (4711, zeroblob(39))`,
			`DELETE FROM entry WHERE seq % 3 = 1`,
			`UPDATE entry SET sum = sum + 1 WHERE seq % 7 = 2`,
			`UPDATE OR IGNORE entry SET seq = seq + 10000 WHERE seq = 3`,
			`UPDATE document SET record = x'7b7d' WHERE kind = 'rules'`,
			`DELETE FROM document WHERE kind = 'device'`,
			`UPDATE document SET sum = 0 WHERE kind = 'device'`,
		}), 0, 6).Draw(rt, "damage")
		scramble(rt, path, damage...)
		s := summary(t, path)
		buckets := s.All.Differs(digestOf(theirs...))
		for _, d := range s.Damaged {
			if !slices.Contains(buckets, d.Bucket()) {
				buckets = append(buckets, d.Bucket())
			}
		}
		for _, b := range buckets {
			_, err := r.Repair(t.Context(), replica.Bucket{No: b, Records: central(b, theirs), Seq: 999, Told: never, Damaged: s.Damaged})
			require.NoError(t, err)
		}
		after := summary(t, path)
		require.Empty(t, after.All.Differs(digestOf(theirs...)), "damage: %q", damage)
		require.Empty(t, after.Damaged)
		got, err := state(t.Context(), r)
		require.NoError(t, err, "it loads again")
		require.Len(t, got, len(theirs))
	})
}

func TestCheckIsKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "replica.db")
	r := open(t, path)
	got, err := r.Check(t.Context())
	require.NoError(t, err)
	require.Zero(t, got)
	for _, want := range []syncproto.CheckState{
		{AtMS: 1, Result: syncproto.CheckRepaired, Records: 2, Buckets: 1, DivergedMS: 1, ResyncMS: 1}, {AtMS: 2, Result: syncproto.CheckEqual, DivergedMS: 1},
	} {
		require.NoError(t, r.SaveCheck(t.Context(), want))
		got, err = r.Check(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `UPDATE checkup SET state = '{"at_ms":9}'`)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	got, err = r.Check(t.Context())
	require.NoError(t, err)
	require.Zero(t, got, "what does not match its checksum says nothing")
}

func BenchmarkDigestMillion(b *testing.B) {
	path := filepath.Join(b.TempDir(), "replica.db")
	buildTickets(b, path, million)
	open(b, path)
	for b.Loop() {
		require.EqualValues(b, million, summary(b, path).All.Count())
	}
}
