package replica

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"gatehouse/syncproto"
)

// HoldersMax is how many holders one call of Holders reads: it keeps pages of
// changes waiting for some milliseconds only.
const HoldersMax = 4096

// Holders reads the holders of the tickets after a number, at most HoldersMax, by
// number, those with an empty box included. Fewer than that are the last. Boxes are
// as they came; whether one is whole shows when it is opened.
func (r *Replica) Holders(ctx context.Context, after syncproto.TicketNo) ([]syncproto.HolderRecord, error) {
	conn, err := r.db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("read holders: %w", err)
	}
	var out []syncproto.HolderRecord
	err = conn.Raw(func(c any) error {
		query := fmt.Sprintf(`SELECT number, rev, box FROM holder WHERE number > %d ORDER BY number LIMIT %d`, after, HoldersMax)
		return eachRow(ctx, c.(driver.Conn), query, 3, func(row []driver.Value) error {
			no, _ := row[0].(int64)
			rev, _ := row[1].(int64)
			box, _ := row[2].([]byte)
			out = append(out, syncproto.HolderRecord{No: syncproto.TicketNo(no), Rev: rev, Box: box})
			return nil
		})
	})
	if err = errors.Join(err, conn.Close()); err != nil {
		return nil, fmt.Errorf("read holders: %w", damage(err))
	}
	return out, nil
}

// Holder reads the holder of one ticket; ok is false where there is none.
func (r *Replica) Holder(ctx context.Context, no syncproto.TicketNo) (h syncproto.HolderRecord, ok bool, err error) {
	h.No = no
	err = r.db.QueryRowContext(ctx, `
		SELECT rev, box
		FROM holder
		WHERE number = ?`, int64(no)).Scan(&h.Rev, &h.Box)
	if errors.Is(err, sql.ErrNoRows) {
		return h, false, nil
	}
	if err != nil {
		return h, false, fmt.Errorf("read holder: %w", damage(err))
	}
	return h, len(h.Box) > 0, nil
}

// Vault is the vault record that the replica has; ok is false where it has none.
func (r *Replica) Vault(ctx context.Context) (rec syncproto.Record, ok bool, err error) {
	var rev, sum int64
	var body []byte
	kind := string(syncproto.RecordVault)
	err = r.db.QueryRowContext(ctx, `
		SELECT rev, record, sum
		FROM document
		WHERE kind = ? AND key = ''`, kind).Scan(&rev, &body, &sum)
	if errors.Is(err, sql.ErrNoRows) {
		return rec, false, nil
	}
	if err == nil && sum != documentSum(kind, "", rev, body) {
		err = fmt.Errorf("%w: %.40q record does not match its checksum", ErrCorrupt, kind)
	}
	if err == nil {
		err = sinkJSON(body, func(read *syncproto.Record) error { rec = *read; return nil })
	}
	if err != nil {
		return syncproto.Record{}, false, fmt.Errorf("read vault record: %w", damage(err))
	}
	return rec, rec.Vault != nil, nil
}

// HoldersWhole reports whether all holders have been stored once. What changed since
// came with the pages.
func (r *Replica) HoldersWhole(ctx context.Context) (bool, error) {
	var n int
	if err := r.db.QueryRowContext(ctx, `SELECT count(*) FROM holders_whole`).Scan(&n); err != nil {
		return false, fmt.Errorf("read state of holders: %w", damage(err))
	}
	return n > 0, nil
}

// AnyHolder reports whether there is a box to open.
func (r *Replica) AnyHolder(ctx context.Context) (bool, error) {
	var any bool
	if err := r.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM holder WHERE length(box) > 0)`).Scan(&any); err != nil {
		return false, fmt.Errorf("look for holders: %w", damage(err))
	}
	return any, nil
}

// AddHolders stores records of a snapshot of holders: of kinds holder and vault, and
// no other. Of each subject the higher rev is kept, so that what came with a page
// meanwhile stands.
func (r *Replica) AddHolders(ctx context.Context, records []syncproto.Record) error {
	return r.inTx(ctx, "store holders", func(tx *sql.Tx) error {
		w, err := newRecordWriter(context.WithoutCancel(ctx), tx, 0)
		if err != nil {
			return err
		}
		for i := range records {
			if k := records[i].Kind; k != syncproto.RecordHolder && k != syncproto.RecordVault {
				return fmt.Errorf("%w: %.40q among holders", ErrRecord, k)
			}
			if err := w.add(&records[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// SetHoldersWhole notes that all holders are stored, as of a place in the stream.
func (r *Replica) SetHoldersWhole(ctx context.Context, seq int64) error {
	return r.inTx(ctx, "store state of holders", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO holders_whole (id, seq)
			VALUES (1, ?)
			ON CONFLICT (id) DO UPDATE
			SET seq = excluded.seq`, seq)
		return err
	})
}

func (r *Replica) inTx(ctx context.Context, what string, fn func(*sql.Tx) error) error {
	tx, err := r.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := fn(tx); err != nil {
		return fmt.Errorf("%s: %w", what, damage(errors.Join(err, rolledBack(tx.Rollback()))))
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("%s: %w", what, damage(err))
	}
	return nil
}

func (w *recordWriter) addHolder(h *syncproto.HolderRecord) error {
	if h.No == 0 || h.Rev < 0 {
		return fmt.Errorf("%w: holder of ticket %d, rev %d", ErrRecord, h.No, h.Rev)
	}
	box := h.Box
	if box == nil {
		box = []byte{} // nil would be NULL
	}
	if _, err := w.holder.ExecContext(w.ctx, int64(h.No), h.Rev, box); err != nil {
		return fmt.Errorf("write holder: %w", err)
	}
	return nil
}
