package roster_test

import (
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
)

func (b *bundle) digest(cursor string) syncproto.DigestReply {
	b.t.Helper()
	reply, err := b.roster.Digest(b.t.Context(), syncproto.DigestRequest{Stream: b.event.Stream, Cursor: cursor})
	require.NoError(b.t, err)
	return reply
}

// sums are the sums of a digest of tickets and the rules.
func (b *bundle) sums(tickets []syncproto.Ticket) []byte {
	b.t.Helper()
	var d syncproto.Digest
	for i := range tickets {
		d.Add(b.event.No, &syncproto.Record{Kind: syncproto.RecordTicket, Ticket: &tickets[i]})
	}
	return d.Bytes()
}

// bucket reads a whole bucket and says in how many parts it came.
func (b *bundle) bucket(no uint8) (records []syncproto.Record, parts int) {
	b.t.Helper()
	req := syncproto.BucketRequest{Stream: b.event.Stream, Bucket: no}
	for {
		p, err := b.roster.Bucket(b.t.Context(), req)
		require.NoError(b.t, err)
		require.LessOrEqual(b.t, len(p.Records), syncproto.PageRecordsMax)
		records, parts = append(records, p.Records...), parts+1
		if !p.More {
			return records, parts
		}
		req.After = syncproto.SubjectOf(&p.Records[len(p.Records)-1])
	}
}

func ticketSubject(no uint64) syncproto.Subject {
	return syncproto.Subject{Kind: syncproto.RecordTicket, No: no}
}

// A change that is committed and not sealed cannot be known to a gate: it is left
// out, and so is what it was before.
func TestDigestLeavesOutWhatIsNotSealed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tickets(1, 200)
	b.seal()
	at := b.manifest()
	before := b.digest(at.Cursor)
	require.Empty(t, before.Except)
	require.EqualValues(t, 201, before.Count, "tickets and rules")
	b.setStatus(7, "revoked")
	b.tickets(500, 1)
	unsealed := b.digest(at.Cursor)
	require.ElementsMatch(t, []syncproto.Subject{ticketSubject(7), ticketSubject(500)}, unsealed.Except)
	require.Equal(t, at.Seq, unsealed.Head)
	b.seal()
	sealed := b.digest(at.Cursor)
	require.ElementsMatch(t, unsealed.Except, sealed.Except)
	require.Equal(t, unsealed.Sums, sealed.Sums)
	require.Equal(t, at.Seq+2, sealed.Head)

	ours, err := syncproto.ParseDigest(before.Sums, before.Count)
	require.NoError(t, err)
	tickets, _ := b.load(at)
	seven := tickets[7]
	ours.Remove(b.event.No, &syncproto.Record{Kind: syncproto.RecordTicket, Ticket: &seven})
	require.Equal(t, sealed.Sums, ours.Bytes(), "a gate takes its own version out")
	require.Equal(t, sealed.Count, ours.Count())
}

// Gates that were there when a ticket was withdrawn have it, gates that came after
// its grace time have not. Both are right.
func TestDigestLeavesOutOutlivedTickets(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tickets(1, 10)
	b.setStatus(3, "cancelled")
	b.setStatus(4, "revoked")
	b.exec(`UPDATE ticket SET not_after = $1 WHERE number IN (3, 5)`, b.now.Add(-31*24*time.Hour))
	b.seal()
	reply := b.digest(b.manifest().Cursor)
	require.Equal(t, []syncproto.Subject{ticketSubject(3)}, reply.Except)
	require.EqualValues(t, 10, reply.Count)
	records, _ := b.bucket(0)
	require.Len(t, records, 10, "the rules and all tickets but one")
}

func TestDigestOfTooManyChangesIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := b.manifest()
	b.tickets(1, syncproto.DigestExceptMax)
	require.Len(t, b.digest(at.Cursor).Except, syncproto.DigestExceptMax)
	b.tickets(syncproto.DigestExceptMax+1, 1)
	_, err := b.roster.Digest(t.Context(), syncproto.DigestRequest{Stream: b.event.Stream, Cursor: at.Cursor})
	refusal := syncproto.AsError(err)
	require.NotNil(t, refusal, "%v", err)
	require.Equal(t, syncproto.CodeOverloaded, refusal.Code)
	require.Positive(t, refusal.RetryMS)
}

