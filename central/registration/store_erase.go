package registration

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/central/ticket"
	"gatehouse/syncproto"
)

// What stands for a name and an address that were erased.
const (
	erasedName  = "(erased)"
	erasedEmail = "erased@invalid" // RFC 2606: nobody has it
)

// Erase removes from the orders of an account, its places on wait lists and the tickets
// of these orders what tells who people are: of companions as well, for it was the buyer
// who named them. The tickets stay as good as they were.
func (h *Holders) Erase(ctx context.Context, account uuid.UUID) error {
	s := h.s
	if account == uuid.Nil {
		return nil
	}
	streams := map[syncproto.EventNo]bool{}
	err := pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT FROM customer_order WHERE account_id = $1 ORDER BY id FOR NO KEY UPDATE`, account); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `
			UPDATE order_item i
			SET name = $2, email = $3, answers = '{}'
			FROM customer_order o
			WHERE o.id = i.order_id AND o.account_id = $1
			RETURNING i.event_id, coalesce(i.number, 0)`, account, erasedName, erasedEmail)
		if err != nil {
			return err
		}
		held := map[syncproto.EventNo][]syncproto.TicketNo{}
		var event syncproto.EventNo
		var no syncproto.TicketNo
		err = forEach(rows, []any{&event, &no}, func() error {
			if no != 0 {
				held[event] = append(held[event], no)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for event, numbers := range held {
			streams[event] = true
			if err := ticket.Erase(ctx, tx, event, numbers); err != nil {
				return err
			}
		}
		for _, sql := range []string{
			`UPDATE customer_order SET name = $2, email = $3 WHERE account_id = $1`,
			`UPDATE waiter SET name = $2, email = $3, state = CASE state WHEN 'waiting' THEN 'left' ELSE state END WHERE account_id = $1`,
		} {
			if _, err := tx.Exec(ctx, sql, account, erasedName, erasedEmail); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("erase orders: %w", err)
	}
	for event := range streams {
		if shop, err := s.cfg.Shop(ctx, event); err == nil {
			s.cfg.Touch(shop.Stream) // a gate that is not told now is told with the next sweep
		}
	}
	return nil
}
