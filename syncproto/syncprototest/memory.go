package syncprototest

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// MemoryConfig is what a Memory needs.
type MemoryConfig struct {
	// Name makes the identity and the keys: two Memories of one name are one
	// central. Required.
	Name string
	// Now is central's clock. Required.
	Now func() time.Time
	// Rand makes tokens, tags and session values. Required.
	Rand io.Reader
	// Logger gets the refusals. Defaults to slog.Default().
	Logger *slog.Logger
	// ManualSeal leaves committed changes unsealed until Seal is called. Defaults
	// to sealing with each commit.
	ManualSeal bool
	// OnPush, where set, is called at the start of each push, without any lock.
	OnPush func()
}

// Memory is a central without a disk. Its methods are what an operator or the
// rest of central would do; what gates do goes through [Memory.Service], or
// through [Memory.Doer] from end to end. It is safe for concurrent use.
type Memory struct {
	cfg MemoryConfig
	id  uuid.UUID
	mu  sync.Mutex
	keys
	epoch   uuid.UUID
	events  map[syncproto.EventNo]*event
	tokens  map[syncproto.Hash]*enrolToken
	devices map[uuid.UUID]*device
	chains  map[uuid.UUID]*chain
	blobs   map[syncproto.Hash][]byte
	kept    []Quarantined
}

// keys are what central signs with, and what it tells gates of it.
type keys struct {
	online   ed25519.PrivateKey
	onlineID syncproto.KeyID
	trust    syncproto.TrustBundle
}

// Quarantined is a push that could not be read.
type Quarantined struct {
	Device uuid.UUID
	Raw    []byte
	Reason string
}

type enrolToken struct {
	event   syncproto.EventNo
	name    string
	expires time.Time
	device  uuid.UUID // zero until it is used
}

type device struct {
	record      syncproto.DeviceRecord
	event       *event
	hashKey     []byte             // sealed to the device
	helloMS     int64              // when the last hello was signed
	ratchet     int64              // session values given out so far
	current     uuid.UUID          // incarnation of the last hello
	left        map[uuid.UUID]bool // incarnations that a later hello replaced
	quarantined bool
}

// NewMemory makes a central without events.
func NewMemory(cfg MemoryConfig) (*Memory, error) {
	if cfg.Name == "" || cfg.Now == nil || cfg.Rand == nil {
		return nil, errors.New("central in memory: Name, Now and Rand are required")
	}
	m := &Memory{
		cfg: cfg, id: ID("central " + cfg.Name), keys: keys{online: Key("online " + cfg.Name), onlineID: 1}, epoch: ID("epoch of " + cfg.Name),
		events: map[syncproto.EventNo]*event{}, tokens: map[syncproto.Hash]*enrolToken{},
		devices: map[uuid.UUID]*device{}, chains: map[uuid.UUID]*chain{}, blobs: map[syncproto.Hash][]byte{},
	}
	m.trust = Trust(cfg.Name)
	return m, nil
}

// Trust is the bundle of the central with this name: online key 1 is
// Key("online "+name), ticket key 1 is Key("ticket "+name), seal key 1 opens with
// SealKey(name).
func Trust(name string) syncproto.TrustBundle {
	root := Key("root " + name)
	b := syncproto.TrustBundle{Central: ID("central " + name), Root: public(root)}
	for _, purpose := range []syncproto.KeyPurpose{syncproto.PurposeOnline, syncproto.PurposeTicket} {
		k := syncproto.SignedKey{Purpose: purpose, ID: 1, Public: public(Key(string(purpose) + " " + name))}
		k.RootSig = ed25519.Sign(root, k.Preimage(b.Central))
		b.Keys = append(b.Keys, k)
	}
	seal := syncproto.SignedKey{Purpose: syncproto.PurposeSeal, ID: 1, Public: sealPublic(name)}
	seal.RootSig = ed25519.Sign(root, seal.Preimage(b.Central))
	b.Keys = append(b.Keys, seal)
	return b
}

// SealKey is the private half of the seal key of the central with this name.
func SealKey(name string) []byte { return Key("seal " + name).Seed() }

func sealPublic(name string) []byte {
	key, err := ecdh.X25519().NewPrivateKey(SealKey(name))
	if err != nil {
		panic(err) // any 32 bytes are a key
	}
	return key.PublicKey().Bytes()
}

func public(key ed25519.PrivateKey) ed25519.PublicKey {
	return ed25519.PublicKey(key[ed25519.PrivateKeySize-ed25519.PublicKeySize:])
}

// Doer carries requests to a server half over m, without a network.
func (m *Memory) Doer() (wire.Doer, error) {
	s, err := wire.NewServer(wire.ServerConfig{Service: m.Service(), Now: m.cfg.Now, Logger: m.cfg.Logger})
	if err != nil {
		return nil, err
	}
	return DoerOf(s), nil
}

