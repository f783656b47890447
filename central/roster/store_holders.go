package roster

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/syncproto"
	"gatehouse/syncproto/holder"
)

// cipherOf is what seals the holders of an event.
func cipherOf(ctx context.Context, vault Vault, event syncproto.EventNo, stream uuid.UUID) (*holder.Cipher, error) {
	key, err := vault.Key(ctx, event)
	if err != nil {
		return nil, fmt.Errorf("read vault key for roster: %w", err)
	}
	return holder.New(key, stream)
}

const holderSelect = `
		SELECT number, holder_rev, reference, holder_name, holder_email, notes
		FROM ticket`

// eachHolder calls fn with each row of a holderSelect, sealed. A ticket that names
// nobody has an empty box. The record is only good until fn returns, its box longer.
func eachHolder(rows pgx.Rows, cipher *holder.Cipher, fn func(*syncproto.HolderRecord) error) error {
	var number int32
	var rec syncproto.HolderRecord
	var h holder.Holder
	return forEach(rows, []any{&number, &rec.Rev, &h.Reference, &h.Name, &h.Email, &h.Notes}, func() error {
		rec.No, rec.Box = syncproto.TicketNo(number), nil
		if !h.Anonymous() {
			var err error
			if rec.Box, err = cipher.Seal(rec.No, rec.Rev, &h); err != nil {
				return fmt.Errorf("seal holder of ticket %d: %w", number, err)
			}
		}
		return fn(&rec)
	})
}

// holders reads and seals the holders of an event's tickets by number.
func (r reader) holders(ctx context.Context, event syncproto.EventNo, subjects []subject, out map[subject]syncproto.Record) error {
	if r.cfg.Vault == nil {
		return nil
	}
	numbers := make([]int64, len(subjects))
	byNumber := make(map[syncproto.TicketNo]subject, len(subjects))
	for i, s := range subjects {
		numbers[i] = s.no
		byNumber[syncproto.TicketNo(s.no)] = s
	}
	cipher, err := cipherOf(ctx, r.cfg.Vault, event, subjects[0].entity)
	if err != nil {
		return err
	}
	rows, err := r.cfg.Pool.Query(ctx, holderSelect+`
		WHERE event_id = $1 AND number = ANY ($2)`, event, numbers)
	if err != nil {
		return fmt.Errorf("read holders for roster: %w", err)
	}
	err = eachHolder(rows, cipher, func(h *syncproto.HolderRecord) error {
		keep := *h
		out[byNumber[h.No]] = syncproto.Record{Kind: syncproto.RecordHolder, Holder: &keep}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read holders for roster: %w", err)
	}
	return nil
}

// allHolders is the table of holders, without the tickets that name nobody.
func (s *snapshots) allHolders(cipher *holder.Cipher) table {
	return func(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, emit func(*syncproto.Record) error) error {
		rows, err := tx.Query(ctx, holderSelect+ticketsThatCount+`
		  AND (holder_name <> '' OR holder_email <> '' OR notes <> '')
		ORDER BY number`, event, s.cfg.Now().Add(-syncproto.TicketGrace))
		if err != nil {
			return fmt.Errorf("read holders: %w", err)
		}
		rec := syncproto.Record{Kind: syncproto.RecordHolder}
		return eachHolder(rows, cipher, func(h *syncproto.HolderRecord) error {
			rec.Holder = h
			return emit(&rec)
		})
	}
}
