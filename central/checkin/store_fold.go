package checkin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
)

// lockTickets makes this transaction the only one that folds these tickets, and
// reads their stored state. Both statements go by ascending number, row by row, so
// that two of them never wait for each other. What is read of these tickets afterwards is
// as new as any fold of them that was committed.
func lockTickets(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, numbers []syncproto.TicketNo) (map[syncproto.TicketNo]*dossier, error) {
	sorted := slices.Sorted(slices.Values(numbers))
	_, err := tx.Exec(ctx, `
		INSERT INTO ticket_state (event_id, ticket)
		SELECT $1, n FROM unnest($2::int[]) n ORDER BY n
		ON CONFLICT DO NOTHING`, event, sorted)
	if err != nil {
		return nil, fmt.Errorf("lock tickets: %w", err)
	}
	rows, err := tx.Query(ctx, `
		SELECT s.ticket, s.admissions, s.doubles, s.inside, s.zones, s.first_at, s.last_at
		FROM unnest($2::int[]) AS n
		CROSS JOIN LATERAL (
		  SELECT ticket, admissions, doubles, inside, zones, first_at, last_at
		  FROM ticket_state
		  WHERE event_id = $1 AND ticket = n
		  FOR UPDATE) s`, event, sorted)
	if err != nil {
		return nil, fmt.Errorf("lock tickets: %w", err)
	}
	out := make(map[syncproto.TicketNo]*dossier, len(sorted))
	var no int64
	var s ticketState
	var first, last *time.Time
	err = forEach(rows, []any{&no, &s.admissions, &s.doubles, &s.inside, &s.zones, &first, &last}, func() error {
		d := &dossier{ticket: admission.Ticket{No: syncproto.TicketNo(no)}, state: s}
		d.state.zones = slices.Clone(s.zones)
		d.state.first, d.state.last = unixMilli(first), unixMilli(last)
		out[syncproto.TicketNo(no)] = d
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("lock tickets: %w", err)
	}
	return out, nil
}

func unixMilli(t *time.Time) int64 {
	if t == nil {
		return 0
	}
	return t.UnixMilli()
}

// readTickets adds type and standing to the dossiers of known tickets.
func readTickets(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, dossiers map[syncproto.TicketNo]*dossier) error {
	rows, err := tx.Query(ctx, `
		SELECT t.number, t.type_no, t.status, t.status_at
		FROM unnest($2::int[]) wanted
		CROSS JOIN LATERAL (
		  SELECT number, type_no, status, status_at
		  FROM ticket
		  WHERE event_id = $1 AND number = wanted
		  OFFSET 0) t`, event, slices.Collect(maps.Keys(dossiers)))
	if err != nil {
		return fmt.Errorf("read tickets: %w", err)
	}
	var no, typeNo int32
	var status string
	var statusAt time.Time
	err = forEach(rows, []any{&no, &typeNo, &status, &statusAt}, func() error {
		dossiers[syncproto.TicketNo(no)].ticket = admission.TicketOf(syncproto.Ticket{
			No: syncproto.TicketNo(no), Type: syncproto.TypeNo(typeNo),
			Status: syncproto.Status(status), StatusAt: statusAt.UnixMilli(),
		})
		return nil
	})
	if err != nil {
		return fmt.Errorf("read tickets: %w", err)
	}
	return nil
}

// readFacts adds the stored entries that have an effect. Denials have none, and a
// hostile guest can cause many, so they are left where they are. Each ticket is
// looked up by itself: given them all at once, the planner scans the whole event
// when its statistics are of before the event had entries.
func readFacts(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, dossiers map[syncproto.TicketNo]*dossier) error {
	rows, err := tx.Query(ctx, `
		SELECT e.ticket, e.incarnation, e.seq, e.t, e.at_ms, e.err_ms, e.kind, e.zone, e.of_inc, e.of_seq, e.untrusted,
		       e.outcome, e.outcome_inc, e.outcome_seq
		FROM unnest($2::int[]) wanted
		CROSS JOIN LATERAL (
		  SELECT ticket, incarnation, seq, t, at_ms, err_ms, kind, zone, of_inc, of_seq, untrusted, outcome, outcome_inc, outcome_seq
		  FROM checkin_entry
		  WHERE event_id = $1 AND ticket = wanted AND kind <> 'deny'
		  OFFSET 0) e`, event, slices.Collect(maps.Keys(dossiers)))
	if err != nil {
		return fmt.Errorf("read facts: %w", err)
	}
	var (
		e                 syncproto.Entry
		no                int32
		seq, t            int64
		kind, outcome     string
		ofInc, outcomeInc *uuid.UUID
		ofSeq, outcomeSeq *int64
		untrusted         bool
	)
	row := []any{&no, &e.Incarnation, &seq, &t, &e.At, &e.ErrMS, &kind, &e.Zone, &ofInc, &ofSeq, &untrusted, &outcome, &outcomeInc, &outcomeSeq}
	err = forEach(rows, row, func() error {
		e.Seq, e.T, e.Kind, e.Of = uint64(seq), syncproto.HLC(t), syncproto.Kind(kind), refOf(ofInc, ofSeq)
		if fact, ok := admission.FactOf(&e, untrusted); ok {
			d := dossiers[syncproto.TicketNo(no)]
			d.rows = append(d.rows, factRow{fact, verdict{syncproto.Outcome(outcome), refOf(outcomeInc, outcomeSeq)}})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read facts: %w", err)
	}
	return nil
}

func refOf(inc *uuid.UUID, seq *int64) syncproto.Ref {
	if inc == nil || seq == nil {
		return syncproto.Ref{}
	}
	return syncproto.Ref{Incarnation: *inc, Seq: uint64(*seq)}
}

// columnsOf are a reference for two columns, NULL for none.
func columnsOf(ref syncproto.Ref) (*uuid.UUID, *int64) {
	if ref.IsZero() {
		return nil, nil
	}
	seq := int64(ref.Seq)
	return &ref.Incarnation, &seq
}

// refold judges tickets again from what is stored, and reports how many verdicts
// and states came out different.
func refold(ctx context.Context, tx pgx.Tx, rules *admission.Rules, event syncproto.EventNo, numbers []syncproto.TicketNo) (int, error) {
	dossiers, err := openDossiers(ctx, tx, event, numbers)
	if err != nil {
		return 0, err
	}
	found := judgeAll(rules, dossiers)
	if err := writeVerdicts(ctx, tx, found.verdicts); err != nil {
		return 0, err
	}
	return len(found.verdicts) + len(found.states), writeStates(ctx, tx, event, found.states)
}

// openDossiers locks tickets and reads all that is stored of them.
func openDossiers(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, numbers []syncproto.TicketNo) (map[syncproto.TicketNo]*dossier, error) {
	dossiers, err := lockTickets(ctx, tx, event, numbers)
	if err != nil {
		return nil, err
	}
	if err := readTickets(ctx, tx, event, dossiers); err != nil {
		return nil, err
	}
	return dossiers, readFacts(ctx, tx, event, dossiers)
}

// writeVerdicts changes the verdicts of stored entries. The trigger tells them to
// the stream.
func writeVerdicts(ctx context.Context, tx pgx.Tx, verdicts map[syncproto.Ref]verdict) error {
	if len(verdicts) == 0 {
		return nil
	}
	var (
		incs, ofIncs []*uuid.UUID
		seqs, ofSeqs []*int64
		outcomes     []string
	)
	for ref, v := range verdicts {
		inc, seq := columnsOf(ref)
		ofInc, ofSeq := columnsOf(v.of)
		incs, seqs, outcomes = append(incs, inc), append(seqs, seq), append(outcomes, string(v.outcome))
		ofIncs, ofSeqs = append(ofIncs, ofInc), append(ofSeqs, ofSeq)
	}
	_, err := tx.Exec(ctx, `
		UPDATE checkin_entry c
		SET outcome = v.outcome, outcome_inc = v.of_inc, outcome_seq = v.of_seq
		FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::uuid[], $5::bigint[]) AS v (inc, seq, outcome, of_inc, of_seq)
		WHERE c.incarnation = v.inc AND c.seq = v.seq`, incs, seqs, outcomes, ofIncs, ofSeqs)
	if err != nil {
		return fmt.Errorf("store verdicts: %w", err)
	}
	return nil
}

// writeStates changes the derived states of tickets that are locked.
func writeStates(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, states map[syncproto.TicketNo]ticketState) error {
	if len(states) == 0 {
		return nil
	}
	var (
		numbers             []int32
		admissions, doubles []int32
		inside              []bool
		zones               []string // one text each: Postgres has no arrays of arrays of different length
		first, last         []*time.Time
	)
	for no, s := range states {
		numbers, inside = append(numbers, int32(no)), append(inside, s.inside)
		admissions, doubles = append(admissions, int32(s.admissions)), append(doubles, int32(s.doubles))
		zones = append(zones, strings.Join(s.zones, "\x01"))
		first, last = append(first, timeOrNull(s.first)), append(last, timeOrNull(s.last))
	}
	_, err := tx.Exec(ctx, `
		UPDATE ticket_state t
		SET admissions = v.admissions, doubles = v.doubles, inside = v.inside,
		    zones = string_to_array(v.zones, E'\x01'), first_at = v.first_at, last_at = v.last_at
		FROM unnest($2::int[], $3::int[], $4::int[], $5::bool[], $6::text[], $7::timestamptz[], $8::timestamptz[])
		  AS v (ticket, admissions, doubles, inside, zones, first_at, last_at)
		WHERE t.event_id = $1 AND t.ticket = v.ticket`,
		event, numbers, admissions, doubles, inside, zones, first, last)
	if err != nil {
		return fmt.Errorf("store ticket states: %w", err)
	}
	return nil
}