func TestBucketComesInParts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	// Blocks of 64 neighbours that all belong to bucket 1, and one that does not.
	const blocks = 64
	for i := range blocks {
		b.tickets(64+i*64*256, 64)
	}
	b.tickets(1, 63)
	records, parts := b.bucket(1)
	require.Len(t, records, blocks*64)
	require.Equal(t, 3, parts)
	seen := map[syncproto.TicketNo]bool{}
	var tickets []syncproto.Ticket
	for _, rec := range records {
		require.False(t, seen[rec.Ticket.No])
		seen[rec.Ticket.No] = true
		tickets = append(tickets, *rec.Ticket)
	}
	b.seal()
	theirs, err := syncproto.ParseDigest(b.digest(b.manifest().Cursor).Sums, 0)
	require.NoError(t, err)
	ours, err := syncproto.ParseDigest(b.sums(tickets), 0)
	require.NoError(t, err)
	require.NotContains(t, ours.Differs(&theirs), uint8(1))
	empty, parts := b.bucket(77)
	require.Empty(t, empty)
	require.Equal(t, 1, parts)
}

// Making a digest reads a whole roster, so a fleet that asks at once is answered
// one after another.
func TestDigestsAreMadeAFewAtATime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tickets(1, 20_000)
	b.seal()
	cursor := b.manifest().Cursor
	var wg sync.WaitGroup
	var mu sync.Mutex
	var made int
	var sums [][]byte
	for range 8 {
		wg.Go(func() {
			reply, err := b.roster.Digest(t.Context(), syncproto.DigestRequest{Stream: b.event.Stream, Cursor: cursor})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made++
				sums = append(sums, reply.Sums)
			} else if refusal := syncproto.AsError(err); refusal == nil || refusal.Code != syncproto.CodeOverloaded {
				t.Errorf("refused otherwise: %v", err)
			}
		})
	}
	wg.Wait()
	require.Positive(t, made)
	for _, s := range sums {
		require.Equal(t, sums[0], s)
	}
	b.digest(cursor) // the places are free again
}

// Writers do not stop while a digest is made, and it is right all the same.
func TestDigestUnderWritersIsThatOfThePages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.run(b.roster)
	b.tickets(1, 2000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 60 {
			b.tickets(10_000+10*i, 3)
			b.setStatus(1+i*30, "revoked")
		}
	}()
	held := map[syncproto.TicketNo]syncproto.Ticket{}
	cursor, compared := "", 0
	for running := true; running || compared < 3; compared++ {
		select {
		case <-done:
			running = false
		default:
		}
		for {
			p := b.page(cursor)
			cursor = p.Next
			for _, rec := range p.Records {
				if rec.Ticket != nil {
					held[rec.Ticket.No] = *rec.Ticket
				}
			}
			if p.To == p.Head || p.To == p.From {
				break
			}
		}
		reply := b.digest(cursor)
		left := map[syncproto.Subject]bool{}
		for _, s := range reply.Except {
			left[s] = true
		}
		var tickets []syncproto.Ticket
		for no, ticket := range held {
			if !left[ticketSubject(uint64(no))] {
				tickets = append(tickets, ticket)
			}
		}
		theirs, err := syncproto.ParseDigest(reply.Sums, reply.Count)
		require.NoError(t, err)
		ours, err := syncproto.ParseDigest(b.sums(tickets), 0)
		require.NoError(t, err)
		for _, bucket := range ours.Differs(&theirs) {
			require.Zero(t, bucket, "bucket 0 has the rules as well")
		}
	}
}

func TestDigestRefusals(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, req := range []syncproto.DigestRequest{
		{Stream: uuid.New()},
		{Stream: b.event.Stream, Cursor: "x"},
		{Stream: b.event.Stream, Cursor: syncproto.Cursor{Epoch: uuid.New()}.String()},
	} {
		_, err := b.roster.Digest(t.Context(), req)
		require.NotNil(t, syncproto.AsError(err), "%v", err)
		_, err = b.roster.Bucket(t.Context(), syncproto.BucketRequest{Stream: req.Stream, Cursor: req.Cursor})
		require.NotNil(t, syncproto.AsError(err), "%v", err)
	}
}

// BenchmarkDigest makes one of DIGEST_TICKETS tickets, and reads one bucket.
func BenchmarkDigest(bench *testing.B) {
	n, err := strconv.Atoi(os.Getenv("DIGEST_TICKETS"))
	if err != nil {
		n = 50_000
	}
	b := setup(bench)
	for first := 1; first <= n; first += 100_000 {
		b.tickets(first, min(100_000, n-first+1))
	}
	b.seal()
	b.exec(`ANALYZE`)
	cursor := b.manifest().Cursor
	bench.Run("digest", func(bench *testing.B) {
		for bench.Loop() {
			require.EqualValues(bench, n+1, b.digest(cursor).Count)
		}
	})
	bench.Run("bucket", func(bench *testing.B) {
		for bench.Loop() {
			records, _ := b.bucket(17)
			require.NotEmpty(bench, records)
		}
	})
}
