package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// Which says which gate of an event is meant: by its name, by its device, or by
// both, which then must be one gate's.
type Which struct {
	Name   string
	Device uuid.UUID
}

// String is what an operator reads.
func (w Which) String() string {
	if w.Device == uuid.Nil {
		return fmt.Sprintf("gate %q", strings.TrimSpace(w.Name))
	}
	return fmt.Sprintf("gate %s", w.Device)
}

// AmbiguousError means that several gates of an event have the name that one was
// asked for by.
type AmbiguousError struct {
	Name    string
	Devices []uuid.UUID // in the order of their enrolment
}

// Error implements error.
func (e *AmbiguousError) Error() string {
	ids := make([]string, len(e.Devices))
	for i, id := range e.Devices {
		ids[i] = id.String()
	}
	return fmt.Sprintf("%d gates have the name %q, enrolled in this order: %s; say which one with --device", len(ids), e.Name, strings.Join(ids, ", "))
}

// lockGate locks the one gate that is meant. Of several that have the name it is
// the one that is not revoked, and more than one of those is an
// [*AmbiguousError]; if all are revoked, it is the one enrolled last.
//
// The lock comes before anything else of the gate is read, so that a push which
// waits for it sees what is done under it, and one before it is seen here.
func lockGate(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, which Which) (Device, error) {
	rows, err := tx.Query(ctx, `
		SELECT `+deviceColumns+`
		FROM gate
		WHERE event_id = $1::bigint AND ($2 = '' OR name = $2) AND ($3::uuid IS NULL OR device_id = $3)
		ORDER BY enrolled_at, device_id
		FOR UPDATE`, int64(event), strings.TrimSpace(which.Name), orNull(which.Device))
	if err != nil {
		return Device{}, fmt.Errorf("lock gate: %w", err)
	}
	gates, err := pgx.CollectRows(rows, scanDevice)
	if err != nil {
		return Device{}, fmt.Errorf("lock gate: %w", err)
	}
	if len(gates) == 0 {
		return Device{}, fmt.Errorf("%s at event %d: %w", which, event, ErrNoGate)
	}
	found := gates[len(gates)-1]
	var current []uuid.UUID
	for _, g := range gates {
		if !g.Revoked() {
			found, current = g, append(current, g.ID)
		}
	}
	if len(current) > 1 {
		return Device{}, &AmbiguousError{Name: strings.TrimSpace(which.Name), Devices: current}
	}
	return found, nil
}

// Revoke ends the membership of a gate. What central holds of its journal at that
// moment counts, and what it adds later does not. It reports whether this call
// did it: if the gate was revoked before, that stands and is no error.
func (s *Service) Revoke(ctx context.Context, event syncproto.EventNo, which Which, reason string) (bool, error) {
	reason = strings.TrimSpace(reason)
	if reason == "" {
		return false, errors.New("a revocation needs a reason; say why")
	}
	done := false
	err := pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		d, err := lockGate(ctx, tx, event, which)
		if done = err == nil && !d.Revoked(); !done {
			return err
		}
		return s.revokeDevice(ctx, tx, d.ID, reason)
	})
	if err != nil {
		return false, fmt.Errorf("revoke gate: %w", err)
	}
	return done, nil
}

func (s *Service) revokeDevice(ctx context.Context, tx pgx.Tx, id uuid.UUID, reason string) error {
	trusted, err := s.cfg.Watermark(ctx, tx, id)
	if err != nil {
		return fmt.Errorf("read watermark: %w", err)
	}
	var seq *int64
	if !trusted.IsZero() {
		n := int64(trusted.Seq)
		seq = &n
	}
	_, err = tx.Exec(ctx, `
		UPDATE gate
		SET revoked_at = $2, revoke_reason = $3, trusted_incarnation = $4, trusted_seq = $5
		WHERE device_id = $1`, id, s.cfg.Now(), reason, orNull(trusted.Incarnation), seq)
	return err
}
