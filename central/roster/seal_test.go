package roster_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"gatehouse/central/pg"
	"gatehouse/central/roster"
	"gatehouse/syncproto"
)

func TestSealNumbersWhatIsVisibleAndTagsEachBatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const many = 12_000 // more than two batches
	b.exec(`INSERT INTO sync_outbox (stream_id, kind, entity, entity_no) SELECT $1, 1, $1, i FROM generate_series(1, $2::int) i`,
		b.event.Stream, many)
	n, err := roster.Seal(t.Context(), b.pool, b.event.Stream)
	require.NoError(t, err)
	require.Equal(t, many, n)

	var first, last, rows, tags int64
	require.NoError(t, b.pool.QueryRow(t.Context(), `
		SELECT min(seq), max(seq), count(*), count(DISTINCT tag) FROM sync_log`).Scan(&first, &last, &rows, &tags))
	require.Equal(t, []int64{1, many + 1, many + 1}, []int64{first, last, rows})
	require.Equal(t, int64(4), tags, "one for the rules, three for the batches")
	head, err := b.roster.Head(t.Context(), b.event.Stream)
	require.NoError(t, err)
	require.Equal(t, last, head)

	n, err = roster.Seal(t.Context(), b.pool, b.event.Stream)
	require.NoError(t, err)
	require.Zero(t, n)
	_, err = roster.Seal(t.Context(), b.pool, uuid.New())
	require.Equal(t, syncproto.CodeNotFound, syncproto.AsError(err).Code)
}

func TestSealerThatFindsAnotherIsToldAtOnceAndTriesAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	held, release, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() { done <- roster.HoldHead(context.Background(), b.pool, b.event.Stream, held, release) }()
	<-held
	b.tickets(1, 1)
	_, err := roster.Seal(t.Context(), b.pool, b.event.Stream)
	require.ErrorIs(t, err, roster.ErrBusy)

	at := b.page("").Next
	b.run(b.roster)
	b.roster.Touch(b.event.Stream)
	_, err = roster.Seal(t.Context(), b.pool, b.event.Stream)
	require.ErrorIs(t, err, roster.ErrBusy)
	close(release)
	require.NoError(t, <-done)
	p, err := b.roster.Changes(t.Context(), syncproto.ChangesRequest{Stream: b.event.Stream, Cursor: at, WaitMS: 20_000})
	require.NoError(t, err)
	require.Equal(t, []syncproto.TicketNo{1}, numbers(p))
}

func TestWritersNeverWaitForASealer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	held, release, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() { done <- roster.HoldHead(context.Background(), b.pool, b.event.Stream, held, release) }()
	<-held
	require.NoError(t, pg.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `SET LOCAL lock_timeout = '1s'`); err != nil {
			return err
		}
		_, err := tx.Exec(t.Context(), `UPDATE event SET name = 'Other'`)
		return err
	}))
	close(release)
	require.NoError(t, <-done)
}

func TestSealerThatDiesLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tickets(1, 3)
	before := b.page("")
	require.Error(t, roster.AbandonSeal(t.Context(), b.pool, b.event.Stream))
	require.Equal(t, before.Next, b.page("").Next)
	b.seal()
	require.Equal(t, []syncproto.TicketNo{1, 2, 3}, numbers(b.page(before.Next)))
}

func TestSealNeedsReadCommitted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, roster.LockHeadAt(t.Context(), b.pool, b.event.Stream, pgx.ReadCommitted))
	require.Error(t, roster.LockHeadAt(t.Context(), b.pool, b.event.Stream, pgx.RepeatableRead))
}

// What was told before the stream began is told once it has.
func TestSealNowOfACommand(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.Equal(t, int64(1), b.page("").To, "the event's own row was written before its stream")
	b.tickets(1, 2)
	require.NoError(t, roster.SealNow(t.Context(), b.pool, b.event.Stream))
	require.Len(t, numbers(b.page("")), 2)
}

// A revocation written by another process reaches a parked reader soon, whether
// that process sealed it or died before.
func TestLagOfARevocation(t *testing.T) {
	b := setup(t)
	b.tickets(1, 1)
	b.seal()
	b.run(b.roster)
	at := b.page("").Next
	for _, sealed := range []bool{true, false} {
		var worst time.Duration
		for i := range 20 {
			got := make(chan syncproto.Page, 1)
			go func() {
				p, _ := b.roster.Changes(context.Background(), syncproto.ChangesRequest{Stream: b.event.Stream, Cursor: at, WaitMS: 20_000})
				got <- p
			}()
			require.Eventually(t, func() bool { return b.roster.Parked() == 1 }, 10*time.Second, time.Millisecond)
			b.setStatus(1, []string{"revoked", "paid"}[i%2])
			start := time.Now()
			if sealed {
				require.NoError(t, roster.SealNow(t.Context(), b.pool, b.event.Stream))
			}
			p := <-got
			worst = max(worst, time.Since(start))
			require.Equal(t, []syncproto.TicketNo{1}, numbers(p))
			at = p.Next
		}
		t.Logf("sealed by the writer: %t, worst of 20: %s", sealed, worst)
	}
}
