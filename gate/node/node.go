// Package node is a gate's mind: one single-threaded state machine that decides
// scans, keeps the roster and the usage of tickets in memory, and says which
// message to send to central next. It does no I/O, has no clock and starts no
// goroutine: [Node.Step] takes the time and one input, and returns what the
// shells round it should do. The shipped gate and a simulator run the same code.
//
// Goals in their order: what was shown green is never lost, so an admission
// leaves Step as an entry to journal and only becomes an answer when the shell
// reports it durable; a ticket is reserved in memory at the moment of the
// decision, so that two lanes never both admit it; nothing here ever waits.
//
// A Node is not safe for concurrent use; its owner serialises the steps. Steps
// that decide take microseconds; a page is applied in one step of at most
// syncproto.PageRecordsMax records.
package node

import (
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
	"gatehouse/syncproto/credential"
)

// DefaultGuard is the time within which a code read again on one lane is the
// same presentation.
const DefaultGuard = 3 * time.Second

// Config is what a node is born with. Everything is required unless it says
// otherwise.
type Config struct {
	Device uuid.UUID
	Event  syncproto.EventNo
	Stream uuid.UUID
	// Pinned is the fingerprint of central's root key.
	Pinned syncproto.Hash
	// Trust is the bundle in force; nil when there is none yet.
	Trust *syncproto.TrustBundle
	// HashKey makes the keyed hashes of codes.
	HashKey []byte
	Lanes   []LaneConfig
	// Guard is the same-code guard of every lane; negative switches it off.
	// Defaults to DefaultGuard.
	Guard time.Duration
	// Incarnation is the journal's open incarnation, NextSeq the number its next
	// entry gets, Last the time of the last entry of the whole journal.
	Incarnation uuid.UUID
	NextSeq     uint64
	Last        syncproto.HLC
	// Parent is the end of the incarnation before; zero on a new box.
	Parent syncproto.Position
	// Journal tells for every incarnation on this box what it holds and what
	// central has acknowledged, oldest first, the open one last.
	Journal []Watermark
	// Ratchet is the session value of the last hello; empty on a new box.
	Ratchet string
	// Withdrawn is why central withdrew this gate, as far as it was told; empty for
	// a gate in good standing. A withdrawn gate refuses every scan with device_fault
	// until central greets it again.
	Withdrawn string
	// Jitter gives numbers in [0, 1) for back-off.
	Jitter func() float64
	Timing Timing
	// Drift is how far the clock of an entry from elsewhere may be ahead of this
	// gate's to be followed. Defaults to syncproto.HLCDriftMax.
	Drift time.Duration
	// Mesh switches the conversation with peers on. Without it a gate hears no peer,
	// which the event's partition policy then governs.
	Mesh       bool
	MeshTiming MeshTiming
	// Gates are the gates of the event as they were known last, for a box without a
	// roster.
	Gates []syncproto.DeviceRecord
	// PeerAddrs are host:port at which this gate listens for its peers.
	PeerAddrs []string
	// Carried is what the carry store holds; its entries come by Hear.
	Carried []Carried
	// Home names the gate at which a ticket enters at a time, Unix milliseconds, while
	// gates cannot hear each other; ok is false while it has none. All gates have to
	// name the same. Defaults to one computed from the roster alone.
	Home func(no syncproto.TicketNo, ms int64) (home uuid.UUID, ok bool)
	// Key signs the codes of tickets that are sold here. Without one none are.
	Key ed25519.PrivateKey
	// WalkUp is what this gate keeps leased to sell.
	WalkUp []WalkUp
	// Held are the incarnations that the open journal file holds, the open one
	// included. Of those of Journal that are not among them, a damaged file holds a
	// part.
	Held []uuid.UUID
	// Sure means that the journal is known to hold every sale that this gate made.
	// Otherwise the gate sells nothing before it has heard all that central knows.
	Sure bool
	// App names the program and its version to central.
	App string
}

