package vault

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/syncproto"
	"gatehouse/syncproto/holder"
)

// Config is what the service needs.
type Config struct {
	// Pool is the database. Required.
	Pool *pgxpool.Pool
	// Stream names the change log of an event, to which boxes are bound. Required.
	Stream func(ctx context.Context, event syncproto.EventNo) (uuid.UUID, error)
	// Rand gives keys and salts. Defaults to crypto/rand.
	Rand io.Reader
}

// Service keeps the vaults. It is safe for concurrent use.
type Service struct{ cfg Config }

// New returns the service.
func New(cfg Config) (*Service, error) {
	if cfg.Pool == nil || cfg.Stream == nil {
		return nil, errors.New("new vault: a pool and streams are required")
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	return &Service{cfg: cfg}, nil
}

// row is a vault as it is stored.
type row struct {
	key  []byte
	wrap []byte // JSON, nil without a passphrase
	rev  int64
}

// Key is the vault key of an event.
func (s *Service) Key(ctx context.Context, event syncproto.EventNo) ([]byte, error) {
	r, err := s.row(ctx, event)
	return r.key, err
}

// Record is what gates open an event's vault with where central is away.
func (s *Service) Record(ctx context.Context, event syncproto.EventNo) (syncproto.VaultRecord, error) {
	r, err := s.row(ctx, event)
	if err != nil {
		return syncproto.VaultRecord{}, err
	}
	out := syncproto.VaultRecord{Rev: r.rev}
	if r.wrap != nil {
		out.Wrap = new(syncproto.VaultWrap)
		if err := json.Unmarshal(r.wrap, out.Wrap); err != nil {
			return out, fmt.Errorf("stored wrap: %w", err)
		}
	}
	return out, nil
}

// row reads the vault of an event, and makes it where there is none.
func (s *Service) row(ctx context.Context, event syncproto.EventNo) (row, error) {
	r, err := s.read(ctx, event)
	if !errors.Is(err, pgx.ErrNoRows) {
		return r, err
	}
	if err := s.make(ctx, event); err != nil {
		return row{}, err
	}
	return s.read(ctx, event)
}

func (s *Service) read(ctx context.Context, event syncproto.EventNo) (r row, err error) {
	err = s.cfg.Pool.QueryRow(ctx, `
		SELECT key, wrap, rev
		FROM vault
		WHERE event_id = $1::bigint`, int64(event)).Scan(&r.key, &r.wrap, &r.rev)
	if err != nil {
		return row{}, fmt.Errorf("read vault: %w", err)
	}
	return r, nil
}

// make gives an event its key, unless another process was first.
func (s *Service) make(ctx context.Context, event syncproto.EventNo) error {
	if _, err := s.cfg.Stream(ctx, event); err != nil {
		return err // one clear sentence for an event that is not there
	}
	key := make([]byte, holder.KeyBytes)
	if _, err := io.ReadFull(s.cfg.Rand, key); err != nil {
		return fmt.Errorf("make vault key: %w", err)
	}
	_, err := s.cfg.Pool.Exec(ctx, `
		INSERT INTO vault (event_id, key)
		VALUES ($1::bigint, $2)
		ON CONFLICT (event_id) DO NOTHING`, int64(event), key)
	if err != nil {
		return fmt.Errorf("store vault key: %w", err)
	}
	return nil
}

// SetPassphrase wraps the key of an event under a passphrase, which replaces the one
// before. The gates hear of it as of any change.
func (s *Service) SetPassphrase(ctx context.Context, event syncproto.EventNo, passphrase string) error {
	if err := checkPassphrase(passphrase); err != nil {
		return err
	}
	key, err := s.Key(ctx, event)
	if err != nil {
		return err
	}
	stream, err := s.cfg.Stream(ctx, event)
	if err != nil {
		return err
	}
	w, err := wrap(passphrase, stream, key, s.cfg.Rand)
	if err != nil {
		return err
	}
	body, err := json.Marshal(w)
	if err != nil {
		return fmt.Errorf("encode wrap: %w", err)
	}
	return s.setWrap(ctx, event, body)
}

// ClearPassphrase withdraws the passphrase of an event: gates that have heard of it
// open their vaults by central alone. What is on a stolen disk stays there.
func (s *Service) ClearPassphrase(ctx context.Context, event syncproto.EventNo) error {
	if _, err := s.row(ctx, event); err != nil {
		return err
	}
	return s.setWrap(ctx, event, nil)
}

func (s *Service) setWrap(ctx context.Context, event syncproto.EventNo, wrap []byte) error {
	_, err := s.cfg.Pool.Exec(ctx, `
		UPDATE vault
		SET wrap = $2
		WHERE event_id = $1::bigint`, int64(event), wrap)
	if err != nil {
		return fmt.Errorf("store passphrase: %w", err)
	}
	return nil
}

// SealTo is the vault key of an event as only the owner of a box key can read it.
func (s *Service) SealTo(ctx context.Context, event syncproto.EventNo, boxKey []byte) ([]byte, error) {
	key, err := s.Key(ctx, event)
	if err != nil {
		return nil, err
	}
	return syncproto.SealTo(boxKey, syncproto.PurposeVaultKey, key)
}