// CreateEvent makes an event of rules, whose number and stream it chooses.
func (m *Memory) CreateEvent(rules syncproto.Rules) (syncproto.Rules, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rules.Event = syncproto.EventNo(len(m.events) + 1)
	rules.Stream = ID(fmt.Sprintf("stream %d of %s", rules.Event, m.cfg.Name))
	rules.Rev = 1
	ev, err := newEvent(rules)
	if err != nil {
		return rules, err
	}
	m.events[rules.Event] = ev
	return rules, m.tellLocked(ev, subject{kind: syncproto.RecordTrust}, subject{kind: syncproto.RecordRules})
}

// NewToken makes a one-time token with which a gate enrols.
func (m *Memory) NewToken(event syncproto.EventNo, name string, valid time.Duration) (syncproto.EnrolToken, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.events[event] == nil {
		return syncproto.EnrolToken{}, fmt.Errorf("event %d does not exist", event)
	}
	var secret [16]byte
	if _, err := io.ReadFull(m.cfg.Rand, secret[:]); err != nil {
		return syncproto.EnrolToken{}, fmt.Errorf("token: %w", err)
	}
	t := syncproto.EnrolToken{Secret: base64.RawURLEncoding.EncodeToString(secret[:]), Root: syncproto.Fingerprint(m.trust.Root)}
	m.tokens[sha256.Sum256([]byte(t.Secret))] = &enrolToken{event: event, name: name, expires: m.cfg.Now().Add(valid)}
	return t, nil
}

// RevokeDevice ends a device's trust after its last entry that is stored here.
func (m *Memory) RevokeDevice(id uuid.UUID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.devices[id]
	if d == nil {
		return fmt.Errorf("device %s does not exist", id)
	}
	d.record.Revoked = true
	d.record.Rev++
	for _, c := range m.chains {
		if c.device == d && bytes.Compare(c.inc[:], d.record.Trusted.Incarnation[:]) > 0 {
			d.record.Trusted = c.last().Ref
		}
	}
	d.record.RevokedAt = m.cfg.Now().UnixMilli()
	return m.tellLocked(d.event, subject{kind: syncproto.RecordDevice, id: id})
}

// NewEpoch does what an operator does after a restore: cursors of before are of
// another history.
func (m *Memory) NewEpoch() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	tag, err := randomTag(m.cfg.Rand)
	m.epoch = uuid.NewSHA1(m.epoch, binary.BigEndian.AppendUint64(nil, uint64(tag)))
	return err
}

// Trim forgets an event's log up to its head.
func (m *Memory) Trim(event syncproto.EventNo) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	ev := m.events[event]
	if ev == nil {
		return fmt.Errorf("event %d does not exist", event)
	}
	ev.log.trim(ev.log.head())
	return nil
}

// Seal numbers an event's committed changes, and says how many there were.
func (m *Memory) Seal(event syncproto.EventNo) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ev := m.events[event]
	if ev == nil {
		return 0, fmt.Errorf("event %d does not exist", event)
	}
	return sealLocked(m, ev, ev.log.visible())
}

// Head is the position of an event's newest sealed change.
func Head(m *Memory, event syncproto.EventNo) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	ev := m.events[event]
	if ev == nil {
		return 0
	}
	return ev.log.head()
}

// Quarantined lists the pushes that could not be read.
func (m *Memory) Quarantined() []Quarantined {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.kept)
}

// Entries lists what is stored of a journal, in order.
func (m *Memory) Entries(incarnation uuid.UUID) []syncproto.EntryRecord {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.chains[incarnation]
	if c == nil {
		return nil
	}
	out := make([]syncproto.EntryRecord, len(c.entries))
	for i, e := range c.entries {
		out[i] = *e
	}
	return out
}

// Attendance counts an event's check-ins.
func (m *Memory) Attendance(event syncproto.EventNo) Attendance {
	m.mu.Lock()
	defer m.mu.Unlock()
	ev := m.events[event]
	if ev == nil {
		return Attendance{}
	}
	return ev.attendance()
}

// tellLocked commits changes that need no transaction of their own.
func (m *Memory) tellLocked(ev *event, subjects ...subject) error {
	for _, s := range subjects {
		ev.log.outbox = append(ev.log.outbox, ev.log.assign(s))
	}
	return m.committedLocked(ev)
}

func (m *Memory) committedLocked(ev *event) error {
	if m.cfg.ManualSeal {
		return nil
	}
	_, err := sealLocked(m, ev, ev.log.visible())
	return err
}

func sealLocked(m *Memory, ev *event, rows []outboxRow) (int, error) {
	tag, err := randomTag(m.cfg.Rand)
	if err != nil {
		return 0, err
	}
	n := ev.log.seal(rows, tag)
	if n > 0 {
		close(ev.grown)
		ev.grown = make(chan struct{})
	}
	return n, nil
}

func randomTag(random io.Reader) (int64, error) {
	var b [8]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return 0, fmt.Errorf("tag: %w", err)
	}
	return int64(binary.BigEndian.Uint64(b[:]) >> 1), nil
}
