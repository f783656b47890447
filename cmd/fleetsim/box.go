package main

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
	"gatehouse/syncproto/wire"
)

// box is one appliance: disks, a clock, a cable, and the shipped node in a shell
// that keeps the contracts of gate/engine, gate/syncer and gate's session.
type box struct {
	w    *world
	no   int
	name string
	enrolled
	kept    kept
	jfile   file[commit]
	rfile   file[write]
	aside   []file[commit]
	carried carryStore
	chunks  map[syncproto.Hash][]byte
	medium  medium
	clock   clock
	noRTC   bool // the clock begins at the factory's date with each power-up
	line    line
	on      bool
	boot    int // counts starts and ends, so that what belongs to an earlier life is told
	asleep  time.Duration

	node    *node.Node
	journal *journal
	past    []*journal // what can be read of those that were set aside
	replica *replica
	fileNo  int // of the replica file in this life
	client  caller
	flights map[node.CallKind]*flight
	conns   map[uuid.UUID]*conn
	held    map[uint64]waiting // scans that wait for peers
	answers []answer
	stall   stall
	wake    int
	watch   *watch
}

// enrolled is what central made of a box.
type enrolled struct {
	device  uuid.UUID
	key     ed25519.PrivateKey
	hashKey []byte
	event   syncproto.EventNo
	stream  uuid.UUID
	central uuid.UUID
	pinned  syncproto.Hash
}

// kept is the identity file, which is replaced whole.
type kept struct {
	trust     syncproto.TrustBundle
	ratchet   string
	withdrawn string
}

// image is a copy of a box's medium.
type image struct {
	enrolled
	kept    kept
	jfile   file[commit]
	rfile   file[write]
	aside   []file[commit]
	carried carryStore
}

// waiting is a scan that was not answered yet.
type waiting struct {
	lane  int
	asked time.Duration
}

// answer is a scan that waits for the disk.
type answer struct {
	waiting
	decision node.Decision
	seq      uint64
	at       time.Duration // when it was decided
}

// lanes are those of every box.
func lanes() []node.LaneConfig {
	return []node.LaneConfig{
		{Name: "in", Zone: syncprototest.ZoneMain, Direction: syncproto.In},
		{Name: "out", Zone: syncprototest.ZoneMain, Direction: syncproto.Out},
		{Name: "stage", Zone: syncprototest.ZoneStage, Direction: syncproto.In},
	}
}

// after has fn called in this life of the box, when its process runs.
func (b *box) after(d time.Duration, fn func()) {
	life := b.boot
	var run func()
	run = func() {
		switch {
		case b.boot != life:
		case b.asleep > b.w.now:
			b.w.at(b.asleep, run)
		default:
			fn()
		}
	}
	b.w.after(d, run)
}

// start begins a life: everything is built from what is on the medium, as after a
// power cut.
func (b *box) start() {
	b.boot++
	b.on = true
	j, err := journalOf(b)
	if err != nil {
		b.say("cannot open its journal: %v", err)
		b.on = false
		b.after(reopenPause, b.start)
		return
	}
	b.journal, b.past = j, nil
	var marks []node.Watermark
	for i := range b.aside {
		b.past = append(b.past, salvage(&b.aside[i], b.device, b.key))
		marks = append(marks, b.past[i].watermarks()...)
	}
	cfg := node.Config{
		Device: b.device, Event: b.event, Stream: b.stream, Pinned: b.pinned, Trust: &b.kept.trust, HashKey: b.hashKey,
		Lanes: lanes(), Incarnation: j.current().id, NextSeq: j.seq + 1, Last: j.lastT, Parent: j.parent, Journal: append(marks, j.watermarks()...),
		Ratchet: b.kept.ratchet, Withdrawn: b.kept.withdrawn, Jitter: b.w.rng.Float64, App: "fleetsim",
		Mesh: b.w.plan.mesh, MeshTiming: meshTiming(), Carried: b.carried.parts(),
	}
	sells(b, &cfg)
	sabotageConfig(b, &cfg)
	b.node, err = node.New(cfg)
	b.w.must(err)
	b.eachEntry(sabotageOwn(b))
	b.fileNo = 0
	b.flights, b.conns, b.held = map[node.CallKind]*flight{}, map[uuid.UUID]*conn{}, map[uint64]waiting{}
	b.watch = newWatch(b)
	loadReplica(b)
	b.client = plainCaller{b}
	if b.w.plan.signed {
		b.client, err = wire.NewClient(wire.ClientConfig{
			Do: do, Device: b.device, Key: b.key, Central: b.central, Now: b.clock.now, Rand: b.w.random,
			Trust: func() *syncproto.TrustBundle {
				if t := b.node.Trust(); t != nil {
					return t
				}
				return &b.kept.trust
			},
		})
		b.w.must(err)
	}
	for _, p := range b.carried.file.read() {
		b.node.Hear(&p)
	}
	if b.w.plan.mesh {
		b.after(0, func() { dial(b) })
	}
	tend(b, false)
	b.say("starts incarnation %s", short(j.current().id))
	b.step(node.Tick{})
}

