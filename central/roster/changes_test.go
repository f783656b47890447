package roster_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/central/roster"
	"gatehouse/syncproto"
)

func TestPageTellsEachSubjectOnceInItsPresentState(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tickets(1, 3)
	b.setStatus(2, "revoked")
	b.seal()
	start := b.page("")
	b.setStatus(1, "cancelled") // not sealed, and told all the same
	p := b.page("")

	require.Equal(t, []syncproto.TicketNo{1, 2, 3}, numbers(p))
	require.Equal(t, syncproto.RecordRules, p.Records[0].Kind)
	require.Equal(t, "Fair", p.Records[0].Rules.Name)
	require.Equal(t, syncproto.StatusCancelled, p.Records[1].Ticket.Status)
	require.Equal(t, syncproto.StatusRevoked, p.Records[2].Ticket.Status)
	require.Equal(t, int64(2), p.Records[2].Ticket.Rev)
	require.Equal(t, b.now.UnixMilli(), p.Records[2].Ticket.StatusAt)
	require.Equal(t, start.Next, p.Next)
	require.Equal(t, int64(5), p.To) // rules, three tickets, one change
	require.Equal(t, p.To, p.Head)
	require.Zero(t, p.From)

	b.seal()
	next := b.page(p.Next)
	require.Equal(t, p.To, next.From)
	require.Equal(t, []syncproto.TicketNo{1}, numbers(next))
	empty := b.page(next.Next)
	require.Equal(t, next.Next, empty.Next)
	require.Equal(t, empty.From, empty.To)
	require.Empty(t, empty.Records)
}

func TestPageOfAGate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := b.page("").Next
	device, incarnation := uuid.New(), uuid.New()
	b.exec(`
		INSERT INTO gate (device_id, event_id, name, public_key, box_key, enrolled_at)
		VALUES ($1, $2, 'North', $3, $3, now())`, device, b.event.No, make([]byte, 32))
	b.exec(`UPDATE gate SET last_seen_at = now()`) // nothing that others need to know
	b.exec(`UPDATE gate SET revoked_at = now(), trusted_incarnation = $1, trusted_seq = 7`, incarnation)
	b.seal()
	p := b.page(at)
	require.Len(t, p.Records, 1)
	d := p.Records[0].Device
	require.Equal(t, device, d.Device)
	require.Equal(t, "North", d.Name)
	require.True(t, d.Revoked)
	require.Equal(t, syncproto.Ref{Incarnation: incarnation, Seq: 7}, d.Trusted)
	require.Equal(t, p.From+2, p.To)
}

func TestPagesKeepToTheirLimits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tickets(1, syncproto.PageRecordsMax+500)
	b.seal()
	var got []syncproto.TicketNo
	at := ""
	pages := 0
	for {
		p := b.page(at)
		if p.From == p.To {
			break
		}
		require.LessOrEqual(t, len(p.Records), syncproto.PageRecordsMax)
		got = append(got, numbers(p)...)
		at = p.Next
		pages++
	}
	require.Equal(t, 2, pages)
	require.Len(t, got, syncproto.PageRecordsMax+500)

	p, err := b.roster.Changes(t.Context(), syncproto.ChangesRequest{Stream: b.event.Stream, Limit: 10})
	require.NoError(t, err)
	require.Equal(t, int64(10), p.To)
	require.Len(t, p.Records, 10)
}

func TestCursorOfAnotherHistoryIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tickets(1, 3)
	b.seal()
	at := b.page("")
	good, err := syncproto.ParseCursor(at.Next)
	require.NoError(t, err)

	for name, want := range map[string]struct {
		cursor syncproto.Cursor
		reason string
	}{
		"other epoch":      {syncproto.Cursor{Epoch: uuid.New(), Seq: good.Seq, Tag: good.Tag}, syncproto.ResyncEpoch},
		"other tag":        {syncproto.Cursor{Epoch: good.Epoch, Seq: good.Seq, Tag: good.Tag + 2}, syncproto.ResyncTag},
		"past the head":    {syncproto.Cursor{Epoch: good.Epoch, Seq: good.Seq + 1, Tag: good.Tag}, syncproto.ResyncAhead},
		"tag at the start": {syncproto.Cursor{Epoch: good.Epoch, Seq: 0, Tag: 5}, syncproto.ResyncTag},
	} {
		refusal := b.refused(b.event.Stream, want.cursor.String())
		require.Equal(t, syncproto.CodeResync, refusal.Code, name)
		require.Equal(t, want.reason, refusal.Reason, name)
	}
	require.Equal(t, syncproto.CodeMalformed, b.refused(b.event.Stream, "nonsense").Code)
	require.Equal(t, syncproto.CodeNotFound, b.refused(uuid.New(), at.Next).Code)

	origin := syncproto.Cursor{Epoch: good.Epoch}
	require.Equal(t, at.Next, b.page(origin.String()).Next)
}

