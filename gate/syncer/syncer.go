// Package syncer is the network shell round a gate's node: it carries the node's
// calls to central and the answers back, and keeps the replica file up with the
// pages that the node has applied. It decides nothing.
//
// Each conversation runs in a goroutine of its own, so that a push that hangs
// never delays a page. Everything that touches a file goes through one queue in
// the order in which the node asked for it.
package syncer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"gatehouse/gate/node"
	"gatehouse/gate/replica"
	"gatehouse/gate/shelf"
	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// Journal is what the syncer needs of the journal; *journal.Journal is one.
type Journal interface {
	Range(ctx context.Context, inc uuid.UUID, first uint64, maxEntries, maxBytes int) (syncproto.PushRequest, error)
	Rewind(ctx context.Context, p syncproto.Position) error
}

// Carried is what the syncer needs of the entries that are kept for other gates;
// *carry.Store is one.
type Carried interface {
	Range(ctx context.Context, inc uuid.UUID, first uint64) (syncproto.PushRequest, error)
}

// Vault opens the holders that the syncer stores; *vault.Vault is one, but for
// Deliver, which has to unseal. Its methods must not block for long.
type Vault interface {
	// Deliver takes an event's vault key as central sealed it to this gate.
	Deliver(sealed []byte)
	// Renew is told that the replica is another file, whether it has holders, and
	// whether it has all of them.
	Renew(held, whole bool)
	// Learn takes records that the replica has stored.
	Learn(records []syncproto.Record)
	// Whole is told that the replica has all holders now.
	Whole()
}

// Config is what a Syncer is made of. Everything is required unless it says
// otherwise.
type Config struct {
	Client *wire.Client
	Feed   func(node.Input)
	// Ask has the node take an input and gives what came of it.
	Ask     func(node.Input) node.Output
	Journal Journal
	// Carried has entries of other gates; needed where the node is told of any.
	Carried Carried
	Stream  uuid.UUID
	Event   syncproto.EventNo
	// Check is how the last comparison with central ended, as the replica had it.
	Check syncproto.CheckState
	// Trust is the bundle in force.
	Trust func() *syncproto.TrustBundle
	// ReplicaConfig says where the replica file is.
	ReplicaConfig replica.Config
	// Replica is the open replica; nil when there is none yet.
	Replica *replica.Replica
	// ChunkDir keeps the chunks of an unfinished snapshot.
	ChunkDir string
	// Shelf, whose folder ChunkDir then is, keeps what central signed for peers; nil
	// for a gate without a mesh.
	Shelf *shelf.Shelf
	// Neighbour fetches from a peer what central signed; needed where the node
	// borrows.
	Neighbour func(ctx context.Context, from uuid.UUID, f syncproto.Fetch) ([]byte, error)
	// Vitals are how the box is, for the heartbeat.
	Vitals func(ctx context.Context) Vitals
	// SaveRatchet keeps the value for the next hello, and Ratchet is the one that was
	// kept last. A hello shows what is kept: central then hears of no value that a
	// restart could take back.
	SaveRatchet func(string) error
	Ratchet     func() string
	// SaveWithdrawn keeps why central withdrew this gate; empty if it took it back.
	SaveWithdrawn func(string) error
	// Vault opens holders. Defaults to none: they are stored, and stay closed.
	Vault Vault
	// Jitter gives numbers in [0, 1) for back-off. Defaults to math/rand/v2.
	Jitter func() float64
	Now    func() time.Time
	Logger *slog.Logger
	// Timeout bounds one exchange, a long poll's wait not counted. Defaults to
	// DefaultTimeout.
	Timeout time.Duration
}

// DefaultTimeout is the default of Config.Timeout.
const DefaultTimeout = 15 * time.Second

// Vitals is how a box is; 0 stands for not known.
type Vitals struct {
	FreeBytes int64         // on the disk of the data directory
	Fsync     time.Duration // 99th percentile of recent group commits
	Oldest    time.Duration // age of the oldest entry that central does not hold
}

// storesMax bounds the file work that waits; beyond it the downlink waits.
const storesMax = 16

// callsMax is one place for each conversation: the node has one call of a kind
// under way at most.
const callsMax = node.CallKinds

// Syncer is made by New and works while Run does.
type Syncer struct {
	*files
	// Holders are the people on the tickets.
	Holders *Holders

	cfg     Config
	calls   chan node.Call
	seq     atomic.Int64 // of the page that was stored last
	failing [callsMax]atomic.Bool
}

// New makes a Syncer.
func New(cfg Config) *Syncer {
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Jitter == nil {
		cfg.Jitter = rand.Float64
	}
	if cfg.Vault == nil {
		cfg.Vault = noVault{}
	}
	s := &Syncer{cfg: cfg, files: newFiles(cfg), calls: make(chan node.Call, callsMax)}
	s.Holders = &Holders{s: s, want: make(chan struct{}, 1)}
	s.stored = func(p *syncproto.Page) {
		s.shelve(p)
		s.cfg.Vault.Learn(p.Records)
	}
	s.renewed = s.Holders.renewed
	return s
}

