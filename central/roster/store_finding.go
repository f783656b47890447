package roster

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse/syncproto"
)

const findingSelect = `
		SELECT id, rev, kind, detail, state, coalesce(ticket, 0), count, first_at, last_at, sides
		FROM finding`

// eachFinding calls fn with each row of a findingSelect.
func eachFinding(rows pgx.Rows, fn func(*syncproto.FindingRecord) error) error {
	var f syncproto.FindingRecord
	var ticket int32
	var first, last time.Time
	var sides []syncproto.FindingSide
	err := forEach(rows, []any{&f.ID, &f.Rev, &f.Kind, &f.Detail, &f.State, &ticket, &f.Count, &first, &last, &sides}, func() error {
		rec := f
		rec.Ticket, rec.First, rec.Last = syncproto.TicketNo(ticket), first.UnixMilli(), last.UnixMilli()
		rec.Sides, sides = sides, nil
		return fn(&rec)
	})
	return err
}

// findings reads findings of an event by number, closed ones too: a gate that
// holds one learns that way that it is over.
func (r reader) findings(ctx context.Context, event syncproto.EventNo, subjects []subject, out map[subject]syncproto.Record) error {
	numbers := make([]int64, len(subjects))
	byNumber := make(map[int64]subject, len(subjects))
	for i, s := range subjects {
		numbers[i] = s.no
		byNumber[s.no] = s
	}
	rows, err := r.cfg.Pool.Query(ctx, findingSelect+`
		WHERE event_id = $1 AND id = ANY ($2)`, event, numbers)
	if err != nil {
		return fmt.Errorf("read findings for roster: %w", err)
	}
	err = eachFinding(rows, func(f *syncproto.FindingRecord) error {
		out[byNumber[f.ID]] = syncproto.Record{Kind: syncproto.RecordFinding, Finding: f}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read findings for roster: %w", err)
	}
	return nil
}

func openFindings(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, emit func(*syncproto.Record) error) error {
	rows, err := tx.Query(ctx, findingSelect+`
		WHERE event_id = $1 AND state <> 'closed'
		ORDER BY id`, event)
	if err != nil {
		return fmt.Errorf("read findings: %w", err)
	}
	return eachFinding(rows, func(f *syncproto.FindingRecord) error {
		return emit(&syncproto.Record{Kind: syncproto.RecordFinding, Finding: f})
	})
}
