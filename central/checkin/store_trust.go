package checkin

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// trustRows is how many entries one transaction of Trust takes.
const trustRows = 500

// ErrNotTrusted means that a gate is revoked or in quarantine.
var ErrNotTrusted = errors.New("the gate is revoked, or was put in quarantine again at this moment")

// Trust makes all entries of a gate count that were kept as not trusted, judges
// their tickets again, and reports how many entries there were. It is what
// follows the release of a gate from quarantine: none of them was refused for
// anything else, since what a revoked gate added stays as it is ([ErrNotTrusted]).
// It can be broken off and begun again.
func (s *Service) Trust(ctx context.Context, device uuid.UUID) (int, error) {
	total := 0
	for {
		var n int
		var stream uuid.UUID
		err := s.books.inFold(ctx, func(tx pgx.Tx) (err error) {
			n, stream, err = s.trustSome(ctx, tx, device)
			return err
		})
		if err != nil {
			return total, fmt.Errorf("trust entries of a released gate: %w", err)
		}
		if n == 0 {
			return total, nil
		}
		total += n
		s.cfg.Touch(stream)
	}
}

// trustSome takes the next entries that are not trusted. Tickets are locked
// before entries are changed, as a push does it.
func (s *Service) trustSome(ctx context.Context, tx pgx.Tx, device uuid.UUID) (n int, stream uuid.UUID, err error) {
	own, err := lockOwner(ctx, tx, device, device)
	if err != nil {
		return 0, uuid.Nil, err
	}
	if own.revoked || own.quarantined {
		return 0, uuid.Nil, ErrNotTrusted
	}
	refs, tickets, err := untrusted(ctx, tx, device)
	if err != nil || len(refs) == 0 {
		return 0, uuid.Nil, err
	}
	rules, err := s.books.at(own.event, own.rulesRev)
	if err != nil {
		return 0, uuid.Nil, err
	}
	sales, finish, err := tradeLate(ctx, tx, s.cfg.Trade, own, device, refs)
	if err != nil {
		return 0, uuid.Nil, err
	}
	if len(tickets) > 0 {
		if _, err := lockTickets(ctx, tx, own.event, tickets); err != nil {
			return 0, uuid.Nil, err
		}
	}
	if err := markTrusted(ctx, tx, refs); err != nil {
		return 0, uuid.Nil, err
	}
	if err := writeVerdicts(ctx, tx, sales); err != nil {
		return 0, uuid.Nil, err
	}
	if len(tickets) > 0 {
		if _, err := refold(ctx, tx, rules, own.event, tickets); err != nil {
			return 0, uuid.Nil, err
		}
	}
	return len(refs), own.stream, finish()
}

// tradeLate applies the sales among entries that begin to count.
func tradeLate(ctx context.Context, tx pgx.Tx, trade Trade, own owner, device uuid.UUID, refs []syncproto.Ref) (map[syncproto.Ref]verdict, func() error, error) {
	incs, seqs := refColumns(refs)
	rows, err := tx.Query(ctx, `
		SELECT c.body
		FROM unnest($1::uuid[], $2::bigint[]) AS v (inc, seq)
		JOIN checkin_entry c ON c.incarnation = v.inc AND c.seq = v.seq
		WHERE c.kind IN ('sale', 'return')
		ORDER BY c.incarnation, c.seq`, incs, seqs)
	if err != nil {
		return nil, nil, fmt.Errorf("read sales: %w", err)
	}
	var entries []syncproto.Entry
	var body []byte
	err = forEach(rows, []any{&body}, func() error {
		var e syncproto.Entry
		if err := wire.ParseEntry(body, &e); err != nil {
			return fmt.Errorf("stored entry: %w", err)
		}
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read sales: %w", err)
	}
	sold, finish, err := trade(ctx, tx, own.event, own.stream, device, entries)
	out := make(map[syncproto.Ref]verdict, len(sold))
	for ref, outcome := range sold {
		out[ref] = verdict{outcome: outcome}
	}
	return out, finish, err
}

// refColumns are references, a slice for each column.
func refColumns(refs []syncproto.Ref) (incs []*uuid.UUID, seqs []*int64) {
	for _, ref := range refs {
		inc, seq := columnsOf(ref)
		incs, seqs = append(incs, inc), append(seqs, seq)
	}
	return incs, seqs
}

// untrusted lists entries of a device that are not trusted, and the tickets on
// which they have an effect once they are.
func untrusted(ctx context.Context, tx pgx.Tx, device uuid.UUID) (refs []syncproto.Ref, tickets []syncproto.TicketNo, err error) {
	rows, err := tx.Query(ctx, `
		SELECT c.incarnation, c.seq, CASE WHEN c.kind <> 'deny' THEN c.ticket END
		FROM journal_stream j
		JOIN checkin_entry c ON c.incarnation = j.incarnation
		WHERE j.device_id = $1 AND c.untrusted
		ORDER BY c.incarnation, c.seq
		LIMIT $2`, device, trustRows)
	if err != nil {
		return nil, nil, fmt.Errorf("list entries that are not trusted: %w", err)
	}
	seen := map[syncproto.TicketNo]bool{}
	var inc uuid.UUID
	var seq int64
	var ticket *int32
	err = forEach(rows, []any{&inc, &seq, &ticket}, func() error {
		refs = append(refs, syncproto.Ref{Incarnation: inc, Seq: uint64(seq)})
		if ticket != nil && !seen[syncproto.TicketNo(*ticket)] {
			seen[syncproto.TicketNo(*ticket)] = true
			tickets = append(tickets, syncproto.TicketNo(*ticket))
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list entries that are not trusted: %w", err)
	}
	return refs, tickets, nil
}

func markTrusted(ctx context.Context, tx pgx.Tx, refs []syncproto.Ref) error {
	incs, seqs := refColumns(refs)
	_, err := tx.Exec(ctx, `
		UPDATE checkin_entry c
		SET untrusted = false
		FROM unnest($1::uuid[], $2::bigint[]) AS v (inc, seq)
		WHERE c.incarnation = v.inc AND c.seq = v.seq`, incs, seqs)
	if err != nil {
		return fmt.Errorf("trust entries: %w", err)
	}
	return nil
}
