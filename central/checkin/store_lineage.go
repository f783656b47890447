package checkin

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/syncproto"
)

// open makes this transaction the only one that writes central's journal of the
// event, and goes to its end. A new incarnation begins with the first entry, and
// where the history of the database is another one: numbers of the old incarnation
// may have been given out in what was lost.
func (c *counter) open(ctx context.Context) error {
	now, err := lineage(ctx, c.tx)
	if err != nil {
		return err
	}
	fresh, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("incarnation: %w", err)
	}
	_, err = c.tx.Exec(ctx, `
		INSERT INTO own_journal (event_id, device_id, incarnation, lineage)
		VALUES ($1, $2, $3, $4)
		ON CONFLICT (event_id) DO NOTHING`, c.event, c.own.Device, fresh, now)
	if err != nil {
		return fmt.Errorf("begin central's journal: %w", err)
	}
	var of string
	err = c.tx.QueryRow(ctx, `
		SELECT incarnation, lineage
		FROM own_journal
		WHERE event_id = $1
		FOR UPDATE`, c.event).Scan(&c.last.Incarnation, &of)
	if err != nil {
		return fmt.Errorf("lock central's journal: %w", err)
	}
	if err := c.end(ctx); err != nil {
		return err
	}
	if c.last.Seq > 0 && of == now {
		return nil
	}
	return c.begin(ctx, fresh, of == now, now)
}

// lineage names the history of the database: the epoch, which an operator changes
// after a restore, and the timeline, which Postgres changes with each promotion.
func lineage(ctx context.Context, tx pgx.Tx) (name string, err error) {
	err = tx.QueryRow(ctx, `
		SELECT store_epoch::text || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
		FROM sync_store`).Scan(&name)
	if err != nil {
		return "", fmt.Errorf("read lineage of the database: %w", err)
	}
	return name, nil
}

// end reads how far the journal goes.
func (c *counter) end(ctx context.Context) error {
	var seq, t int64
	var hash []byte
	err := c.tx.QueryRow(ctx, `
		SELECT j.acked_seq, j.acked_hash, e.t
		FROM journal_stream j
		JOIN checkin_entry e ON e.incarnation = j.incarnation AND e.seq = j.acked_seq
		WHERE j.incarnation = $1`, c.last.Incarnation).Scan(&seq, &hash, &t)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read central's journal: %w", err)
	}
	c.last.Seq, c.t = uint64(seq), syncproto.HLC(t)
	copy(c.last.Hash[:], hash)
	return nil
}

// begin starts an incarnation, which names the end of the one before.
func (c *counter) begin(ctx context.Context, fresh uuid.UUID, first bool, lineage string) error {
	var before syncproto.Position
	if !first {
		before = c.last
		_, err := c.tx.Exec(ctx, `UPDATE own_journal SET incarnation = $2, lineage = $3 WHERE event_id = $1`, c.event, fresh, lineage)
		if err != nil {
			return fmt.Errorf("begin another incarnation of central's journal: %w", err)
		}
		c.last = syncproto.Position{Ref: syncproto.Ref{Incarnation: fresh}}
	}
	if before.Seq == 0 {
		before = syncproto.Position{}
	}
	genesis := c.append(syncproto.Entry{Kind: syncproto.KindGenesis, Event: c.event, Of: before.Ref, ParentHash: before.Hash})
	_, err := lockJournal(ctx, c.tx, c.event, syncproto.PushRequest{
		Device: c.own.Device, Incarnation: genesis.Incarnation, First: 1, Entries: []syncproto.Entry{genesis},
	})
	return err
}
