package fleet

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// Errors of looking for gates.
var (
	ErrNoDevice = errors.New("there is no such device")
	ErrNoGate   = errors.New("there is no gate of that name or device; `central gate list` shows them")
)

// Device is a gate as it was enrolled and last heard of.
type Device struct {
	ID            uuid.UUID
	Event         syncproto.EventNo
	Name          string
	Key           ed25519.PublicKey
	BoxKey        []byte
	EnrolledAt    time.Time
	RevokedAt     time.Time // zero: not revoked
	RevokeReason  string
	Trusted       syncproto.Ref // last entry that counts once it is revoked
	QuarantinedAt time.Time     // zero: not quarantined
	// QuarantineReason says why it is in quarantine, or was the last time.
	QuarantineReason string
	LastSeenAt       time.Time // zero: never
	App              string
	PeerAddrs        []string                   // where it listens for its peers, by its own word
	Health           syncproto.HeartbeatRequest // of the last heartbeat
	Rev              int64

	session session
}

// Revoked reports whether the gate is no longer one of ours.
func (d Device) Revoked() bool { return !d.RevokedAt.IsZero() }

// Quarantined reports whether the gate looked cloned or rewound.
func (d Device) Quarantined() bool { return !d.QuarantinedAt.IsZero() }

const deviceColumns = `device_id, event_id, name, public_key, box_key, enrolled_at, revoked_at, revoke_reason,
	trusted_incarnation, trusted_seq, hello_ms, ratchet, incarnation, superseded, quarantined_at, quarantine_reason, last_seen_at, app, health, rev,
	peer_addrs`

