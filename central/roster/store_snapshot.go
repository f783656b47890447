package roster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

const (
	// blobKeep is how long a chunk that no kept snapshot needs stays: a gate may
	// be fetching it, or a build may just have stored it.
	blobKeep = time.Hour
)

// documents reads the records of an event that are not in tables of their own.
type documents func(ctx context.Context, event syncproto.EventNo, kind int16) (syncproto.Record, error)

// recent reads the newest snapshot of a stream, if it is worth giving out.
func (s *snapshots) recent(ctx context.Context, stream uuid.UUID) (m syncproto.Manifest, ok bool, err error) {
	var at place
	var body []byte
	err = s.cfg.Pool.QueryRow(ctx, `
		SELECT e.store_epoch, s.head, s.min_seq, s.min_tag, l.tag, n.manifest
		FROM sync_stream s
		CROSS JOIN sync_store e
		LEFT JOIN LATERAL (
		  SELECT seq, manifest FROM roster_snapshot
		  WHERE stream_id = s.stream_id ORDER BY seq DESC LIMIT 1) n ON true
		LEFT JOIN sync_log l ON l.stream_id = s.stream_id AND l.seq = n.seq
		WHERE s.stream_id = $1`, stream,
	).Scan(&at.epoch, &at.head, &at.minSeq, &at.minTag, &at.tag, &body)
	if errors.Is(err, pgx.ErrNoRows) {
		return m, false, unknownStream(stream)
	}
	if err != nil {
		return m, false, fmt.Errorf("read snapshot: %w", err)
	}
	if body == nil {
		return m, false, nil
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return m, false, fmt.Errorf("stored manifest: %w", err)
	}
	return m, fresh(&m, at), nil
}

// build makes a snapshot, stores it and removes those that are too many.
func (s *snapshots) build(ctx context.Context, stream uuid.UUID, docs documents) (syncproto.Manifest, error) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return syncproto.Manifest{}, fmt.Errorf("wait to build snapshot: %w", ctx.Err())
	}
	m, err := s.encode(ctx, stream, docs)
	if err != nil {
		return syncproto.Manifest{}, fmt.Errorf("build snapshot: %w", err)
	}
	if err := s.keep(ctx, &m); err != nil {
		return syncproto.Manifest{}, fmt.Errorf("build snapshot: %w", err)
	}
	if err := s.trim(ctx, stream); err != nil {
		s.cfg.Logger.Warn("old snapshots were not removed", "stream", stream, "error", err)
	}
	return m, nil
}

// encode reads head first and the state after it. What slips in between is in the
// log behind the cursor as well, where it changes nothing.
func (s *snapshots) encode(ctx context.Context, stream uuid.UUID, docs documents) (syncproto.Manifest, error) {
	at, err := locate(ctx, s.cfg.Pool, stream, nil)
	if err != nil {
		return syncproto.Manifest{}, err
	}
	tag := at.minTag
	if at.tag != nil {
		tag = *at.tag
	}
	cursor := syncproto.Cursor{Epoch: at.epoch, Seq: at.head, Tag: tag}
	m := syncproto.Manifest{Stream: stream, Cursor: cursor.String(), Seq: at.head}
	var head []syncproto.Record
	for _, kind := range []int16{KindRules, KindTrust} {
		rec, err := docs(ctx, at.event, kind)
		if err != nil {
			return syncproto.Manifest{}, err
		}
		head = append(head, rec)
	}
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pg.InTxWith(ctx, s.cfg.Pool, options, func(tx pgx.Tx) error {
		m.Chunks, m.Count = nil, 0
		return wire.EncodeChunks(s.records(ctx, tx, at.event, head), func(c wire.EncodedChunk) error {
			m.Chunks = append(m.Chunks, c.Chunk)
			m.Count += c.Count
			return s.keepBlob(ctx, stream, c)
		})
	})
	return m, err
}

var errStopped = errors.New("stopped")

