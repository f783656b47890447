// Package identity keeps who a gate is: its keys, the central it was enrolled at
// and the event it serves, in one file of its data directory that only the
// gate's user can read. Losing the file means enrolling again; the journal
// beside it stays.
package identity

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

const fileName = "identity.json"

// ErrNotEnrolled means that a data directory holds no identity yet.
var ErrNotEnrolled = errors.New("this gate is not enrolled; make a token with `central gate token` and run `gate enrol --data DIR --central URL --token T`")

// Identity is the content of the file. Before enrolment only the keys are set:
// they are written first, so that an enrolment whose answer got lost can be
// repeated with the same token.
type Identity struct {
	DeviceSeed []byte                `json:"device_seed"` // Ed25519 seed
	BoxPrivate []byte                `json:"box_private"` // X25519
	BoxPublic  []byte                `json:"box_public"`
	Device     uuid.UUID             `json:"device"`
	Name       string                `json:"name"`
	Central    string                `json:"central_url"`
	Event      syncproto.EventNo     `json:"event"`
	Stream     uuid.UUID             `json:"stream"`
	Pinned     syncproto.Hash        `json:"root_fingerprint"`
	Trust      syncproto.TrustBundle `json:"trust"`
	HashKey    []byte                `json:"hash_key"` // as sealed to BoxPublic
	Ratchet    string                `json:"ratchet"`
	// Gates are the event's gates as they were known last: neighbours are found with
	// them where the replica is lost and central is away.
	Gates []syncproto.DeviceRecord `json:"gates,omitempty"`
	// Withdrawn is why central withdrew this gate; empty for one in good standing.
	Withdrawn string `json:"withdrawn,omitempty"`
}

// Key is the device's signing key.
func (id *Identity) Key() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(id.DeviceSeed) }

// OpenHashKey unseals the event's hash key.
func (id *Identity) OpenHashKey() ([]byte, error) {
	key, err := syncproto.OpenSealed(id.BoxPrivate, syncproto.PurposeHashKey, id.HashKey)
	if err != nil {
		return nil, fmt.Errorf("hash key in %s: %w", fileName, err)
	}
	return key, nil
}

// Load reads the identity of a data directory; ErrNotEnrolled when there is none.
func Load(dir string) (*Identity, error) {
	id, err := read(dir)
	if errors.Is(err, os.ErrNotExist) || (err == nil && id.Device == uuid.Nil) {
		return nil, ErrNotEnrolled
	}
	return id, err
}

func read(dir string) (*Identity, error) {
	b, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		return nil, fmt.Errorf("read identity: %w", err)
	}
	var id Identity
	if err := json.Unmarshal(b, &id); err != nil || len(id.DeviceSeed) != ed25519.SeedSize {
		return nil, fmt.Errorf("%s is damaged; move it aside and enrol this gate again: %w", filepath.Join(dir, fileName), errors.Join(err, errSeed))
	}
	return &id, nil
}

var errSeed = errors.New("device seed is missing or malformed")

// Save writes the identity atomically, readable by its owner only.
func (id *Identity) Save(dir string) error {
	b, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return fmt.Errorf("encode identity: %w", err)
	}
	if err := renameio.WriteFile(filepath.Join(dir, fileName), b, 0o600); err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	return nil
}

// EnrolConfig says how to enrol.
type EnrolConfig struct {
	Dir     string
	Token   syncproto.EnrolToken
	Central string // URL; the token's when empty
	App     string
	Rand    io.Reader
	// Client makes the client for a device key and central's URL.
	Client func(key ed25519.PrivateKey, central string) (*wire.Client, error)
}

// Enrol makes the directory a gate: keys are made (or found, when an earlier
// attempt lost its answer), the token is traded, and the identity is saved. A
// directory that already is a gate is refused and left as it is.
func Enrol(ctx context.Context, cfg EnrolConfig) (*Identity, error) {
	if cfg.Central == "" {
		cfg.Central = cfg.Token.URL
	}
	if cfg.Central == "" {
		return nil, errors.New("the token does not name central's address; pass --central URL")
	}
	id, err := prepare(cfg)
	if err != nil {
		return nil, err
	}
	client, err := cfg.Client(id.Key(), cfg.Central)
	if err != nil {
		return nil, err
	}
	reply, err := client.Enrol(ctx, syncproto.EnrolRequest{
		Token: cfg.Token.Secret, DeviceKey: id.Key().Public().(ed25519.PublicKey), BoxKey: id.BoxPublic, App: cfg.App,
	}, cfg.Token.Root)
	if err != nil {
		return nil, fmt.Errorf("enrol at %s: %w", cfg.Central, err)
	}
	if err := reply.Trust.Verify(cfg.Token.Root); err != nil {
		return nil, fmt.Errorf("enrol at %s: %w", cfg.Central, err)
	}
	id.Device, id.Name, id.Central, id.Event, id.Stream = reply.Device, reply.Name, cfg.Central, reply.Event, reply.Stream
	id.Pinned, id.Trust, id.HashKey, id.Gates = cfg.Token.Root, reply.Trust, reply.HashKey, reply.Gates
	if _, err := id.OpenHashKey(); err != nil {
		return nil, err
	}
	return id, id.Save(cfg.Dir)
}

func prepare(cfg EnrolConfig) (*Identity, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	id, err := read(cfg.Dir)
	switch {
	case err == nil && id.Device != uuid.Nil:
		return nil, fmt.Errorf("%s already is gate %q at %s; use another --data directory, or move it aside to enrol anew", cfg.Dir, id.Name, id.Central)
	case err == nil:
		return id, nil
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	id = &Identity{DeviceSeed: make([]byte, ed25519.SeedSize)}
	if _, err := io.ReadFull(cfg.Rand, id.DeviceSeed); err != nil {
		return nil, fmt.Errorf("device key: %w", err)
	}
	if id.BoxPrivate, id.BoxPublic, err = syncproto.NewBoxKey(); err != nil {
		return nil, err
	}
	return id, id.Save(cfg.Dir)
}