func scanDevice(row pgx.CollectableRow) (d Device, err error) {
	var (
		public                          []byte
		revoked, quarantined, seen      *time.Time
		trustedIncarnation, incarnation *uuid.UUID
		trustedSeq                      *int64
	)
	err = row.Scan(&d.ID, &d.Event, &d.Name, &public, &d.BoxKey, &d.EnrolledAt, &revoked, &d.RevokeReason,
		&trustedIncarnation, &trustedSeq, &d.session.signedMS, &d.session.ratchet, &incarnation, &d.session.superseded,
		&quarantined, &d.QuarantineReason, &seen, &d.App, &d.Health, &d.Rev, &d.PeerAddrs)
	d.Key = public
	d.RevokedAt, d.QuarantinedAt, d.LastSeenAt = pg.OrZero(revoked), pg.OrZero(quarantined), pg.OrZero(seen)
	d.Trusted = syncproto.Ref{Incarnation: pg.OrZero(trustedIncarnation), Seq: uint64(pg.OrZero(trustedSeq))}
	d.session.incarnation = pg.OrZero(incarnation)
	return d, err
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// selectDevice reads one device; lock is a locking clause or nothing.
func selectDevice(ctx context.Context, db querier, id uuid.UUID, lock string) (Device, error) {
	rows, err := db.Query(ctx, `SELECT `+deviceColumns+` FROM gate WHERE device_id = $1 `+lock, id)
	if err != nil {
		return Device{}, fmt.Errorf("read device: %w", err)
	}
	d, err := pgx.CollectExactlyOneRow(rows, scanDevice)
	if errors.Is(err, pgx.ErrNoRows) {
		return Device{}, fmt.Errorf("device %s: %w", id, ErrNoDevice)
	}
	if err != nil {
		return Device{}, fmt.Errorf("read device: %w", err)
	}
	return d, nil
}

func insertDevice(ctx context.Context, tx pgx.Tx, d Device) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO gate (device_id, event_id, name, public_key, box_key, enrolled_at, app)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`, d.ID, int64(d.Event), d.Name, []byte(d.Key), d.BoxKey, d.EnrolledAt, d.App)
	return err
}

// Device returns a device, revoked ones too, or [ErrNoDevice].
func (s *Service) Device(ctx context.Context, id uuid.UUID) (Device, error) {
	return selectDevice(ctx, s.cfg.Pool, id, "")
}

// Gates lists the gates of an event by name, revoked ones too, and central's own not;
// of two of one name the one enrolled first comes first.
func (s *Service) Gates(ctx context.Context, event syncproto.EventNo) ([]Device, error) {
	rows, err := s.cfg.Pool.Query(ctx, `
		SELECT `+deviceColumns+`
		FROM gate
		WHERE event_id = $1::bigint AND NOT central
		ORDER BY name, enrolled_at, device_id`, int64(event))
	if err != nil {
		return nil, fmt.Errorf("list gates: %w", err)
	}
	gates, err := pgx.CollectRows(rows, scanDevice)
	if err != nil {
		return nil, fmt.Errorf("list gates: %w", err)
	}
	return gates, nil
}

// Session is the answer to a hello.
type Session struct {
	Device  Device // as it is after the hello
	Ratchet string
	// Suspicion says why this hello put the device in quarantine; empty if it
	// did not.
	Suspicion string
}

// Hello notes that a device has opened a conversation, and judges whether it is
// the one that was enrolled and not a copy. signedMS is when the device signed the
// hello. A revoked device, a malformed hello, and one that was not signed later
// than the last are refused with a [*syncproto.Error], and change nothing.
func (s *Service) Hello(ctx context.Context, id uuid.UUID, req syncproto.HelloRequest, signedMS int64) (Session, error) {
	if req.Incarnation == uuid.Nil || len(req.App) > syncproto.TextMax || strings.ContainsRune(req.App, 0) {
		return Session{}, syncproto.Errorf(syncproto.CodeMalformed, "The hello names no incarnation or a program of over %d bytes.", syncproto.TextMax)
	}
	if !goodAddrs(req.PeerAddrs) {
		return Session{}, syncproto.Errorf(syncproto.CodeMalformed, "The hello names more than %d addresses for peers, or one that is no HOST:PORT.", syncproto.PeerAddrsMax)
	}
	ring, err := s.cfg.Keys.keyring(ctx)
	if err != nil {
		return Session{}, err
	}
	var out Session
	err = pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		d, err := selectDevice(ctx, tx, id, "FOR NO KEY UPDATE")
		if err != nil {
			return err
		}
		if d.Revoked() {
			return errRevoked()
		}
		if signedMS <= d.session.signedMS {
			return wire.TooEarly(d.session.signedMS, s.cfg.Now())
		}
		d.session.signedMS = signedMS
		out = s.judge(d, req, ring.root.Seed())
		return updateSession(ctx, tx, out.Device)
	})
	if err != nil {
		return Session{}, fmt.Errorf("hello: %w", err)
	}
	return out, nil
}

// goodAddrs reports whether addresses for peers are few and are some.
func goodAddrs(addrs []string) bool {
	return len(addrs) <= syncproto.PeerAddrsMax && !slices.ContainsFunc(addrs, func(a string) bool {
		host, port, err := net.SplitHostPort(a)
		return err != nil || host == "" || port == "" || len(a) > syncproto.TextMax || !utf8.ValidString(a) || strings.ContainsRune(a, 0)
	})
}

// judge is Hello without the database.
func (s *Service) judge(d Device, req syncproto.HelloRequest, secret []byte) Session {
	now := s.cfg.Now()
	shown, genuine := parseRatchet(secret, d.ID, req.Ratchet)
	next, suspicion := d.session.hello(shown, req.Incarnation)
	if !genuine {
		suspicion = "it shows a session that this central did not give it"
	}
	if suspicion != "" && !d.Quarantined() {
		d.QuarantinedAt, d.QuarantineReason = now, suspicion
	}
	d.session, d.LastSeenAt, d.App, d.PeerAddrs = next, now, req.App, req.PeerAddrs
	return Session{Device: d, Ratchet: ratchetText(secret, d.ID, next.ratchet), Suspicion: suspicion}
}

func updateSession(ctx context.Context, tx pgx.Tx, d Device) error {
	_, err := tx.Exec(ctx, `
		UPDATE gate
		SET hello_ms = $8, ratchet = $2, incarnation = $3, superseded = coalesce($4::uuid[], '{}'), quarantined_at = $5, last_seen_at = $6, app = $7,
		    peer_addrs = coalesce($9::text[], '{}'), quarantine_reason = $10
		WHERE device_id = $1`,
		d.ID, d.session.ratchet, d.session.incarnation, d.session.superseded, pg.OrNull(d.QuarantinedAt), d.LastSeenAt, d.App, d.session.signedMS, d.PeerAddrs,
		d.QuarantineReason)
	return err
}

// Quarantine puts a device whose journal forks in quarantine; reason is a sentence
// that says how that was seen. Doing it again changes nothing.
func (s *Service) Quarantine(ctx context.Context, id uuid.UUID, reason string) error {
	err := pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		d := Device{ID: id}
		err := tx.QueryRow(ctx, `
			UPDATE gate
			SET quarantined_at = $2, quarantine_reason = $3
			WHERE device_id = $1 AND quarantined_at IS NULL
			RETURNING event_id, name`, id, s.cfg.Now(), reason).Scan(&d.Event, &d.Name)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		return note(ctx, s.cfg.Audit, tx, "gate.quarantine", &d, reason)
	})
	if err != nil {
		return fmt.Errorf("quarantine device: %w", err)
	}
	return nil
}