// LaneConfig is one physical passage.
type LaneConfig struct {
	Name      string
	Zone      string
	Direction syncproto.Direction
}

// Watermark is one incarnation of the local journal.
type Watermark struct {
	Incarnation uuid.UUID
	First       uint64 // lowest seq that is kept; 0 stands for 1
	Last        uint64 // highest seq in the journal
	Acked       uint64 // highest seq that central holds
	admitted    int64  // entries from First to Last that let somebody in
	stopped     bool   // central refuses it
}

// Node is the state machine.
type Node struct {
	cfg    Config
	hasher *credential.Hasher
	lanes  lanes
	clock  clock
	seq    uint64 // of the next entry
	broken bool   // journal failed: fail closed
	locked bool   // central revoked this device

	know   ledger
	counts Counts
	link   link

	mesh    mesh
	claims  claims
	homes   homes
	council council
	courier courier
	alarms  alarms
}

type lanes []laneState

type laneState struct {
	LaneConfig
	lane   admission.Lane
	ok     bool // the event has the lane's zone
	recent [guardRing]guarded
	next   int
}

// New makes a node without a roster: it refuses with not_ready until a
// snapshot is loaded.
func New(cfg Config) (*Node, error) {
	if cfg.Device == uuid.Nil || cfg.Stream == uuid.Nil || cfg.Incarnation == uuid.Nil || cfg.NextSeq == 0 {
		return nil, fmt.Errorf("node config lacks an identity: device %s, stream %s, incarnation %s, next seq %d",
			cfg.Device, cfg.Stream, cfg.Incarnation, cfg.NextSeq)
	}
	if cfg.Guard == 0 {
		cfg.Guard = DefaultGuard
	}
	if cfg.Drift == 0 {
		cfg.Drift = syncproto.HLCDriftMax
	}
	if cfg.Jitter == nil {
		return nil, fmt.Errorf("node config lacks a source of jitter")
	}
	n := &Node{
		cfg: cfg, hasher: credential.NewHasher(cfg.HashKey), clock: clock{last: cfg.Last, drift: cfg.Drift, errMS: errUnknownMS}, seq: cfg.NextSeq,
		know: newLedger(cfg),
		link: newLink(cfg),
		mesh: newMesh(cfg),
	}
	n.homes.n = n
	n.claims.n, n.council.n, n.alarms.n, n.courier = n, n, n, newCourier(n, cfg.Carried)
	if cfg.Withdrawn != "" {
		n.locked, n.link.fault = true, withdrawn(cfg.Withdrawn)
	}
	if cfg.Trust != nil {
		n.know.setTrust(cfg.Trust)
	}
	n.lanes = make(lanes, len(cfg.Lanes))
	for i, l := range cfg.Lanes {
		n.lanes[i] = laneState{LaneConfig: l}
	}
	return n, nil
}

// Gates are the gates of the event, as the roster has them.
func (n *Node) Gates() *Gates { return &n.know.gates }

// Input is one thing that happened: Scan, Durable, JournalBroken, ReplicaLost,
// Shown, Tick, PeerUp, PeerDown, PeerSaid, or an Answer to a Call.
type Input interface{ input() }

// Scan is a complete read on a lane, by its index in Config.Lanes.
type Scan struct {
	Lane int
	Text []byte // not kept
}

// Durable reports that the open incarnation is on disk up to Seq.
type Durable struct{ Seq uint64 }

// JournalBroken reports that an entry could not be made durable. The node fails
// closed: it refuses every scan from now on with device_fault.
type JournalBroken struct{}

// ReplicaLost reports that a replica file, by its Loaded.File, cannot be written
// any more. The roster in memory goes on serving and takes pages; a snapshot is
// asked for to build a new file.
type ReplicaLost struct{ File int }

// Shown reports that an admission whose entry is durable was shown green. The shell
// says so after the lamp, so that no count is ever ahead of it.
type Shown struct{}

