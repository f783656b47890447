package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"gatehouse/gate/engine"
	"gatehouse/gate/journal"
	"gatehouse/gate/node"
	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
)

// A scene is an event that exists in this process only: its keys, its rules and
// as many tickets as are asked for.
type scene struct {
	key     ed25519.PrivateKey
	stream  uuid.UUID
	hashKey []byte
	hasher  *credential.Hasher
	trust   *syncproto.TrustBundle
	rules   *syncproto.Rules
}

const sceneEvent = syncproto.EventNo(1)

func newScene() (*scene, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make keys: %w", err)
	}
	s := &scene{key: key, stream: uuid.New(), hashKey: make([]byte, 32)}
	if _, err := rand.Read(s.hashKey); err != nil {
		return nil, fmt.Errorf("make keys: %w", err)
	}
	s.hasher = credential.NewHasher(s.hashKey)
	s.trust = &syncproto.TrustBundle{Central: uuid.New(), Root: public, Keys: []syncproto.SignedKey{{Purpose: syncproto.PurposeTicket, ID: 1, Public: public}}}
	k := &s.trust.Keys[0]
	k.RootSig = ed25519.Sign(key, k.Preimage(s.trust.Central))
	s.rules = &syncproto.Rules{
		Rev: 1, Event: sceneEvent, Stream: s.stream, Name: "Bench", Timezone: "Europe/Berlin", Admits: true,
		Zones: []syncproto.Zone{{Name: "main"}},
		Types: []syncproto.TicketType{{No: 1, Key: "day", Name: "Day", Zones: []string{"main"}, EntriesTotal: 1, Reentry: syncproto.ReentryNone}},
	}
	return s, nil
}

// code signs the code of a ticket.
func (s *scene) code(n syncproto.TicketNo) ([]byte, error) {
	text, err := credential.Sign(s.key, credential.Fields{Key: 1, Event: sceneEvent, Ticket: n, Type: 1})
	return []byte(text), err
}

// codes signs those of many tickets.
func (s *scene) codes(numbers []syncproto.TicketNo) ([][]byte, error) {
	out := make([][]byte, len(numbers))
	for i, n := range numbers {
		var err error
		if out[i], err = s.code(n); err != nil {
			return nil, fmt.Errorf("sign codes: %w", err)
		}
	}
	return out, nil
}

// pick chooses different ticket numbers of 1 to n, in random order.
func pick(n, count int) []syncproto.TicketNo {
	numbers := make([]syncproto.TicketNo, count)
	for i, p := range mrand.Perm(n)[:count] {
		numbers[i] = syncproto.TicketNo(p + 1)
	}
	return numbers
}

// roster is a roster of n tickets. Those whose codes are given can be admitted;
// of all others the code hash is random, which is the same to a gate.
func (s *scene) roster(n int, numbers []syncproto.TicketNo, codes [][]byte) (node.Loaded, error) {
	loaded := node.Loaded{Rules: s.rules, Trust: s.trust, Cursor: "bench", Seq: 1}
	for i := range n {
		t := syncproto.Ticket{No: syncproto.TicketNo(i + 1), Rev: 1, Type: 1, Status: syncproto.StatusPaid}
		if _, err := rand.Read(t.Code[:]); err != nil {
			return loaded, fmt.Errorf("make a roster: %w", err)
		}
		loaded.Roster.Put(&t)
	}
	for i, no := range numbers {
		loaded.Roster.Put(&syncproto.Ticket{No: no, Rev: 2, Code: s.hasher.Sum(codes[i]), Type: 1, Status: syncproto.StatusPaid})
	}
	return loaded, nil
}

// mind makes a node with a roster, for the open incarnation of a journal.
func (s *scene) mind(device, incarnation uuid.UUID, next uint64, loaded node.Loaded) (*node.Node, error) {
	return s.mindOf(node.Config{Device: device, Incarnation: incarnation, NextSeq: next}, loaded)
}

// mindOf is mind for a node with more to it; cfg lacks what all nodes share.
func (s *scene) mindOf(cfg node.Config, loaded node.Loaded) (*node.Node, error) {
	cfg.Event, cfg.Stream, cfg.Pinned, cfg.Trust, cfg.HashKey = sceneEvent, s.stream, syncproto.Fingerprint(s.trust.Root), s.trust, s.hashKey
	cfg.Lanes = []node.LaneConfig{{Name: "N1", Zone: "main", Direction: syncproto.In}}
	cfg.Jitter, cfg.App = mrand.Float64, "gatebench"
	mind, err := node.New(cfg)
	if err != nil {
		return nil, err
	}
	mind.Restore(time.Now(), loaded)
	return mind, nil
}

// A box is a gate without a network: an engine over a node and a journal.
type box struct {
	journal *journal.Journal
	engine  *engine.Engine
}

// openBox makes a box in a folder.
func (s *scene) openBox(ctx context.Context, dir string, loaded node.Loaded) (_ *box, err error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make keys: %w", err)
	}
	device := uuid.New()
	j, err := journal.Open(ctx, journal.Config{
		Path: filepath.Join(dir, "journal.db"), Device: device, Key: key, Now: time.Now, NewID: uuid.New,
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.Close())
		}
	}()
	mind, err := s.mind(device, j.Incarnation(), j.Last().Seq+1, loaded)
	if err != nil {
		return nil, err
	}
	e, err := engine.New(engine.Config{Node: mind, Journal: j, Stream: s.stream, Now: time.Now, Act: func(node.Output) {}})
	if err != nil {
		return nil, err
	}
	return &box{journal: j, engine: e}, nil
}

// admit scans a code; an error means that it was not admitted.
func (b *box) admit(ctx context.Context, code []byte) error {
	r := b.engine.Scan(ctx, 0, code, time.Now())
	if r.Decision.Decision != node.Admit {
		return fmt.Errorf("a scan that should admit was answered %s (%s)", r.Decision.Decision, r.Reason)
	}
	return nil
}
