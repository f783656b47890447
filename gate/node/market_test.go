package node_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
	"gatehouse/syncproto/syncprototest"
	"gatehouse/syncproto/wire"
)

const marketQuota = 12

// market is a central with a quota, and gates that sell from it while cables are
// pulled, boxes crash and disks are set back. The nodes are the shipped ones.
type market struct {
	t      *rapid.T
	m      *syncprototest.Memory
	s      wire.Service
	rules  syncproto.Rules
	shop   syncprototest.Shop
	now    time.Time
	stalls []*stall
	// handed are the codes that were given to guests, by number, with the lease.
	handed map[syncproto.TicketNo]handout
	lost   map[syncproto.TicketNo]bool // sales that went with a disk, and that nobody else has
	unseen map[syncproto.TicketNo]bool // of these, where nobody can see that the disk was set back
}

type handout struct {
	hash  syncproto.CodeHash
	lease uuid.UUID
}

// disk is what of a stall survives a power cut.
type disk struct {
	incs     []uuid.UUID
	journal  []syncproto.Entry // hashed
	ratchet  string
	records  []syncproto.Record
	cursor   string
	position int64
}

func (d disk) copied() disk {
	d.incs, d.journal, d.records = slices.Clone(d.incs), slices.Clone(d.journal), slices.Clone(d.records)
	return d
}

// stall is a gate that sells.
type stall struct {
	w       *market
	key     ed25519.PrivateKey
	reply   syncproto.EnrolReply
	n       *node.Node
	disk    disk
	image   *disk
	mark    syncproto.Ref // in memory that a power cut clears
	calls   []node.Call
	boots   int
	hellos  int64
	plugged bool
}