// Tick reports that time passed; Output.Wake says when one is due.
type Tick struct{}

func (Scan) input()          {}
func (Durable) input()       {}
func (JournalBroken) input() {}
func (ReplicaLost) input()   {}
func (Shown) input()         {}
func (Tick) input()          {}

// Output is what the shell should do after a step.
type Output struct {
	// Decision answers a Scan. With Journal set the shell appends Entry to the
	// journal before it takes any other step, and shows the decision only when the
	// entry is durable.
	Decision Decision
	// Sale answers a Sell, under the same condition.
	Sale    Sale
	Journal bool
	Entry   syncproto.Entry
	// Notes are entries to append after Entry and before those of Settled, in their
	// order. Nobody is shown anything for them, but their Durable is waited for.
	Notes []syncproto.Entry
	// Held, when not zero, says that the Scan waits for peers: its answer comes as
	// one of Settled, in the output of a later step.
	Held    uint64
	Settled []Settled
	// Send are messages to peers, in their order, before anything else is done.
	Send []PeerSend
	// Ranges are entries to read and to send to peers.
	Ranges []PeerRange
	// Carry are entries of other gates to keep, Drop what need not be kept any
	// longer: everything of an incarnation up to a number.
	Carry []syncproto.PushRequest
	Drop  []syncproto.Ref
	// Members says that the gates to be connected to have changed; see Node.Members.
	Members bool
	// Alarms are tickets that let somebody in here and at another gate.
	Alarms []Alarm
	// Calls are messages to send. Their answers come back as inputs.
	Calls []Call
	// Store is a page to write to the replica file that StoreFile numbers; pages are
	// given in order. Where that file is no more, the page is left out: the node goes
	// on from where the next one is.
	Store     *syncproto.Page
	StoreFile int
	// Acked are positions that central holds durably.
	Acked []syncproto.Position
	// Ratchet, when not empty, is to be kept for the next hello.
	Ratchet string
	// Withdrawn, when not nil, is to be kept for Config.Withdrawn: a thief who
	// switches the box off and on must gain nothing.
	Withdrawn *string
	// Audit answers an Audit, Mended counts the tickets that a Repair changed.
	Audit  *Audited
	Mended int
	// Check, when not nil, is to be kept for Loaded.Check.
	Check *syncproto.CheckState
	// Wake is when the next Tick is due; zero for never.
	Wake time.Time
}

// Step takes one input at time now. now may jump: what orders entries never
// goes backwards.
func (n *Node) Step(now time.Time, in Input) Output {
	var out Output
	n.clock.hold(now)
	switch in := in.(type) {
	case Scan:
		n.scan(now, in, &out)
		if out.Held == 0 {
			return out // a lane waits for nothing that concerns the link
		}
	case Durable:
		n.link.durable(n.cfg.Incarnation, in.Seq)
		n.mesh.durable(n, in.Seq, &out)
	case JournalBroken:
		n.broken = true
		n.claims.retract(&out)
		n.homes.waiting = nil
	case ReplicaLost:
		n.link.lost = max(n.link.lost, in.File+1)
		n.link.needSnapshot = n.link.needSnapshot || newest(&n.link) < n.link.lost
	case Shown:
		n.link.tally.shown++
		return out // nothing to say before the next heartbeat
	case Audit:
		in.step(n, &out)
		return out
	case Repair:
		in.step(n, &out)
		return out
	case CheckNow:
		checkerOf(n, now, &out).ask()
	case Tick:
	case PeerUp:
		n.mesh.up(now, in.Device, n, &out)
	case PeerDown:
		n.mesh.down(now, in.Device, n, &out)
	case PeerSaid:
		n.mesh.said(now, in, n, &out)
	case Sell:
		sell(n, now, in, &out)
	case Return:
		giveBack(n, now, in, &out)
	case Answer:
		n.answer(now, in, &out)
	}
	n.link.next(now, n, &out)
	n.mesh.next(now, n, &out)
	return out
}
