package gate

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/uuid"

	"gatehouse/gate/engine"
	"gatehouse/gate/identity"
	"gatehouse/gate/journal"
	"gatehouse/gate/lane"
	"gatehouse/gate/node"
	"gatehouse/gate/replica"
	"gatehouse/gate/syncer"
	"gatehouse/hardware"
	"gatehouse/hardware/serialscan"
	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// Files of a data directory, beside the identity.
const (
	journalFile = "journal.db"
	replicaFile = "replica.db"
	chunkDir    = "snapshot"
)

// session is everything that depends on one opening of the journal.
type session struct {
	gate    *Gate
	journal *journal.Journal
	chains  *chains // the journal, and what is left of others
	engine  *engine.Engine
	syncer  *syncer.Syncer
	lanes   []*lane.Lane
	peers   meshwork
	client  *wire.Client
	counter *counter
}

// open builds a session from what is on disk, as after a power cut.
func (g *Gate) open(ctx context.Context) (_ *session, err error) {
	s := &session{gate: g, peers: meshwork{gate: g}}
	if s.chains, err = g.openChains(ctx); err != nil {
		return nil, err
	}
	s.journal = s.chains.open
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := s.peers.open(ctx); err != nil {
		return nil, err
	}
	mind, rep, err := g.openMind(ctx, s)
	if err != nil {
		return nil, err
	}
	s.engine, err = engine.New(engine.Config{
		Node: mind, Journal: s.journal, Stream: g.id.Get().Stream, Now: g.cfg.Now, Act: s.act, Send: s.peers.send,
	})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(s.openSyncer(rep), s.peers.join(s.engine, s.chains)); err != nil {
		return nil, err
	}
	s.counter = openCounter(g)
	return s, s.openLanes()
}

func newID() uuid.UUID {
	id, err := uuid.NewV7()
	if err != nil {
		panic(err) // the system's random source failed: no id, and so no journal, is safe
	}
	return id
}