func TestRestoreIsNoticedByEpochAndByTag(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tickets(1, 2)
	b.seal()
	b.exec(`CREATE TABLE backup_log AS SELECT * FROM sync_log`)
	b.exec(`CREATE TABLE backup_stream AS SELECT * FROM sync_stream`)
	b.tickets(3, 2)
	b.seal()
	lost := b.page("").Next

	// The restored log grows past the cursor again, with other contents.
	b.exec(`DELETE FROM sync_log`)
	b.exec(`INSERT INTO sync_log SELECT * FROM backup_log`)
	b.exec(`UPDATE sync_stream s SET head = o.head FROM backup_stream o WHERE o.stream_id = s.stream_id`)
	require.Equal(t, syncproto.ResyncAhead, b.refused(b.event.Stream, lost).Reason)
	b.tickets(5, 20)
	b.seal()
	require.Equal(t, syncproto.ResyncTag, b.refused(b.event.Stream, lost).Reason)

	before := b.page("").Next
	_, err := b.roster.Manifest(t.Context(), b.event.Stream)
	require.NoError(t, err)
	epoch, err := roster.NewEpoch(t.Context(), b.pool)
	require.NoError(t, err)
	require.Equal(t, syncproto.ResyncEpoch, b.refused(b.event.Stream, before).Reason)
	m, err := b.roster.Manifest(t.Context(), b.event.Stream)
	require.NoError(t, err)
	cursor, err := syncproto.ParseCursor(m.Cursor)
	require.NoError(t, err)
	require.Equal(t, epoch, cursor.Epoch)
	require.Equal(t, cursor.Seq, b.page(m.Cursor).From)
}

func TestTrimmedLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tickets(1, 3)
	b.seal()
	old := b.page("")
	b.exec(`UPDATE sync_log SET sealed_at = $1`, b.now.Add(-8*24*time.Hour))
	b.tickets(4, 3)
	b.seal()
	b.exec(`UPDATE sync_log SET sealed_at = $1 WHERE seq > $2`, b.now.Add(-6*24*time.Hour), old.To)
	require.NoError(t, b.roster.Trim(t.Context()))
	require.NoError(t, b.roster.Trim(t.Context()), "again changes nothing")

	refusal := b.refused(b.event.Stream, "")
	require.Equal(t, syncproto.CodeGone, refusal.Code)
	require.Equal(t, old.To+1, refusal.MinSeq)
	require.Equal(t, []syncproto.TicketNo{4, 5, 6}, numbers(b.page(old.Next)), "a cursor exactly there goes on")
	cursor, err := syncproto.ParseCursor(old.Next)
	require.NoError(t, err)
	cursor.Tag += 2
	require.Equal(t, syncproto.ResyncTag, b.refused(b.event.Stream, cursor.String()).Reason, "and is still checked")

	// All of it may go; what stays is where it ended.
	end := b.page(old.Next).Next
	b.exec(`UPDATE sync_log SET sealed_at = $1`, b.now.Add(-8*24*time.Hour))
	require.NoError(t, b.roster.Trim(t.Context()))
	require.Equal(t, end, b.page(end).Next)
	m, err := b.roster.Manifest(t.Context(), b.event.Stream)
	require.NoError(t, err)
	require.Equal(t, end, m.Cursor)
}

func TestTrimKeepsWhatFollowsTheKeptSnapshots(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m, err := b.roster.Manifest(t.Context(), b.event.Stream)
	require.NoError(t, err)
	b.tickets(1, 3)
	b.seal()
	b.exec(`UPDATE sync_log SET sealed_at = $1`, b.now.Add(-8*24*time.Hour))
	require.NoError(t, b.roster.Trim(t.Context()))
	require.Len(t, numbers(b.page(m.Cursor)), 3)
}

func TestParkedReaderIsWoken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.run(b.roster)
	at := b.page("").Next
	for _, writer := range []struct {
		name string
		tell func()
	}{
		{"by a touch", func() { b.roster.Touch(b.event.Stream) }},
		{"by the sweeper", func() {}},
		{"by a seal of another process", func() {
			require.NoError(t, roster.SealNow(t.Context(), b.pool, b.event.Stream))
		}},
	} {
		got := make(chan syncproto.Page, 1)
		go func() {
			p, err := b.roster.Changes(context.Background(), syncproto.ChangesRequest{Stream: b.event.Stream, Cursor: at, WaitMS: 20_000})
			if err == nil {
				got <- p
			}
			close(got)
		}()
		b.exec(`UPDATE event SET name = name || '.'`)
		writer.tell()
		p := <-got
		require.Len(t, p.Records, 1, writer.name)
		at = p.Next
	}
}

func TestWaitEndsEmptyHanded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := b.page("").Next
	p, err := b.roster.Changes(t.Context(), syncproto.ChangesRequest{Stream: b.event.Stream, Cursor: at, WaitMS: 20})
	require.NoError(t, err)
	require.Equal(t, at, p.Next)
	require.Empty(t, p.Records)

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = b.roster.Changes(ctx, syncproto.ChangesRequest{Stream: b.event.Stream, Cursor: at, WaitMS: 25_000})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestParkedReadersHoldNoConnectionAndLeaveAtTheEnd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := b.page("").Next
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- b.roster.Run(ctx) }()
	const readers = 200 // ten times the pool
	done := make(chan error, readers)
	for range readers {
		go func() {
			p, err := b.roster.Changes(context.Background(), syncproto.ChangesRequest{Stream: b.event.Stream, Cursor: at, WaitMS: 25_000})
			if err == nil && p.Next != at {
				err = errors.New("got a page of nothing")
			}
			done <- err
		}()
	}
	require.Eventually(t, func() bool { return b.roster.Parked() == readers }, 20*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return b.pool.Stat().AcquiredConns() == 0 }, 20*time.Second, time.Millisecond)
	cancel()
	require.NoError(t, <-ran)
	for range readers {
		require.NoError(t, <-done)
	}
}
