package ticket

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/syncproto"
)

// HeldMax bounds the tickets that [Service.Held] reads at a time.
const HeldMax = 500

// Held is a ticket as its holder has it.
type Held struct {
	Place
	ID        uuid.UUID
	Reference string
	Type      syncproto.TypeNo
	Status    syncproto.Status
	Issue     int    // of the code
	Code      string // empty until the gate that sold the ticket has told it
	Name      string
	Email     string
}

// Held returns tickets of an event with their present codes, by number. One that is not
// there is left out.
func (s *Service) Held(ctx context.Context, event syncproto.EventNo, numbers []syncproto.TicketNo) ([]Held, error) {
	if len(numbers) > HeldMax {
		return nil, fmt.Errorf("read tickets: %d at a time are too many, %d go", len(numbers), HeldMax)
	}
	signer, err := s.signer(ctx, event)
	if err != nil {
		return nil, err
	}
	all := make([]int64, len(numbers))
	for i, no := range numbers {
		all[i] = int64(no)
	}
	rows, err := s.cfg.Pool.Query(ctx, `
		SELECT `+issuedColumns+`, holder_name, holder_email
		FROM ticket
		WHERE event_id = $1::bigint AND number = ANY ($2::bigint[])
		ORDER BY number`, int64(event), all)
	if err != nil {
		return nil, fmt.Errorf("read tickets: %w", err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Held, error) {
		var h Held
		t, err := scanIssued(withHolder{row, &h})
		if err != nil {
			return h, err
		}
		h.Place = Place{Event: t.fields.Event, Number: t.fields.Ticket}
		h.ID, h.Reference, h.Type, h.Status, h.Issue = t.id, t.reference, t.typeNo, t.status, int(t.fields.Issue)
		h.Code, err = signer.codeOf(t)
		return h, err
	})
	if err != nil {
		return nil, fmt.Errorf("read tickets: %w", err)
	}
	return out, nil
}

// withHolder is a row that ends with the holder.
type withHolder struct {
	pgx.CollectableRow
	held *Held
}

// Scan implements pgx.CollectableRow.
func (r withHolder) Scan(dest ...any) error {
	return r.CollectableRow.Scan(append(dest, &r.held.Name, &r.held.Email)...)
}