// openMind makes the node from the journals and the replica.
func (g *Gate) openMind(ctx context.Context, s *session) (*node.Node, *replica.Replica, error) {
	cfg, err := g.nodeConfig(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	mind, err := node.New(cfg)
	if err != nil {
		return nil, nil, err
	}
	err = s.chains.Entries(ctx, func(e *syncproto.Entry) error {
		mind.Own(e)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	rep, loaded, err := loadReplica(ctx, g.replicaConfig())
	if err != nil {
		g.cfg.Logger.Warn("the replica cannot be used; asking central for a new one", "err", err)
	}
	if loaded != nil {
		mind.Restore(g.cfg.Now(), *loaded)
	}
	return mind, rep, s.peers.remember(ctx, mind)
}

func (g *Gate) nodeConfig(ctx context.Context, s *session) (node.Config, error) {
	hashKey, err := g.id.Get().OpenHashKey()
	if err != nil {
		return node.Config{}, err
	}
	marks, err := s.chains.marks(ctx)
	if err != nil {
		return node.Config{}, err
	}
	j := s.journal
	cfg := node.Config{
		Device: g.id.Get().Device, Event: g.id.Get().Event, Stream: g.id.Get().Stream, Pinned: g.id.Get().Pinned, Trust: &g.id.Get().Trust, HashKey: hashKey,
		Guard: g.cfg.Guard, Incarnation: j.Incarnation(), NextSeq: j.Last().Seq + 1, Last: j.LastT(), Parent: j.Parent(),
		Journal: marks, Ratchet: g.id.Get().Ratchet, Withdrawn: g.id.Get().Withdrawn, Jitter: g.cfg.Jitter, Timing: g.cfg.Timing, App: g.cfg.App,
	}
	cfg.Gates = g.id.Get().Gates
	if err := s.peers.configure(ctx, &cfg); err != nil {
		return node.Config{}, err
	}
	if cfg.Guard == 0 {
		cfg.Guard = -1 // to the node, 0 is the default
	}
	for _, l := range g.cfg.Lanes {
		cfg.Lanes = append(cfg.Lanes, l.LaneConfig)
	}
	cfg.Key, cfg.WalkUp = g.id.Get().Key(), g.cfg.WalkUp
	held, err := j.Watermarks(ctx)
	if err != nil {
		return cfg, fmt.Errorf("read journal: %w", err)
	}
	for _, h := range held {
		cfg.Held = append(cfg.Held, h.Incarnation)
	}
	cfg.Sure = sure(markOf(g), held)
	return cfg, nil
}

func (g *Gate) replicaConfig() replica.Config {
	return replica.Config{Path: filepath.Join(g.cfg.Dir, replicaFile)}
}

// loadReplica opens and reads the replica. Without a usable one all results are
// nil, with an error where there was a file.
func loadReplica(ctx context.Context, cfg replica.Config) (*replica.Replica, *node.Loaded, error) {
	if _, err := os.Stat(cfg.Path); errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil
	}
	rep, err := replica.Open(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	pos, err := rep.Position(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, rep.Close())
	}
	loaded := &node.Loaded{Cursor: pos.Cursor, Seq: pos.Seq, ServerMS: pos.ServerMS, Stale: pos.Stale()}
	if loaded.Check, err = rep.Check(ctx); err != nil {
		return nil, nil, errors.Join(err, rep.Close())
	}
	if err := rep.Load(ctx, func(rec *syncproto.Record) error { loaded.Add(rec); return nil }); err != nil {
		return nil, nil, errors.Join(err, rep.Close())
	}
	return rep, loaded, nil
}

func (s *session) openSyncer(rep *replica.Replica) error {
	g := s.gate
	trust := func() *syncproto.TrustBundle {
		if t := s.engine.Trust(); t != nil {
			return t
		}
		return &g.id.Get().Trust
	}
	client, err := NewClient(g.id.Get(), g.cfg, trust)
	if err != nil {
		return err
	}
	s.client = client
	cfg := syncer.Config{
		Client: client, Feed: s.engine.Feed, Ask: func(in node.Input) node.Output { return engine.Ask(s.engine, in) },
		Journal: s.chains, Stream: g.id.Get().Stream, Event: g.id.Get().Event, Trust: trust,
		Check:         s.engine.Status().Check.CheckState,
		ReplicaConfig: g.replicaConfig(), Replica: rep, ChunkDir: filepath.Join(g.cfg.Dir, chunkDir),
		Ratchet: s.kept, SaveRatchet: s.saveSession, SaveWithdrawn: s.saveWithdrawn, Vault: delivered{g.vault, g}, Jitter: g.cfg.Jitter, Vitals: s.vitals, Timeout: g.cfg.Timeout, Now: g.cfg.Now, Logger: g.cfg.Logger,
	}
	if s.peers.store != nil {
		cfg.Carried, cfg.Shelf, cfg.Neighbour = s.peers.store, s.peers.shelf, s.peers.fetch
	}
	s.syncer = syncer.New(cfg)
	return nil
}

// NewClient makes the protocol client of an enrolled gate.
func NewClient(id *identity.Identity, cfg Config, trust func() *syncproto.TrustBundle) (*wire.Client, error) {
	client, err := wire.NewClient(wire.ClientConfig{
		Do: syncer.Doer(&http.Client{Transport: syncer.Transport()}, id.Central), Device: id.Device, Key: id.Key(),
		Central: id.Trust.Central, Trust: trust, Now: cfg.Now, Rand: cfg.Rand,
	})
	if err != nil {
		return nil, fmt.Errorf("client for central: %w", err)
	}
	return client, nil
}

// EnrolClient makes the client of a box that is not a gate yet.
func EnrolClient(cfg Config) func(ed25519.PrivateKey, string) (*wire.Client, error) {
	return func(key ed25519.PrivateKey, central string) (*wire.Client, error) {
		return wire.NewClient(wire.ClientConfig{
			Do: syncer.Doer(&http.Client{Transport: syncer.Transport()}, central), Key: key, Now: cfg.Now, Rand: cfg.Rand,
		})
	}
}

// saveSession keeps what the next hello needs. A value that cannot be kept is not
// used either: a gate that showed it, and after a restart an older one, would be
// taken for a copy of itself.
func (s *session) saveSession(ratchet string) error {
	return s.gate.id.Change(func(id *identity.Identity) {
		id.Ratchet = ratchet
		if t := s.engine.Trust(); t != nil {
			id.Trust = *t
		}
		id.Gates = s.engine.Gates().Records()
	})
}

// kept is the session value that is on the disk.
func (s *session) kept() string {
	return s.gate.id.Get().Ratchet
}

// saveWithdrawn keeps that central withdrew this gate, or took it back. One that was
// withdrawn forgets names before anything else.
func (s *session) saveWithdrawn(why string) error {
	if why != "" {
		if err := s.gate.vault.Withdraw(); err != nil {
			s.gate.cfg.Logger.Error("lock names", "err", err)
		}
	}
	return s.gate.id.Change(func(id *identity.Identity) { id.Withdrawn = why })
}

func (s *session) openLanes() error {
	for i, spec := range s.gate.cfg.Lanes {
		scan, err := s.gate.scanner(spec)
		if err != nil {
			return err
		}
		s.lanes = append(s.lanes, lane.New(lane.Config{
			Name: spec.Name, Index: i, Scan: scan, Gate: s.engine, Show: s.answered,
		}))
	}
	return nil
}

func (g *Gate) scanner(spec lane.Spec) (hardware.Scanner, error) {
	cfg, err := serialscan.ParseURL(spec.Scanner)
	if err != nil {
		return nil, fmt.Errorf("lane %s: %w", spec.Name, err)
	}
	cfg.Now, cfg.Rand = g.cfg.Now, rand.Float64
	cfg.OnStatus = func(st hardware.Status) {
		if st.Problem != "" {
			g.cfg.Logger.Warn("scanner", "lane", spec.Name, "state", st.State.String(), "problem", st.Problem)
			return
		}
		g.cfg.Logger.Info("scanner", "lane", spec.Name, "state", st.State.String(), "device", st.Device)
	}
	switch {
	case cfg.Settle != 0: // the URL has its own
	case g.cfg.Settle == 0:
		cfg.Settle = -1 // to the driver, 0 is the default
	default:
		cfg.Settle = g.cfg.Settle
	}
	scan, err := serialscan.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("lane %s: %w", spec.Name, err)
	}
	return scan, nil
}

// run works until ctx ends, then closes everything in the order that loses
// nothing: lanes first, the journal last.
func (s *session) run(ctx context.Context) {
	log := s.gate.cfg.Logger
	linkCtx, stopLink := context.WithCancel(context.WithoutCancel(ctx))
	var lanes, link sync.WaitGroup
	link.Go(func() { supervise(linkCtx, log, "engine", s.engine.Run) })
	link.Go(func() {
		supervise(linkCtx, log, "prune", func(ctx context.Context) error { return s.prune(ctx, journal.Retention) })
	})
	link.Go(func() { supervise(linkCtx, log, "walk-up", s.tend) })
	link.Go(func() {
		supervise(linkCtx, log, "vault", func(ctx context.Context) error { return s.gate.vault.Run(ctx, s.syncer.Holders) })
	})
	link.Go(func() {
		if err := s.syncer.Run(linkCtx); err != nil {
			log.Warn("close replica", "err", err)
		}
	})
	if s.peers.mesh != nil {
		link.Go(func() { supervise(linkCtx, log, "mesh", s.peers.mesh.Run) })
	}
	for _, l := range s.lanes {
		lanes.Go(func() { supervise(ctx, log, "lane "+l.Name(), l.Run) })
	}
	lanes.Wait()
	stopLink()
	link.Wait()
	if err := s.close(); err != nil {
		log.Error("close journal", "err", err)
	}
}

// act does what a step asks for.
func (s *session) act(out node.Output) {
	s.peers.act(&out)
	s.syncer.Act(out)
}

// close closes files and sockets, and is all that a session needs that never ran.
func (s *session) close() error {
	return errors.Join(s.peers.close(), closeAside(s.chains.aside), s.journal.Close())
}

// scannersSettled reports that every scanner is open, or known not to be there.
func (s *session) scannersSettled() bool {
	for _, l := range s.lanes {
		if l.Status().State == hardware.StateOff {
			return false
		}
	}
	return true
}