func newMarket(t *rapid.T) *market {
	w := &market{t: t, now: start, handed: map[syncproto.TicketNo]handout{}, lost: map[syncproto.TicketNo]bool{}, unseen: map[syncproto.TicketNo]bool{}}
	var err error
	w.m, err = syncprototest.NewMemory(syncprototest.MemoryConfig{
		Name: "market", Now: func() time.Time { return w.now }, Rand: rand.NewChaCha8([32]byte{1}), Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	w.s = w.m.Service()
	w.rules, err = w.m.CreateEvent(syncprototest.Rules("Market"))
	require.NoError(t, err)
	w.shop, err = w.m.Shop(w.rules.Event)
	require.NoError(t, err)
	w.shop.SetQuota(syncprototest.TypeSingle, marketQuota)
	for i := range 2 {
		s := &stall{w: w, key: syncprototest.Key(fmt.Sprint("stall ", i)), plugged: true}
		s.reply, err = syncprototest.Database{Memory: w.m}.Adopt(w.rules.Event, fmt.Sprint("Stall ", i), s.key.Public().(ed25519.PublicKey))
		require.NoError(t, err)
		w.stalls = append(w.stalls, s)
		s.boot()
	}
	return w
}

// boot starts the stall from its disk, as after a crash of the program.
func (s *stall) boot() {
	s.boots++
	inc := syncprototest.Incarnation(s.w.now.UnixMilli()+int64(s.boots), s.reply.Device.String())
	s.disk.incs = append(s.disk.incs, inc)
	s.calls = nil
	sure := slices.ContainsFunc(s.disk.journal, func(e syncproto.Entry) bool { return e.Ref() == s.mark })
	s.append(syncproto.Entry{Incarnation: inc, Seq: 1, Kind: syncproto.KindGenesis, At: s.w.now.UnixMilli()})
	cfg := node.Config{
		Device: s.reply.Device, Event: s.w.rules.Event, Stream: s.w.rules.Stream, Pinned: syncproto.Fingerprint(s.reply.Trust.Root), Trust: &s.reply.Trust,
		HashKey: s.reply.HashKey, Incarnation: inc, NextSeq: 2, Ratchet: s.disk.ratchet, Jitter: func() float64 { return 0 },
		Key: s.key, Held: slices.Clone(s.disk.incs), Sure: sure, WalkUp: []node.WalkUp{{Type: "single", Count: 4}},
	}
	for _, i := range s.disk.incs {
		cfg.Journal = append(cfg.Journal, node.Watermark{Incarnation: i, Last: s.last(i)})
	}
	var err error
	s.n, err = node.New(cfg)
	require.NoError(s.w.t, err)
	for i := range s.disk.journal {
		s.n.Own(&s.disk.journal[i])
	}
	if s.disk.cursor != "" {
		s.n.Restore(s.w.now, *s.loaded())
	}
	s.step(node.Tick{})
}

func (s *stall) last(inc uuid.UUID) (n uint64) {
	for i := range s.disk.journal {
		if e := &s.disk.journal[i]; e.Incarnation == inc {
			n = max(n, e.Seq)
		}
	}
	return n
}

func (s *stall) append(e syncproto.Entry) {
	var prev syncproto.Hash
	for i := range s.disk.journal {
		if s.disk.journal[i].Incarnation == e.Incarnation {
			prev = s.disk.journal[i].Hash
		}
	}
	e.Hash = e.ChainHash(prev)
	s.disk.journal = append(s.disk.journal, e)
}

func (s *stall) loaded() *node.Loaded {
	l := &node.Loaded{Cursor: s.disk.cursor, Seq: s.disk.position, ServerMS: s.w.now.UnixMilli()}
	for i := range s.disk.records {
		l.Add(&s.disk.records[i])
	}
	return l
}

// remember keeps the roster of now in the replica file.
func (s *stall) remember() {
	at := syncprototest.View{Memory: s.w.m}.Head(s.w.rules.Event)
	s.disk.records, s.disk.cursor, s.disk.position = syncprototest.View{Memory: s.w.m}.Records(s.w.rules.Event), at.String(), at.Seq
}

// step feeds the node and makes durable what it says; calls wait for sync.
func (s *stall) step(in node.Input) node.Output {
	out := s.n.Step(s.w.now, in)
	if out.Journal {
		s.append(out.Entry)
		s.calls = append(s.calls, s.n.Step(s.w.now, node.Durable{Seq: out.Entry.Seq}).Calls...)
	}
	if out.Ratchet != "" {
		s.disk.ratchet = out.Ratchet
	}
	if out.Store != nil {
		s.remember()
	}
	s.calls = append(s.calls, out.Calls...)
	return out
}

// sync answers the calls that are under way; deaf loses the answers.
func (s *stall) sync(deaf bool) {
	calls := s.calls
	s.calls = nil
	for _, c := range calls {
		a := node.Answer{Call: c, Sent: s.w.now, Received: s.w.now, Err: errors.New("no link")}
		if s.plugged {
			a.Err = s.ask(c, &a)
		}
		if deaf {
			a = node.Answer{Call: c, Sent: s.w.now, Received: s.w.now, Err: errors.New("the answer was lost")}
		}
		s.step(a)
	}
	if st := s.n.Status(s.w.now); st.Sure {
		s.mark = s.disk.journal[len(s.disk.journal)-1].Ref()
	}
}

func (s *stall) ask(c node.Call, a *node.Answer) (err error) {
	ctx, id := context.Background(), s.reply.Device
	switch c.Kind {
	case node.CallHello:
		s.hellos++
		r, e := s.w.s.Hello(ctx, id, c.Hello, s.w.now.UnixMilli()*1000+s.hellos)
		a.Hello, err = &r, e
	case node.CallSnapshot:
		s.remember()
		a.Loaded = s.loaded()
	case node.CallChanges:
		c.Changes.WaitMS = 0
		r, e := s.w.s.Changes(ctx, id, c.Changes)
		a.Page, err = &r, e
	case node.CallPush:
		r, e := s.w.s.Push(ctx, id, s.push(c.Push))
		a.Push, err = &r, e
	case node.CallHeartbeat:
		r, e := s.w.s.Heartbeat(ctx, id, c.Heartbeat)
		a.Heartbeat, err = &r, e
	case node.CallLease:
		r, e := s.w.s.Lease(ctx, id, c.Lease)
		a.Lease, err = &r, e
	}
	return err
}

func (s *stall) push(r node.PushRange) syncproto.PushRequest {
	req := syncproto.PushRequest{Device: s.reply.Device, Incarnation: r.Incarnation, First: r.First}
	for _, e := range s.disk.journal {
		switch {
		case e.Incarnation != r.Incarnation:
		case e.Seq < r.First:
			req.Prev = e.Hash
		default:
			req.Entries = append(req.Entries, e)
		}
	}
	return req
}

// sell hands a code to a guest.
func (s *stall) sell() {
	out := s.step(node.Sell{Type: "single"})
	if out.Sale.Refused != "" {
		return
	}
	if s.mark = out.Entry.Ref(); !s.n.Status(s.w.now).Sure {
		s.mark = syncproto.Ref{}
	}
	n := out.Sale.Ticket
	if before, twice := s.w.handed[n]; twice {
		require.True(s.w.t, s.w.unseen[n], "number %d was sold twice: %v", n, before)
	}
	delete(s.w.lost, n)
	delete(s.w.unseen, n)
	s.w.handed[n] = handout{hash: credential.NewHasher(s.reply.HashKey).Sum([]byte(out.Sale.Code)), lease: out.Entry.Of.Incarnation}
}

// setBack puts the image in place of the disk, with the box off meanwhile.
func (s *stall) setBack() {
	if s.image == nil {
		return
	}
	kept := func(e syncproto.Entry) bool {
		return slices.ContainsFunc(s.image.journal, func(k syncproto.Entry) bool { return k.Ref() == e.Ref() })
	}
	told := func(e syncproto.Entry) bool {
		return syncprototest.View{Memory: s.w.m}.Watermark(e.Incarnation).Seq >= e.Seq
	}
	seen := slices.ContainsFunc(s.disk.journal, func(e syncproto.Entry) bool { return !kept(e) && told(e) })
	for _, e := range s.disk.journal {
		if e.Kind == syncproto.KindSale && !kept(e) && !told(e) {
			s.w.lost[e.Ticket], s.w.unseen[e.Ticket] = true, !seen
		}
	}
	s.disk, s.mark = s.image.copied(), syncproto.Ref{}
	s.boot()
}

// check is the invariant, at each step.
func (w *market) check() {
	account, sum := w.shop.Account(syncprototest.TypeSingle), 0
	for _, b := range w.shop.Leases() {
		sum += b.Outstanding()
	}
	for _, r := range (syncprototest.View{Memory: w.m}).Records(w.rules.Event) {
		if r.Ticket != nil && (r.Ticket.Status == syncproto.StatusPaid || r.Ticket.Status == syncproto.StatusUnpaid) {
			sum++
		}
	}
	require.Equal(w.t, account.Used, sum)
	require.LessOrEqual(w.t, sum, marketQuota)
}

// tick is time that passed.
var tick = node.Tick{}

func (s *stall) giveBack(lease uuid.UUID) { s.step(node.Return{Lease: lease}) }

// add imports tickets, or none.
func (w *market) add(n int) {
	tx, err := w.m.Begin(w.rules.Event)
	require.NoError(w.t, err)
	tx.Add(syncprototest.TypeSingle, n)
	_ = tx.Commit() // the quota may have no place for them
}

// cancel cancels the first ticket that is not.
func (w *market) cancel() {
	for _, r := range (syncprototest.View{Memory: w.m}).Records(w.rules.Event) {
		if r.Ticket != nil && r.Ticket.Status == syncproto.StatusPaid {
			tx, err := w.m.Begin(w.rules.Event)
			require.NoError(w.t, err)
			tx.SetStatus(r.Ticket.No, syncproto.StatusCancelled)
			require.NoError(w.t, tx.Commit())
			return
		}
	}
}
