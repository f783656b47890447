package fleet

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// ringAgeMax is how soon a rotation by another process is noticed.
const ringAgeMax = time.Second

// firstKey is the id of the first key of each purpose.
const firstKey syncproto.KeyID = 1

// KeysConfig is what Keys needs.
type KeysConfig struct {
	// Pool is the database. Required.
	Pool *pgxpool.Pool
	// Audit is told of every write, in its transaction. Defaults to nothing.
	Audit Audit
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
	// Rand gives keys. Defaults to crypto/rand.
	Rand io.Reader
}

// Keys is who this central is and what it signs with. It is safe for concurrent
// use. Prepare must have run once on a database before the rest is of use.
type Keys struct {
	cfg  KeysConfig
	ring atomic.Pointer[keyring] // nil: to be read
}

// NewKeys returns the keys in a database.
func NewKeys(cfg KeysConfig) (*Keys, error) {
	if cfg.Pool == nil {
		return nil, errors.New("new keys: a pool is required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Audit == nil {
		cfg.Audit = silent{}
	}
	return &Keys{cfg: cfg}, nil
}

// Prepare makes the installation with its first keys if there is none. Of two
// processes at once one makes it, and the other waits and finds it made.
func (k *Keys) Prepare(ctx context.Context) error {
	err := pg.InTx(ctx, k.cfg.Pool, func(tx pgx.Tx) error {
		central, err := uuid.NewRandomFromReader(k.cfg.Rand)
		if err != nil {
			return fmt.Errorf("central id: %w", err)
		}
		// A second process waits here until the first has committed its keys as well.
		made, err := tx.Exec(ctx, `
			INSERT INTO installation (central_id)
			VALUES ($1)
			ON CONFLICT (id) DO NOTHING`, central)
		if err != nil {
			return err
		}
		if made.RowsAffected() > 0 {
			if err := k.insertFirst(ctx, tx, central); err != nil {
				return err
			}
		}
		return k.ensureSeal(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("prepare installation: %w", err)
	}
	return nil
}

func (k *Keys) insertFirst(ctx context.Context, tx pgx.Tx, central uuid.UUID) error {
	public, private, err := ed25519.GenerateKey(k.cfg.Rand)
	if err != nil {
		return fmt.Errorf("make root key: %w", err)
	}
	now := k.cfg.Now()
	root := key{private: private, SignedKey: syncproto.SignedKey{
		Purpose: purposeRoot, ID: firstKey, Public: public, NotBefore: now.Add(-keyBackdate).UnixMilli(),
	}}
	root.sign(central, private)
	if err := insertKey(ctx, tx, root); err != nil {
		return err
	}
	for _, purpose := range []syncproto.KeyPurpose{syncproto.PurposeOnline, syncproto.PurposeTicket} {
		first, err := newKey(k.cfg.Rand, central, private, purpose, firstKey, now)
		if err != nil {
			return err
		}
		if err := insertKey(ctx, tx, first); err != nil {
			return err
		}
	}
	return nil
}

// ensureSeal makes the key to which gates seal what only central may read, also
// for an installation of before there was one.
func (k *Keys) ensureSeal(ctx context.Context, tx pgx.Tx) error {
	var have bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM signing_key WHERE purpose = 'seal')`).Scan(&have); err != nil || have {
		return err
	}
	// Of two processes at once the second waits here, and then finds it made.
	if _, err := tx.Exec(ctx, `SELECT FROM installation FOR UPDATE`); err != nil {
		return err
	}
	ring, err := selectRing(ctx, tx)
	if err != nil || len(ring.of(syncproto.PurposeSeal)) > 0 {
		return err
	}
	private, public, err := syncproto.NewBoxKey()
	if err != nil {
		return err
	}
	seal := key{private: private, SignedKey: syncproto.SignedKey{
		Purpose: syncproto.PurposeSeal, ID: firstKey, Public: public, NotBefore: k.cfg.Now().Add(-keyBackdate).UnixMilli(),
	}}
	seal.sign(ring.central, ring.root)
	return insertKey(ctx, tx, seal)
}

// Open decrypts what a gate sealed to the seal key with this id.
func (k *Keys) Open(ctx context.Context, id syncproto.KeyID, purpose string, sealed []byte) ([]byte, error) {
	ring, err := k.keyring(ctx)
	if err != nil {
		return nil, err
	}
	for _, seal := range ring.of(syncproto.PurposeSeal) {
		if seal.ID == id {
			return syncproto.OpenSealed(seal.private, purpose, sealed)
		}
	}
	return nil, fmt.Errorf("sealed to key %d, which this central does not have", id)
}

func insertKey(ctx context.Context, tx pgx.Tx, k key) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO signing_key (purpose, kid, public_key, private_key, root_sig, not_before, not_after)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		k.Purpose, int16(k.ID), []byte(k.Public), []byte(k.private), k.RootSig, time.UnixMilli(k.NotBefore), notAfter(k))
	return err
}

func notAfter(k key) *time.Time {
	if k.NotAfter == 0 {
		return nil
	}
	t := time.UnixMilli(k.NotAfter)
	return &t
}

// Rotate makes a new key of a purpose and returns its id. A new ticket key signs
// from now on, and the codes of the one before stay valid; a new online key
// signs a minute later, and the one before it stays valid for a day after that.
func (k *Keys) Rotate(ctx context.Context, purpose syncproto.KeyPurpose) (syncproto.KeyID, error) {
	var next key
	err := pg.InTx(ctx, k.cfg.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT FROM installation FOR UPDATE`); err != nil {
			return err
		}
		ring, err := selectRing(ctx, tx)
		if err != nil {
			return err
		}
		made, ended, err := ring.rotate(k.cfg.Rand, purpose, k.cfg.Now())
		if err != nil {
			return err
		}
		next = made
		for _, old := range ended {
			if err := endKey(ctx, tx, old); err != nil {
				return err
			}
		}
		if err := insertKey(ctx, tx, next); err != nil {
			return err
		}
		return k.cfg.Audit.Record(ctx, tx, "key.rotate", "signing_key", fmt.Sprintf("%s %d", purpose, next.ID), 0, nil, nil)
	})
	if err != nil {
		return 0, fmt.Errorf("rotate %s key: %w", purpose, err)
	}
	k.ring.Store(nil)
	return next.ID, nil
}

