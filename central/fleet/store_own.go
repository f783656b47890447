package fleet

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// ownGateName is what gates and staff read where central itself let somebody in.
const ownGateName = "Central"

// Own is central as a gate of its own: what it signs its journal of an event with.
type Own struct {
	Device uuid.UUID
	Key    ed25519.PrivateKey
}

// OwnGates are central's own gates, one of each event at which it checks in itself.
// All copies of central are one gate. It is safe for concurrent use.
type OwnGates struct{ cfg Config }

// NewOwnGates returns the own gates in a database.
func NewOwnGates(cfg Config) *OwnGates { return &OwnGates{cfg.withDefaults()} }

// Of is central's own gate of an event, made when it is first asked for.
func (s *OwnGates) Of(ctx context.Context, event syncproto.EventNo) (Own, error) {
	own, err := s.read(ctx, event)
	if !errors.Is(err, pgx.ErrNoRows) {
		return own, err
	}
	if err := s.make(ctx, event); err != nil {
		return Own{}, fmt.Errorf("make central's own gate of event %d: %w", event, err)
	}
	return s.read(ctx, event)
}

func (s *OwnGates) read(ctx context.Context, event syncproto.EventNo) (own Own, err error) {
	var key []byte
	err = s.cfg.Pool.QueryRow(ctx, `SELECT device_id, private_key FROM own_gate WHERE event_id = $1::bigint`, int64(event)).Scan(&own.Device, &key)
	own.Key = key
	if err != nil {
		return Own{}, fmt.Errorf("read central's own gate of event %d: %w", event, err)
	}
	return own, nil
}

// make makes the gate, unless another copy of central is quicker.
func (s *OwnGates) make(ctx context.Context, event syncproto.EventNo) error {
	public, private, err := ed25519.GenerateKey(s.cfg.Rand)
	if err != nil {
		return err
	}
	id, err := uuid.NewRandomFromReader(s.cfg.Rand)
	if err != nil {
		return err
	}
	return pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		made, err := tx.Exec(ctx, `
			INSERT INTO gate (device_id, event_id, name, public_key, box_key, enrolled_at, central)
			VALUES ($1, $2, $3, $4, $5, $6, true)
			ON CONFLICT (event_id) WHERE central DO NOTHING`,
			id, int64(event), ownGateName, []byte(public), make([]byte, 32), s.cfg.Now())
		if err != nil || made.RowsAffected() == 0 {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO own_gate (event_id, device_id, private_key) VALUES ($1, $2, $3)`, int64(event), id, []byte(private))
		return err
	})
}
