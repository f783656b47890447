package roster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/central/pg"
)

const (
	// sealBatchMax is how many outbox rows one sealing transaction moves. A full
	// batch is followed by another at once.
	sealBatchMax = 5000
	// sealNowTries and sealNowPause are for how long SealNow waits for a sealer
	// that is at work elsewhere, before it leaves the rows to the sweepers.
	sealNowTries = 200
	sealNowPause = 5 * time.Millisecond
	// notifyChannel is where sealers tell of new heads, as "stream:head".
	notifyChannel = "sync"
	// lockNotAvailable is the SQLSTATE of a NOWAIT that would have waited.
	lockNotAvailable = "55P03"
)

// ErrBusy means that another sealer holds the stream. Its snapshot may be older
// than the caller's commit, so the caller has to try again, not give up.
var ErrBusy = errors.New("stream is being sealed elsewhere")

// errIsolation means that a sealing transaction would read a snapshot older than
// its lock.
var errIsolation = errors.New("sealing needs READ COMMITTED")

// Seal moves what is visible in the outbox of a stream into its log and reports
// how many rows that were. Any process may call it at any time. It returns
// ErrBusy, without waiting, while another sealer holds the stream.
func Seal(ctx context.Context, pool *pgxpool.Pool, stream uuid.UUID) (int, error) {
	n, _, err := seal(ctx, pool, stream, rand.Reader)
	return n, err
}

// SealNow is Seal for a process that ends after its commit, such as a command:
// it waits for a sealer at work elsewhere, about a second at most. The rows it
// then leaves are found by the sweeper of any running central.
func SealNow(ctx context.Context, pool *pgxpool.Pool, stream uuid.UUID) error {
	for range sealNowTries {
		if _, err := Seal(ctx, pool, stream); !errors.Is(err, ErrBusy) {
			return err
		}
		if err := pause(ctx, sealNowPause); err != nil {
			return err
		}
	}
	return nil
}

// seal also returns the head it has reached; 0 where it sealed nothing.
func seal(ctx context.Context, pool *pgxpool.Pool, stream uuid.UUID, random io.Reader) (total int, head int64, err error) {
	for {
		n, at, err := sealBatch(ctx, pool, stream, random)
		if n > 0 && err == nil {
			total, head = total+n, at
		}
		if err != nil || n < sealBatchMax {
			return total, head, err
		}
	}
}

// sealBatch is one sealing transaction.
func sealBatch(ctx context.Context, db pg.Beginner, stream uuid.UUID, random io.Reader) (n int, head int64, err error) {
	tag, err := newTag(random)
	if err != nil {
		return 0, 0, err
	}
	err = pg.InTxWith(ctx, db, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		var err error
		if head, err = lockHead(ctx, tx, stream); err != nil {
			return err
		}
		if n, err = moveBatch(ctx, tx, stream, head, tag); err != nil || n == 0 {
			return err
		}
		head += int64(n)
		return advanceHead(ctx, tx, stream, head)
	})
	if pg.Code(err) == lockNotAvailable {
		return 0, 0, ErrBusy
	}
	if err != nil {
		return 0, 0, fmt.Errorf("seal stream: %w", err)
	}
	return n, head, nil
}

// newTag draws the random number that tells this batch from one that another
// history has at the same place. Zero is kept for the origin.
func newTag(random io.Reader) (int64, error) {
	var b [8]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return 0, fmt.Errorf("draw batch tag: %w", err)
	}
	return int64(binary.BigEndian.Uint64(b[:]) | 1), nil
}

// lockHead makes this transaction the only sealer of the stream. It has to be a
// statement of its own: under READ COMMITTED the next statement then gets a
// snapshot taken after the previous sealer became visible. NO KEY, so that
// foreign keys that point at the row never wait for a sealer.
func lockHead(ctx context.Context, tx pgx.Tx, stream uuid.UUID) (head int64, err error) {
	var isolation string
	err = tx.QueryRow(ctx, `
		SELECT head, current_setting('transaction_isolation')
		FROM sync_stream
		WHERE stream_id = $1
		FOR NO KEY UPDATE NOWAIT`, stream).Scan(&head, &isolation)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, unknownStream(stream)
	}
	if err != nil {
		return 0, fmt.Errorf("lock head: %w", err)
	}
	if isolation != "read committed" {
		return 0, fmt.Errorf("%w, not %s", errIsolation, isolation)
	}
	return head, nil
}

// moveBatch numbers visible outbox rows from head+1. The array keeps the plan an
// index scan, whatever the statistics of the outbox say.
func moveBatch(ctx context.Context, tx pgx.Tx, stream uuid.UUID, head, tag int64) (int, error) {
	moved, err := tx.Exec(ctx, `
		WITH batch AS (
		  DELETE FROM sync_outbox
		  WHERE id = ANY (ARRAY(
		    SELECT id FROM sync_outbox
		    WHERE stream_id = $1
		    ORDER BY id
		    LIMIT $2))
		  RETURNING id, kind, entity, entity_no
		)
		INSERT INTO sync_log (stream_id, seq, tag, kind, entity, entity_no, sealed_at)
		SELECT $1, $3 + row_number() OVER (ORDER BY id), $4, kind, entity, entity_no, clock_timestamp()
		FROM batch`, stream, sealBatchMax, head, tag)
	if err != nil {
		return 0, fmt.Errorf("move outbox rows: %w", err)
	}
	return int(moved.RowsAffected()), nil
}

// advanceHead publishes the batch. Only sealers notify, once per batch: a
// notification makes its transaction wait for all others that notify.
func advanceHead(ctx context.Context, tx pgx.Tx, stream uuid.UUID, head int64) error {
	_, err := tx.Exec(ctx, `
		WITH moved AS (
		  UPDATE sync_stream
		  SET head = $2, sealed_at = clock_timestamp()
		  WHERE stream_id = $1
		  RETURNING stream_id
		)
		SELECT pg_notify($3, $4) FROM moved`,
		stream, head, notifyChannel, stream.String()+":"+strconv.FormatInt(head, 10))
	if err != nil {
		return fmt.Errorf("advance head: %w", err)
	}
	return nil
}

// pendingStreams are those with rows in the outbox: one index probe a stream.
func pendingStreams(ctx context.Context, pool *pgxpool.Pool) ([]uuid.UUID, error) {
	rows, err := pool.Query(ctx, `
		SELECT s.stream_id
		FROM sync_stream s
		WHERE EXISTS (SELECT FROM sync_outbox o WHERE o.stream_id = s.stream_id)`)
	if err != nil {
		return nil, fmt.Errorf("find pending streams: %w", err)
	}
	streams, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("find pending streams: %w", err)
	}
	return streams, nil
}

// heads reads the newest sealed number of each of some streams.
func heads(ctx context.Context, pool *pgxpool.Pool, streams []uuid.UUID) (map[uuid.UUID]int64, error) {
	out := make(map[uuid.UUID]int64, len(streams))
	rows, err := pool.Query(ctx, `
		SELECT stream_id, head
		FROM sync_stream
		WHERE stream_id = ANY ($1)`, streams)
	if err != nil {
		return nil, fmt.Errorf("read heads: %w", err)
	}
	var stream uuid.UUID
	var head int64
	err = forEach(rows, []any{&stream, &head}, func() error {
		out[stream] = head
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read heads: %w", err)
	}
	return out, nil
}