func endKey(ctx context.Context, tx pgx.Tx, k key) error {
	_, err := tx.Exec(ctx, `
		UPDATE signing_key
		SET not_after = $3, root_sig = $4
		WHERE purpose = $1 AND kid = $2`, k.Purpose, int16(k.ID), notAfter(k), k.RootSig)
	return err
}

// keyring is what the database has, at most ringAgeMax old.
func (k *Keys) keyring(ctx context.Context) (*keyring, error) {
	now := k.cfg.Now()
	if ring := k.ring.Load(); ring != nil && now.Sub(ring.loaded).Abs() < ringAgeMax {
		return ring, nil
	}
	var ring *keyring
	// One state: a key must not be missing because a rotation came in between.
	oneState := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pg.InTxWith(ctx, k.cfg.Pool, oneState, func(tx pgx.Tx) (err error) {
		ring, err = selectRing(ctx, tx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	ring.loaded = now
	k.ring.Store(ring)
	return ring, nil
}

// selectRing reads all keys.
func selectRing(ctx context.Context, tx pgx.Tx) (*keyring, error) {
	var ring keyring
	err := tx.QueryRow(ctx, `SELECT central_id, public_url FROM installation`).Scan(&ring.central, &ring.url)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, errors.New("this database has no installation yet: run `central serve` once, which makes it")
	}
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `
		SELECT purpose, kid, public_key, private_key, root_sig, not_before, not_after
		FROM signing_key
		ORDER BY purpose, kid`)
	if err != nil {
		return nil, err
	}
	keys, err := pgx.CollectRows(rows, scanKey)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if k.Purpose == purposeRoot {
			ring.root = k.private
			continue
		}
		ring.keys = append(ring.keys, k)
	}
	return &ring, nil
}

func scanKey(row pgx.CollectableRow) (k key, err error) {
	var (
		from            time.Time
		until           *time.Time
		public, private []byte
	)
	err = row.Scan(&k.Purpose, &k.ID, &public, &private, &k.RootSig, &from, &until)
	k.Public, k.private = public, private
	k.NotBefore = from.UnixMilli()
	if until != nil {
		k.NotAfter = until.UnixMilli()
	}
	return k, err
}

// Trust is what gates are told of central's keys.
func (k *Keys) Trust(ctx context.Context) (syncproto.TrustBundle, error) {
	ring, err := k.keyring(ctx)
	if err != nil {
		return syncproto.TrustBundle{}, err
	}
	return ring.trust(k.cfg.Now()), nil
}

// Signer is central's id and the online key that signs now.
func (k *Keys) Signer(ctx context.Context) (wire.Signer, error) {
	ring, err := k.keyring(ctx)
	if err != nil {
		return wire.Signer{}, err
	}
	signs, err := ring.current(syncproto.PurposeOnline, k.cfg.Now())
	if err != nil {
		return wire.Signer{}, err
	}
	return wire.Signer{Central: ring.central, Key: signs.ID, Private: signs.private}, nil
}

// TicketKeys are all keys that ever signed codes, and the id of the one that
// signs new ones.
func (k *Keys) TicketKeys(ctx context.Context) (current syncproto.KeyID, keys map[syncproto.KeyID]ed25519.PrivateKey, err error) {
	ring, err := k.keyring(ctx)
	if err != nil {
		return 0, nil, err
	}
	signs, err := ring.current(syncproto.PurposeTicket, k.cfg.Now())
	if err != nil {
		return 0, nil, err
	}
	keys = map[syncproto.KeyID]ed25519.PrivateKey{}
	for _, each := range ring.of(syncproto.PurposeTicket) {
		keys[each.ID] = each.private
	}
	return signs.ID, keys, nil
}

// RecordURL notes where this central is reached; enrolment tokens carry it.
func (k *Keys) RecordURL(ctx context.Context, url string) error {
	_, err := k.cfg.Pool.Exec(ctx, `UPDATE installation SET public_url = $1 WHERE public_url <> $1`, url)
	if err != nil {
		return fmt.Errorf("record public URL: %w", err)
	}
	k.ring.Store(nil)
	return nil
}
