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

// recent reads the newest snapshot, if it is worth giving out.
func (s *snapshots) recent(ctx context.Context, of source) (m syncproto.Manifest, ok bool, err error) {
	var at place
	var body []byte
	err = s.cfg.Pool.QueryRow(ctx, `
		SELECT e.store_epoch, s.head, s.min_seq, s.min_tag, l.tag, n.manifest
		FROM sync_stream s
		CROSS JOIN sync_store e
		LEFT JOIN LATERAL (
		  SELECT seq, manifest FROM roster_snapshot
		  WHERE stream_id = s.stream_id AND part = $2 ORDER BY seq DESC LIMIT 1) n ON true
		LEFT JOIN sync_log l ON l.stream_id = s.stream_id AND l.seq = n.seq
		WHERE s.stream_id = $1`, of.stream, of.part,
	).Scan(&at.epoch, &at.head, &at.minSeq, &at.minTag, &at.tag, &body)
	if errors.Is(err, pgx.ErrNoRows) {
		return m, false, unknownStream(of.stream)
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
func (s *snapshots) build(ctx context.Context, of source, docs documents) (syncproto.Manifest, error) {
	slots := s.slots[of.part]
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return syncproto.Manifest{}, fmt.Errorf("wait to build snapshot: %w", ctx.Err())
	}
	m, err := s.encode(ctx, of, docs)
	if err != nil {
		return syncproto.Manifest{}, fmt.Errorf("build snapshot: %w", err)
	}
	if err := s.keep(ctx, of.part, &m); err != nil {
		return syncproto.Manifest{}, fmt.Errorf("build snapshot: %w", err)
	}
	if err := s.trim(ctx, of.stream); err != nil {
		s.cfg.Logger.Warn("old snapshots were not removed", "stream", of.stream, "error", err)
	}
	return m, nil
}

// encode reads head first and the state after it. What slips in between is in the
// log behind the cursor as well, where it changes nothing.
func (s *snapshots) encode(ctx context.Context, of source, docs documents) (syncproto.Manifest, error) {
	at, err := locate(ctx, s.cfg.Pool, of.stream, nil)
	if err != nil {
		return syncproto.Manifest{}, err
	}
	tag := at.minTag
	if at.tag != nil {
		tag = *at.tag
	}
	cursor := syncproto.Cursor{Epoch: at.epoch, Seq: at.head, Tag: tag}
	m := syncproto.Manifest{Stream: of.stream, Cursor: cursor.String(), Seq: at.head}
	content, err := s.content(ctx, of, at.event)
	if err != nil {
		return syncproto.Manifest{}, err
	}
	var head []syncproto.Record
	for _, kind := range content.documents {
		rec, err := docs(ctx, at.event, kind)
		if err != nil {
			return syncproto.Manifest{}, err
		}
		head = append(head, rec)
	}
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pg.InTxWith(ctx, s.cfg.Pool, options, func(tx pgx.Tx) error {
		m.Chunks, m.Count = nil, 0
		return wire.EncodeChunks(records(ctx, tx, at.event, head, content.tables), func(c wire.EncodedChunk) error {
			m.Chunks = append(m.Chunks, c.Chunk)
			m.Count += c.Count
			return s.keepBlob(ctx, of.stream, c)
		})
	})
	return m, err
}

// table gives all records of one kind to emit.
type table func(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, emit func(*syncproto.Record) error) error

// content is what a part consists of, in its order.
type content struct {
	documents []int16
	tables    []table
}

func (s *snapshots) content(ctx context.Context, of source, event syncproto.EventNo) (content, error) {
	if of.part == partLanes {
		return content{[]int16{KindRules, KindTrust}, []table{allDevices, openLeases, s.allTickets, allEntries, openFindings}}, nil
	}
	cipher, err := cipherOf(ctx, s.cfg.Vault, event, of.stream)
	if err != nil {
		return content{}, err
	}
	return content{[]int16{KindVault}, []table{s.allHolders(cipher)}}, nil
}

var errStopped = errors.New("stopped")

// records yields all records of a part of an event: documents, then tables.
func records(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, head []syncproto.Record, tables []table) iter.Seq2[*syncproto.Record, error] {
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
		for _, all := range tables {
			err := all(ctx, tx, event, emit)
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

// ticketsThatCount leaves out tickets whose code has been worthless for a grace
// time. Until then withdrawn ones stay, so that a gate never takes one for genuine
// and merely unknown.
const ticketsThatCount = `
		WHERE event_id = $1
		  AND NOT (status IN ('revoked', 'cancelled') AND not_after IS NOT NULL AND not_after < $2)`

func (s *snapshots) allTickets(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, emit func(*syncproto.Record) error) error {
	rows, err := tx.Query(ctx, ticketSelect+ticketsThatCount+`
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

func (s *snapshots) keep(ctx context.Context, of part, m *syncproto.Manifest) error {
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	_, err = s.cfg.Pool.Exec(ctx, `
		INSERT INTO roster_snapshot (stream_id, part, seq, manifest, created_at)
		VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (stream_id, part, seq) DO UPDATE SET manifest = excluded.manifest, created_at = excluded.created_at`,
		m.Stream, of, m.Seq, body, s.cfg.Now())
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

// trim removes all but the newest snapshots of each part of a stream, and the
// chunks that only they needed.
func (s *snapshots) trim(ctx context.Context, stream uuid.UUID) error {
	return pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			DELETE FROM roster_snapshot old
			WHERE stream_id = $1 AND seq < (
			  SELECT min(seq) FROM (
			    SELECT seq FROM roster_snapshot WHERE stream_id = $1 AND part = old.part ORDER BY seq DESC LIMIT $2) newest)`,
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
