package roster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// The kinds of references in the log, as the outbox triggers write them.
const (
	KindTicket  = 1 // entity_no is the ticket's number
	KindRules   = 2
	KindEntry   = 3 // entity is the incarnation, entity_no the seq
	KindDevice  = 4 // entity is the device
	KindTrust   = 5
	KindLease   = 16 // entity is the lease
	KindFinding = 6  // entity_no is the finding's number
	KindHolder  = 30 // entity_no is the ticket's number
	KindVault   = 31
)

// Config says what a Roster works on.
type Config struct {
	// Pool is central's database. Required.
	Pool *pgxpool.Pool
	// Rules reads the rules of an event as they are now. Required.
	Rules func(ctx context.Context, event syncproto.EventNo) (syncproto.Rules, error)
	// Trust reads central's keys as they are now. Required.
	Trust func(ctx context.Context) (syncproto.TrustBundle, error)
	// Vault has what holders are sealed with. Without one, gates are told of no
	// holder.
	Vault Vault
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
	// Rand gives the tags of sealed batches. Defaults to crypto/rand.
	Rand io.Reader
	// Coalesce is how long the sealer gathers touches of a stream before it
	// seals. Defaults to 10 ms.
	Coalesce time.Duration
	// SweepEvery is how often the outbox is searched for streams that nobody in
	// this process has touched. Defaults to 100 ms.
	SweepEvery time.Duration
	// PollEvery is how often the heads of streams with parked readers are read,
	// in case a notification was lost. Defaults to 1 s.
	PollEvery time.Duration
	// Keep is how long a log row stays. Defaults to 7 days.
	Keep time.Duration
	// Logger hears of failures in the background. Defaults to slog.Default().
	Logger *slog.Logger
}

// Vault keeps the key of each event's holders.
type Vault interface {
	// Key is the vault key of an event.
	Key(ctx context.Context, event syncproto.EventNo) ([]byte, error)
	// Record is what gates open their vaults with where central is away.
	Record(ctx context.Context, event syncproto.EventNo) (syncproto.VaultRecord, error)
}

// Roster serves the change logs of all events. It is safe for concurrent use.
type Roster struct {
	cfg       Config
	hub       *hub
	reader    reader
	sealer    *sealer
	snapshots *snapshots
	*compare
}

// New returns a Roster whose background work starts with Run.
func New(cfg Config) (*Roster, error) {
	if cfg.Pool == nil || cfg.Rules == nil || cfg.Trust == nil {
		return nil, errors.New("new roster: pool, rules and trust are required")
	}
	cfg.Coalesce = orDefault(cfg.Coalesce, 10*time.Millisecond)
	cfg.SweepEvery = orDefault(cfg.SweepEvery, 100*time.Millisecond)
	cfg.PollEvery = orDefault(cfg.PollEvery, time.Second)
	cfg.Keep = orDefault(cfg.Keep, 7*24*time.Hour)
	cfg.Logger = orDefault(cfg.Logger, slog.Default())
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	r := &Roster{cfg: cfg, hub: newHub(), reader: reader{cfg}}
	r.sealer = newSealer(cfg.Coalesce, cfg.Logger, func(ctx context.Context, stream uuid.UUID) error {
		_, head, err := seal(ctx, cfg.Pool, stream, cfg.Rand)
		if head > 0 {
			r.hub.wake(stream, head)
		}
		return err
	})
	r.snapshots = newSnapshots(cfg)
	r.compare = &compare{cfg: cfg, reader: r.reader, snapshots: r.snapshots, slots: make(chan struct{}, digestSlots)}
	return r, nil
}

// orDefault returns value, or fallback for the zero value.
func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// CreateStream begins the change log of an event, in the transaction that
// creates the event. What was told to the stream before is sealed first.
func CreateStream(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, stream uuid.UUID) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO sync_stream (stream_id, event_id)
		VALUES ($1, $2)`, stream, event)
	if err != nil {
		return fmt.Errorf("create stream: %w", err)
	}
	return nil
}

// DropStream removes the change log of an event, in the transaction that deletes the
// event. There is no gate of it that could miss the log.
func DropStream(ctx context.Context, tx pgx.Tx, stream uuid.UUID) error {
	// The stream first: it waits for a sealer at work, and none begins after it.
	for _, statement := range []string{
		`DELETE FROM sync_stream WHERE stream_id = $1`,
		`DELETE FROM sync_outbox WHERE stream_id = $1`,
		`DELETE FROM sync_log WHERE stream_id = $1`,
		`DELETE FROM roster_snapshot WHERE stream_id = $1`,
		`DELETE FROM roster_blob WHERE stream_id = $1`,
	} {
		if _, err := tx.Exec(ctx, statement, stream); err != nil {
			return fmt.Errorf("drop stream: %w", err)
		}
	}
	return nil
}

// NewEpoch declares that the database was restored from a backup: every cursor
// and snapshot of before is void, and gates bootstrap anew. `central restored`
// calls it, before central serves again. Gates stay in step without it as long as
// the log has not grown past them with other contents, which the tags reveal.
func NewEpoch(ctx context.Context, db pg.Beginner) (uuid.UUID, error) {
	var epoch uuid.UUID
	err := pg.InTx(ctx, db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM roster_snapshot`); err != nil {
			return fmt.Errorf("drop snapshots: %w", err)
		}
		err := tx.QueryRow(ctx, `
			UPDATE sync_store SET store_epoch = gen_random_uuid()
			RETURNING store_epoch`).Scan(&epoch)
		if err != nil {
			return fmt.Errorf("change store epoch: %w", err)
		}
		return nil
	})
	if err != nil {
		return uuid.Nil, fmt.Errorf("new epoch: %w", err)
	}
	return epoch, nil
}

// Head is the newest sealed number of a stream.
func (r *Roster) Head(ctx context.Context, stream uuid.UUID) (int64, error) {
	var head int64
	err := r.cfg.Pool.QueryRow(ctx, `
		SELECT head FROM sync_stream
		WHERE stream_id = $1`, stream).Scan(&head)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, unknownStream(stream)
	}
	if err != nil {
		return 0, fmt.Errorf("read head of stream: %w", err)
	}
	return head, nil
}

func unknownStream(stream uuid.UUID) error {
	return syncproto.Errorf(syncproto.CodeNotFound, "There is no stream %s at this central.", stream)
}

// forEach scans each of rows into row and calls fn, and closes rows. An error of
// fn ends it and is returned as it is. It stands in each package that needs it,
// because the linter that finds a forgotten rows.Err does not look into others.
func forEach(rows pgx.Rows, row []any, fn func() error) error {
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(row...); err != nil {
			return err
		}
		if err := fn(); err != nil {
			return err
		}
	}
	return rows.Err()
}