// records yields all records of an event: documents, gates, leases, tickets, entries,
// and findings that are not closed.
// Withdrawn tickets stay until their code has been worthless for a grace time, so
// that a gate never takes one for genuine and merely unknown.
func (s *snapshots) records(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, head []syncproto.Record) iter.Seq2[*syncproto.Record, error] {
	return func(yield func(*syncproto.Record, error) bool) {
		emit := func(rec *syncproto.Record) error {
			if !yield(rec, nil) {
				return errStopped
			}
			return nil
		}
		for i := range head {
			if emit(&head[i]) != nil {
				return
			}
		}
		for _, part := range []func(context.Context, pgx.Tx, syncproto.EventNo, func(*syncproto.Record) error) error{
			allDevices, openLeases, s.allTickets, allEntries, openFindings,
		} {
			err := part(ctx, tx, event, emit)
			if errors.Is(err, errStopped) {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

func (s *snapshots) allTickets(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, emit func(*syncproto.Record) error) error {
	rows, err := tx.Query(ctx, ticketSelect+`
		WHERE event_id = $1
		  AND NOT (status IN ('revoked', 'cancelled') AND not_after IS NOT NULL AND not_after < $2)
		ORDER BY number`, event, s.cfg.Now().Add(-syncproto.TicketGrace))
	if err != nil {
		return fmt.Errorf("read tickets: %w", err)
	}
	rec := syncproto.Record{Kind: syncproto.RecordTicket}
	return eachTicket(rows, func(t *syncproto.Ticket) error {
		rec.Ticket = t
		return emit(&rec)
	})
}

func allDevices(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, emit func(*syncproto.Record) error) error {
	rows, err := tx.Query(ctx, deviceSelect+`
		WHERE event_id = $1
		ORDER BY device_id`, event)
	if err != nil {
		return fmt.Errorf("read gates: %w", err)
	}
	return eachDevice(rows, func(d *syncproto.DeviceRecord) error {
		return emit(&syncproto.Record{Kind: syncproto.RecordDevice, Device: d})
	})
}

func allEntries(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, emit func(*syncproto.Record) error) error {
	rows, err := tx.Query(ctx, entrySelect+`
		WHERE c.event_id = $1
		ORDER BY c.incarnation, c.seq`, event)
	if err != nil {
		return fmt.Errorf("read entries: %w", err)
	}
	return eachEntry(rows, func(e *syncproto.EntryRecord) error {
		return emit(&syncproto.Record{Kind: syncproto.RecordEntry, Entry: e})
	})
}

// keepBlob stores a chunk. One that is there already becomes young again, so that
// it is not removed as left over before its manifest is stored.
func (s *snapshots) keepBlob(ctx context.Context, stream uuid.UUID, c wire.EncodedChunk) error {
	_, err := s.cfg.Pool.Exec(ctx, `
		INSERT INTO roster_blob (stream_id, hash, body, created_at)
		VALUES ($1, $2, $3, $4)
		ON CONFLICT (stream_id, hash) DO UPDATE SET created_at = excluded.created_at`,
		stream, c.Hash[:], c.Body, s.cfg.Now())
	return err
}

func (s *snapshots) keep(ctx context.Context, m *syncproto.Manifest) error {
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	_, err = s.cfg.Pool.Exec(ctx, `
		INSERT INTO roster_snapshot (stream_id, seq, manifest, created_at)
		VALUES ($1, $2, $3, $4)
		ON CONFLICT (stream_id, seq) DO UPDATE SET manifest = excluded.manifest, created_at = excluded.created_at`,
		m.Stream, m.Seq, body, s.cfg.Now())
	if err != nil {
		return fmt.Errorf("store manifest: %w", err)
	}
	return nil
}

// blob reads a chunk.
func (s *snapshots) blob(ctx context.Context, stream uuid.UUID, hash syncproto.Hash) ([]byte, error) {
	var body []byte
	err := s.cfg.Pool.QueryRow(ctx, `
		SELECT body FROM roster_blob
		WHERE stream_id = $1 AND hash = $2`, stream, hash[:]).Scan(&body)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, syncproto.Errorf(syncproto.CodeNotFound, "There is no such chunk. Ask for a new manifest.")
	}
	if err != nil {
		return nil, fmt.Errorf("read chunk: %w", err)
	}
	return body, nil
}

// trim removes all but the newest snapshots of a stream, and the chunks that only
// they needed.
func (s *snapshots) trim(ctx context.Context, stream uuid.UUID) error {
	return pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			DELETE FROM roster_snapshot
			WHERE stream_id = $1 AND seq < (
			  SELECT min(seq) FROM (
			    SELECT seq FROM roster_snapshot WHERE stream_id = $1 ORDER BY seq DESC LIMIT $2) newest)`,
			stream, snapshotsKept)
		if err != nil {
			return fmt.Errorf("remove snapshots: %w", err)
		}
		needed, err := neededBlobs(ctx, tx, stream)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			DELETE FROM roster_blob
			WHERE stream_id = $1 AND created_at < $2 AND hash <> ALL ($3)`,
			stream, s.cfg.Now().Add(-blobKeep), needed)
		if err != nil {
			return fmt.Errorf("remove chunks: %w", err)
		}
		return nil
	})
}

// neededBlobs are the chunks of all snapshots that a stream has.
func neededBlobs(ctx context.Context, tx pgx.Tx, stream uuid.UUID) ([][]byte, error) {
	rows, err := tx.Query(ctx, `
		SELECT manifest FROM roster_snapshot
		WHERE stream_id = $1`, stream)
	if err != nil {
		return nil, fmt.Errorf("list chunks: %w", err)
	}
	needed := [][]byte{}
	var body []byte
	err = forEach(rows, []any{&body}, func() error {
		var m syncproto.Manifest
		if err := json.Unmarshal(body, &m); err != nil {
			return err
		}
		for _, c := range m.Chunks {
			needed = append(needed, append([]byte(nil), c.Hash[:]...))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list chunks: %w", err)
	}
	return needed, nil
}
