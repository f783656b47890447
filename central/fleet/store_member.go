package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

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
		WHERE event_id = $1::bigint AND NOT central AND ($2 = '' OR name = $2) AND ($3::uuid IS NULL OR device_id = $3)
		ORDER BY enrolled_at, device_id
		FOR UPDATE`, int64(event), strings.TrimSpace(which.Name), pg.OrNull(which.Device))
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
		if err := s.revokeDevice(ctx, tx, d.ID, reason); err != nil {
			return err
		}
		return note(ctx, s.cfg.Audit, tx, "gate.revoke", &d, reason)
	})
	if err != nil {
		return false, fmt.Errorf("revoke gate: %w", err)
	}
	return done, nil
}

// note tells the audit what was done to a gate, and why.
func note(ctx context.Context, audit Audit, tx pgx.Tx, action string, d *Device, reason string) error {
	return audit.Record(ctx, tx, action, "gate", d.ID.String(), d.Event, nil, map[string]string{"name": d.Name, "reason": reason})
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
		WHERE device_id = $1`, id, s.cfg.Now(), reason, pg.OrNull(trusted.Incarnation), seq)
	return err
}

// ErrRevoked means that a gate was revoked, which nothing takes back.
var ErrRevoked = errors.New("it was revoked, and what it added since stays not trusted; enrol it again with a new token")

// Release takes a gate out of quarantine and returns it: what it adds from now on
// counts. What it added meanwhile is the journals' business. A gate that is not in
// quarantine stays as it is, and a revoked one is refused with [ErrRevoked].
func (s *Service) Release(ctx context.Context, event syncproto.EventNo, which Which, reason string) (Device, error) {
	reason = strings.TrimSpace(reason)
	if reason == "" {
		return Device{}, errors.New("a release needs a reason; say why")
	}
	var out Device
	err := pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) (err error) {
		if out, err = lockGate(ctx, tx, event, which); err != nil {
			return err
		}
		if out.Revoked() {
			return fmt.Errorf("%s: %w", which, ErrRevoked)
		}
		if !out.Quarantined() {
			return nil
		}
		out.QuarantinedAt = time.Time{}
		_, err = tx.Exec(ctx, `
			UPDATE gate
			SET quarantined_at = NULL, released_at = $2, release_reason = $3
			WHERE device_id = $1`, out.ID, s.cfg.Now(), reason)
		if err != nil {
			return err
		}
		return note(ctx, s.cfg.Audit, tx, "gate.release", &out, reason)
	})
	if err != nil {
		return Device{}, fmt.Errorf("release gate: %w", err)
	}
	return out, nil
}

// Diverged is how many gates of all events found at their last comparison that
// their roster was not central's, those that were revoked left out.
func Diverged(ctx context.Context, pool *pgxpool.Pool) (int, error) {
	var n int
	err := pool.QueryRow(ctx, `
		SELECT count(*)
		FROM gate
		WHERE health->'check'->>'result' IN ('repaired', 'resync', 'diverged') AND revoked_at IS NULL`).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count gates that diverged: %w", err)
	}
	return n, nil
}

// InQuarantine is how many gates of all events are in quarantine, those that were
// revoked left out.
func (s *Service) InQuarantine(ctx context.Context) (int, error) {
	var n int
	err := s.cfg.Pool.QueryRow(ctx, `
		SELECT count(*)
		FROM gate
		WHERE quarantined_at IS NOT NULL AND revoked_at IS NULL`).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count gates in quarantine: %w", err)
	}
	return n, nil
}
