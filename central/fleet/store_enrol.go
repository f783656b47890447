package fleet

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// Limits of enrolment.
const (
	NameMax       = 64 // characters of a gate's name
	TokenValidMax = 7 * 24 * time.Hour
	tokenBytes    = 16
	gatePublicKey = "gate_public_key_key"
)

// NewToken makes a token with which one gate can be enrolled at an event under
// a name, within validFor. Only a hash of it is stored.
func (s *Service) NewToken(ctx context.Context, event syncproto.EventNo, name string, validFor time.Duration) (syncproto.EnrolToken, error) {
	name = strings.TrimSpace(name)
	switch {
	case name == "" || utf8.RuneCountInString(name) > NameMax || strings.ContainsFunc(name, unicode.IsControl) || !utf8.ValidString(name):
		return syncproto.EnrolToken{}, fmt.Errorf("the name of a gate is a text of 1 to %d characters on one line; give another", NameMax)
	case validFor <= 0 || validFor > TokenValidMax:
		return syncproto.EnrolToken{}, fmt.Errorf("a token can be valid for up to %s; give a duration such as 15m", TokenValidMax)
	}
	if _, err := s.cfg.Events.Event(ctx, event); err != nil {
		return syncproto.EnrolToken{}, err
	}
	ring, err := s.cfg.Keys.keyring(ctx)
	if err != nil {
		return syncproto.EnrolToken{}, err
	}
	secret := make([]byte, tokenBytes)
	if _, err := io.ReadFull(s.cfg.Rand, secret); err != nil {
		return syncproto.EnrolToken{}, fmt.Errorf("make token: %w", err)
	}
	token := syncproto.EnrolToken{
		Secret: base64.RawURLEncoding.EncodeToString(secret),
		Root:   syncproto.Fingerprint(ring.root.Public().(ed25519.PublicKey)),
		URL:    ring.url,
	}
	now := s.cfg.Now()
	err = pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			INSERT INTO enrol_token (token_hash, event_id, gate_name, created_at, expires_at)
			VALUES ($1, $2, $3, $4, $5)`, hashToken(token.Secret), int64(event), name, now, now.Add(validFor))
		if err != nil {
			return err
		}
		return s.cfg.Audit.Record(ctx, tx, "gate.invite", "event", strconv.FormatUint(uint64(event), 10), event, nil,
			map[string]any{"name": name, "until": now.Add(validFor)})
	})
	if err != nil {
		return syncproto.EnrolToken{}, fmt.Errorf("store token: %w", err)
	}
	return token, nil
}

// hashToken is over the text and not over the bytes that it encodes, so that a
// text has one hash whatever it decodes to.
func hashToken(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// Enrol makes a gate of the device that presents a token. The caller has checked
// that the request is signed by the device key in it. A request that was served
// already, with the same token and keys, gets the same device again. Refusals
// are [*syncproto.Error].
func (s *Service) Enrol(ctx context.Context, req syncproto.EnrolRequest) (syncproto.EnrolReply, error) {
	if !wellFormed(req) {
		return syncproto.EnrolReply{}, syncproto.Errorf(syncproto.CodeMalformed, "The enrolment request has a key or a text that is not one.")
	}
	var device Device
	err := pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) (err error) {
		device, err = s.redeem(ctx, tx, req)
		return err
	})
	err = pg.MapViolation(err, map[string]error{
		gatePublicKey: syncproto.Errorf(syncproto.CodeForbidden, "This device is enrolled already; to enrol it anew, give it an empty data directory."),
	})
	if err != nil {
		return syncproto.EnrolReply{}, fmt.Errorf("enrol gate: %w", err)
	}
	return s.enrolReply(ctx, device)
}

// wellFormed reports whether req can be stored and answered. Sealing to the box
// key is tried before the token is used up, for some points of the curve cannot
// be sealed to.
func wellFormed(req syncproto.EnrolRequest) bool {
	if len(req.DeviceKey) != ed25519.PublicKeySize || len(req.App) > syncproto.TextMax || strings.ContainsRune(req.App, 0) {
		return false
	}
	_, err := syncproto.SealTo(req.BoxKey, syncproto.PurposeHashKey, nil)
	return err == nil
}

// token is a row of enrol_token.
type token struct {
	event   syncproto.EventNo
	name    string
	expires time.Time
	device  *uuid.UUID // nil: not used yet
}

// redeem turns a token into a device, or finds the one that it was turned into.
func (s *Service) redeem(ctx context.Context, tx pgx.Tx, req syncproto.EnrolRequest) (Device, error) {
	var t token
	err := tx.QueryRow(ctx, `
		SELECT event_id, gate_name, expires_at, device_id
		FROM enrol_token
		WHERE token_hash = $1
		FOR UPDATE`, hashToken(req.Token)).Scan(&t.event, &t.name, &t.expires, &t.device)
	if errors.Is(err, pgx.ErrNoRows) {
		return Device{}, syncproto.Errorf(syncproto.CodeTokenUnknown, "This central has made no such token; make one with `central gate token`.")
	}
	if err != nil {
		return Device{}, fmt.Errorf("read token: %w", err)
	}
	if t.device != nil {
		return redeemAgain(ctx, tx, *t.device, req)
	}
	now := s.cfg.Now()
	if !now.Before(t.expires) {
		return Device{}, syncproto.Errorf(syncproto.CodeTokenExpired, "This token was valid until %s; make another with `central gate token`.",
			t.expires.UTC().Format(time.RFC3339))
	}
	id, err := uuid.NewRandomFromReader(s.cfg.Rand)
	if err != nil {
		return Device{}, fmt.Errorf("device id: %w", err)
	}
	d := Device{ID: id, Event: t.event, Name: t.name, Key: req.DeviceKey, BoxKey: req.BoxKey, EnrolledAt: now, App: req.App}
	if err := insertDevice(ctx, tx, d); err != nil {
		return Device{}, err
	}
	_, err = tx.Exec(ctx, `UPDATE enrol_token SET device_id = $2 WHERE token_hash = $1`, hashToken(req.Token), d.ID)
	if err != nil {
		return Device{}, err
	}
	return d, s.cfg.Audit.Record(ctx, tx, "gate.enrol", "gate", d.ID.String(), d.Event, nil, map[string]string{"name": d.Name, "app": d.App})
}

// redeemAgain answers for a token that was used: its reply may have been lost.
func redeemAgain(ctx context.Context, tx pgx.Tx, id uuid.UUID, req syncproto.EnrolRequest) (Device, error) {
	d, err := selectDevice(ctx, tx, id, "")
	switch {
	case err != nil:
		return Device{}, err
	case !d.Key.Equal(req.DeviceKey) || string(d.BoxKey) != string(req.BoxKey):
		return Device{}, syncproto.Errorf(syncproto.CodeTokenUsed, "This token was used by another device; make another with `central gate token`.")
	case d.Revoked():
		return Device{}, errRevoked()
	}
	return d, nil
}

func errRevoked() *syncproto.Error {
	return syncproto.Errorf(syncproto.CodeRevoked, "This gate was revoked at central; enrol it anew with a new token.")
}

func (s *Service) enrolReply(ctx context.Context, d Device) (syncproto.EnrolReply, error) {
	event, err := s.cfg.Events.Event(ctx, d.Event)
	if err != nil {
		return syncproto.EnrolReply{}, err
	}
	trust, err := s.cfg.Keys.Trust(ctx)
	if err != nil {
		return syncproto.EnrolReply{}, err
	}
	hashKey, err := s.SealedHashKey(ctx, d)
	if err != nil {
		return syncproto.EnrolReply{}, err
	}
	gates, err := s.Gates(ctx, d.Event)
	if err != nil {
		return syncproto.EnrolReply{}, err
	}
	reply := syncproto.EnrolReply{Device: d.ID, Name: d.Name, Event: d.Event, Stream: event.Stream, Trust: trust, HashKey: hashKey}
	for i := range gates {
		reply.Gates = append(reply.Gates, gates[i].record())
	}
	return reply, nil
}

// record is the gate as the others know it.
func (d *Device) record() syncproto.DeviceRecord {
	r := syncproto.DeviceRecord{
		Device: d.ID, Rev: d.Rev, Name: d.Name, Key: d.Key, Revoked: d.Revoked(), Trusted: d.Trusted,
		Addrs: d.PeerAddrs, EnrolledAt: d.EnrolledAt.UnixMilli(),
	}
	if d.Revoked() {
		r.RevokedAt = d.RevokedAt.UnixMilli()
	}
	return r
}

// SealedHashKey is the hash key of a gate's event as only that gate can read it.
func (s *Service) SealedHashKey(ctx context.Context, d Device) ([]byte, error) {
	hashKey, err := s.cfg.Events.HashKey(ctx, d.Event)
	if err != nil {
		return nil, err
	}
	return syncproto.SealTo(d.BoxKey, syncproto.PurposeHashKey, hashKey)
}
