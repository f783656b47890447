package finding

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// lookAtTickets compares the findings about tickets whose entries a stretch tells
// of with the verdicts as they are now.
func lookAtTickets(ctx context.Context, tx pgx.Tx, stream uuid.UUID, st stretch) ([]change, error) {
	tickets, err := ticketsOf(ctx, tx, stream, st)
	if err != nil || len(tickets) == 0 {
		return nil, err
	}
	rows, err := tx.Query(ctx, storedSelect+`
		WHERE f.event_id = $1 AND f.ticket = ANY ($2) AND f.kind IN ('double_admission', 'admitted_after_revocation')`,
		st.event, tickets)
	if err != nil {
		return nil, fmt.Errorf("read findings: %w", err)
	}
	old, err := eachStored(rows)
	if err != nil {
		return nil, err
	}
	seen, err := observeTickets(ctx, tx, st.event, tickets)
	if err != nil {
		return nil, err
	}
	return compare(old, seen), nil
}

// ticketsOf are the tickets of a stretch that have a finding, or a verdict that
// makes one. Most have neither.
func ticketsOf(ctx context.Context, tx pgx.Tx, stream uuid.UUID, st stretch) ([]int32, error) {
	rows, err := tx.Query(ctx, `
		WITH told AS (
		  SELECT entity, entity_no FROM sync_log
		  WHERE NOT $5 AND stream_id = $1 AND seq > $2 AND seq <= $3 AND kind = $6
		), entry AS (
		  SELECT c.ticket, c.outcome
		  FROM told t
		  CROSS JOIN LATERAL (
		    SELECT ticket, outcome FROM checkin_entry
		    WHERE incarnation = t.entity AND seq = t.entity_no AND event_id = $4
		    OFFSET 0) c
		  UNION ALL
		  SELECT ticket, outcome FROM checkin_entry WHERE $5 AND event_id = $4
		)
		SELECT DISTINCT e.ticket
		FROM entry e
		WHERE e.ticket IS NOT NULL
		  AND (e.outcome IN ('duplicate', 'concurrent', 'after_revocation')
		       OR EXISTS (SELECT FROM finding f WHERE f.event_id = $4 AND f.ticket = e.ticket))`,
		stream, st.from, st.to, st.event, st.all, kindEntry)
	if err != nil {
		return nil, fmt.Errorf("find tickets to look at: %w", err)
	}
	tickets, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return nil, fmt.Errorf("find tickets to look at: %w", err)
	}
	return tickets, nil
}

// observeTickets reads the admissions that should not have been, and what they
// repeat.
func observeTickets(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, tickets []int32) ([]observed, error) {
	rows, err := tx.Query(ctx, `
		SELECT c.ticket, c.outcome, c.body, c.device_id, g.name, o.body, coalesce(o.device_id, c.device_id), coalesce(og.name, ''),
		       coalesce(t.status, ''), coalesce(t.status_at, c.received_at)
		FROM unnest($2::int[]) wanted
		CROSS JOIN LATERAL (
		  SELECT ticket, outcome, body, device_id, outcome_inc, outcome_seq, received_at
		  FROM checkin_entry
		  WHERE event_id = $1 AND ticket = wanted AND outcome IN ('duplicate', 'concurrent', 'after_revocation')
		  OFFSET 0) c
		JOIN gate g ON g.device_id = c.device_id
		LEFT JOIN checkin_entry o ON o.incarnation = c.outcome_inc AND o.seq = c.outcome_seq
		LEFT JOIN gate og ON og.device_id = o.device_id
		LEFT JOIN ticket t ON t.event_id = $1 AND t.number = c.ticket`, event, tickets)
	if err != nil {
		return nil, fmt.Errorf("read admissions: %w", err)
	}
	var (
		a                     admission
		ticket                int32
		body, ofBody          []byte
		device, ofDevice      uuid.UUID
		gate, ofGate          string
		out                   []observed
		outcome, ticketStatus string
	)
	row := []any{&ticket, &outcome, &body, &device, &gate, &ofBody, &ofDevice, &ofGate, &ticketStatus, &a.statusAt}
	err = forEach(rows, row, func() error {
		a.ticket, a.outcome, a.status = syncproto.TicketNo(ticket), syncproto.Outcome(outcome), syncproto.Status(ticketStatus)
		if a.side, err = sideOf(body, device, gate); err != nil {
			return err
		}
		a.of = nil
		if ofBody != nil {
			of, err := sideOf(ofBody, ofDevice, ofGate)
			if err != nil {
				return err
			}
			a.of = &of
		}
		out = append(out, a.observe())
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read admissions: %w", err)
	}
	return out, nil
}

// sideOf is the side of a stored entry.
func sideOf(body []byte, device uuid.UUID, gate string) (side, error) {
	var e syncproto.Entry
	if err := wire.ParseEntry(body, &e); err != nil {
		return side{}, fmt.Errorf("stored entry: %w", err)
	}
	return side{FindingSide: syncproto.SideOf(device, &e), Gate: gate}, nil
}

// admission is one that should not have been.
type admission struct {
	ticket   syncproto.TicketNo
	outcome  syncproto.Outcome
	side     side
	of       *side // what it repeats; nil where it repeats nothing
	status   syncproto.Status
	statusAt time.Time
}

// observe makes a finding of it.
func (a *admission) observe() observed {
	out := observed{
		kind: syncproto.FindingDouble, subject: subjectOf(a.side.Entry), ticket: a.ticket, count: 1,
		first: a.side.At + a.side.OffsetMS, last: a.side.At + a.side.OffsetMS, sides: []side{a.side},
	}
	if a.of != nil {
		out.sides = []side{*a.of, a.side}
		at := a.of.At + a.of.OffsetMS
		out.first, out.last = min(out.first, at), max(out.last, at)
	}
	switch a.outcome {
	case syncproto.OutcomeDuplicate:
		out.detail = syncproto.DetailDuplicate
		out.evidence = a.twice() + fmt.Sprintf(" %s later", span(out.last-out.first))
	case syncproto.OutcomeConcurrent:
		out.detail = syncproto.DetailConcurrent
		out.evidence = a.twice() + fmt.Sprintf(" %s apart, which is within what the two clocks may be off", span(out.last-out.first))
	case syncproto.OutcomeAfterRevocation:
		out.kind = syncproto.FindingRevoked
		out.evidence = fmt.Sprintf("the ticket was %s at %s, %s before it let somebody in",
			a.status, a.statusAt.UTC().Format("2006-01-02T15:04:05.000Z"), span(out.last-a.statusAt.UnixMilli()))
	}
	return out
}

// twice says who let the ticket in, and who let it in again.
func (a *admission) twice() string {
	if a.of == nil {
		return fmt.Sprintf("gate %s let it in again", a.side.Gate)
	}
	return fmt.Sprintf("gate %s let it in, and gate %s again", a.of.Gate, a.side.Gate)
}

// span is a length of time in words.
func span(ms int64) string {
	return time.Duration(ms * int64(time.Millisecond)).String()
}