// reopenPause is the time between attempts to build a session, as in package gate.
const reopenPause = 2 * time.Second

func journalOf(b *box) (*journal, error) {
	o := opening{id: newIncarnation(b), now: b.clock.now()}
	o = sabotageOpening(b, o)
	j, err := openJournal(&b.jfile, &b.medium, b.device, b.key, o)
	if !errors.Is(err, errCorrupt) {
		return j, err
	}
	old := salvage(&b.jfile, b.device, b.key)
	if n := len(old.streams); n > 0 {
		o.parent = old.streams[n-1].last()
	}
	o.after = old.lastT
	b.w.check.dropped(b)
	b.aside = append(b.aside, b.jfile)
	b.jfile = file[commit]{}
	b.say("sets a damaged journal aside")
	return openJournal(&b.jfile, &b.medium, b.device, b.key, o)
}

// eachEntry calls fn for all that the box can tell of what it did, the oldest first.
func (b *box) eachEntry(fn func(*syncproto.Entry)) {
	for _, j := range append(slices.Clone(b.past), b.journal) {
		for _, s := range j.streams {
			for i := range s.entries {
				fn(&s.entries[i])
			}
		}
	}
}

func newIncarnation(b *box) uuid.UUID {
	b.w.births++
	return syncprototest.Incarnation(b.clock.now().UnixMilli(), b.name+" "+time.Duration(b.w.births).String())
}

// span reads entries of the box's own journals.
func (b *box) span(inc uuid.UUID, first uint64, most, mostBytes int) (req syncproto.PushRequest, err error) {
	for _, j := range append(slices.Clone(b.past), b.journal) {
		if req, err = j.span(inc, first, most, mostBytes); !errors.Is(err, errUnknown) {
			break
		}
	}
	return req, err
}

func loadReplica(b *box) {
	r, l, ok := openReplica(&b.rfile)
	if !ok {
		b.replica = nil
		return
	}
	b.replica = r
	b.watch.loaded(b.rfile.read(), false)
	b.watch.follow(0)
	b.node.Restore(b.clock.now(), *l)
}

// end is the end of a life: the process is gone, what it had written is not.
func (b *box) end() {
	for _, kind := range callKinds {
		if f := b.flights[kind]; f != nil {
			f.stop()
		}
	}
	b.flights, b.answers, b.held, b.stall.waiting = nil, nil, nil, nil
	b.boot++
	b.on = false
}

// powerCut ends a life and what its disk had not got.
func (b *box) powerCut() {
	b.end()
	b.stall.mark = syncproto.Ref{}
	b.jfile.cut(b.w.rng)
	b.rfile.cut(b.w.rng)
	b.carried.file.cut(b.w.rng)
	b.w.check.lostCarry(b)
}

// powerUp begins one. A box without a clock of its own begins far in the past.
func (b *box) powerUp() {
	if b.noRTC {
		b.clock.offset = -10 * 365 * 24 * time.Hour
	}
	if !b.on {
		b.start()
	}
}

func (b *box) say(format string, args ...any) { b.w.trace.say(b.name, format, args...) }

func short(id uuid.UUID) string { return id.String()[:13] }