// Act takes what a step asks for. After Run has ended it does nothing.
func (s *Syncer) Act(out node.Output) {
	if out.Ratchet != "" {
		s.store(func(context.Context) { s.logged("keep session value", s.cfg.SaveRatchet(out.Ratchet)) })
	}
	if out.Withdrawn != nil {
		s.store(func(context.Context) {
			s.logged("keep that this gate was withdrawn", s.cfg.SaveWithdrawn(*out.Withdrawn))
		})
	}
	for _, p := range out.Acked {
		s.store(func(ctx context.Context) { s.logged("keep watermark", s.cfg.Journal.Rewind(ctx, p)) })
	}
	if out.Store != nil {
		s.store(func(ctx context.Context) { s.apply(ctx, out.Store, out.StoreFile) })
	}
	if out.Check != nil {
		s.store(func(ctx context.Context) { s.keepCheck(ctx, *out.Check) })
	}
	for _, c := range out.Calls {
		select {
		case s.calls <- c:
		case <-s.done:
		}
	}
}

// Run carries calls until ctx ends; then it waits for those under way and closes
// the replica.
func (s *Syncer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { s.work(ctx) })
	if s.cfg.Shelf != nil {
		wg.Go(func() { s.restock(ctx) })
	}
	wg.Go(func() { s.Holders.bring(ctx) })
	for {
		select {
		case <-ctx.Done():
			close(s.done)
			wg.Wait()
			s.losses.Wait()
			if s.replica != nil {
				return s.replica.Close()
			}
			return nil
		case c := <-s.calls:
			wg.Go(func() { s.cfg.Feed(s.carry(ctx, c)) })
		}
	}
}

// carry makes one exchange with central.
func (s *Syncer) carry(ctx context.Context, c node.Call) node.Answer {
	a := node.Answer{Call: c, Sent: s.cfg.Now()}
	timeout := s.cfg.Timeout
	switch c.Kind {
	case node.CallChanges:
		timeout += time.Duration(c.Changes.WaitMS) * time.Millisecond
	case node.CallSnapshot:
		timeout = snapshotMax
	case node.CallBorrow:
		if c.Borrow.Snapshot {
			timeout = snapshotMax
		}
	case node.CallCheck:
		timeout = checkMax
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	a.Err = s.exchange(ctx, c, &a)
	a.Received = s.cfg.Now()
	s.tell(c.Kind, a.Err)
	return a
}

// tell logs the first failure of a row and its end for the operator, and each
// further one for whoever looks closer.
func (s *Syncer) tell(kind node.CallKind, err error) {
	switch {
	case errors.Is(err, context.Canceled):
	case kind == node.CallBorrow:
		if err != nil {
			s.cfg.Logger.Debug("nothing to borrow", "err", err)
		}
	case err == nil:
		if s.failing[kind].Swap(false) {
			s.cfg.Logger.Info("central answers again", "call", kind.String())
		}
	case s.failing[kind].Swap(true):
		s.cfg.Logger.Debug("central still fails", "call", kind.String(), "err", err)
	case isRevoked(err):
		s.cfg.Logger.Error("the organiser withdrew this gate; its lanes refuse", "err", err)
	default:
		s.cfg.Logger.Warn("central fails; lanes go on, this is tried again", "call", kind.String(), "err", err)
	}
}

func isRevoked(err error) bool {
	refusal := syncproto.AsError(err)
	return refusal != nil && refusal.Code == syncproto.CodeRevoked
}

func (s *Syncer) exchange(ctx context.Context, c node.Call, a *node.Answer) error {
	switch c.Kind {
	case node.CallHello:
		req := c.Hello
		req.Ratchet = s.cfg.Ratchet()
		r, err := s.cfg.Client.Hello(ctx, req)
		a.Hello = &r
		if err == nil && len(r.VaultKey) > 0 {
			// In the order of what is kept of central's answers: one that withdrew this
			// gate must not come after one that greets it.
			s.store(func(context.Context) { s.cfg.Vault.Deliver(r.VaultKey) })
		}
		return err
	case node.CallSnapshot:
		loaded, err := loader{s, s.cfg.Client}.load(ctx, s.cfg.Now().UnixMilli())
		a.Loaded = loaded
		return err
	case node.CallBorrow:
		return s.borrow(ctx, c.Borrow, a)
	case node.CallChanges:
		p, err := s.cfg.Client.Changes(ctx, c.Changes)
		a.Page = &p
		return err
	case node.CallPush:
		return s.push(ctx, c.Push, a)
	case node.CallHeartbeat:
		v := s.cfg.Vitals(ctx)
		req := c.Heartbeat
		req.FreeBytes, req.FsyncP99US, req.OldestMS = v.FreeBytes, v.Fsync.Microseconds(), v.Oldest.Milliseconds()
		r, err := s.cfg.Client.Heartbeat(ctx, req)
		a.Heartbeat = &r
		return err
	case node.CallLease:
		r, err := s.cfg.Client.Lease(ctx, c.Lease)
		a.Lease = &r
		return err
	case node.CallCheck:
		report, err := compare(ctx, s)
		a.Check = report
		return err
	}
	return fmt.Errorf("unknown call %d", c.Kind)
}

func (s *Syncer) push(ctx context.Context, r node.PushRange, a *node.Answer) error {
	var req syncproto.PushRequest
	var err error
	if r.Carried {
		req, err = s.cfg.Carried.Range(ctx, r.Incarnation, r.First)
	} else {
		req, err = s.cfg.Journal.Range(ctx, r.Incarnation, r.First,
			min(r.Limits.PushEntries, syncproto.PushEntriesMax), min(r.Limits.PushBytes, syncproto.PushBytesMax))
	}
	if err != nil {
		return fmt.Errorf("read journal to push: %w", err)
	}
	reply, err := s.cfg.Client.Push(ctx, req)
	a.Push = &reply
	return err
}
