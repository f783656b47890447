package node_test

import (
	"crypto/ed25519"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
)

// venue is nodes on one network. Messages wait until the test lets them through,
// in the order in which each link carries them.
type venue struct {
	t     *testing.T
	now   time.Time
	gates []*box
	cut   map[[2]int]bool // links that carry nothing, from and to
}

// box is a node with what its shells would keep for it: a journal that is durable
// when the test says so, a carry store, and what was answered.
type box struct {
	v       *venue
	index   int
	device  uuid.UUID
	inc     uuid.UUID
	n       *node.Node
	journal []syncproto.Entry
	past    map[uuid.UUID][]syncproto.Entry
	synced  int  // entries that are durable
	slow    bool // a note is durable when the test says so, and not at once
	carried []syncproto.PushRequest
	dropped []syncproto.Ref
	outbox  map[int][]syncproto.PeerMessage
	answers map[uint64]node.Settled
	alarms  []node.Alarm
	calls   []node.Call
}

func deviceNo(i int) uuid.UUID {
	return uuid.MustParse(fmt.Sprintf("01890000-0000-7000-8000-0000000001%02x", i))
}

func incarnationNo(i, opening int) uuid.UUID {
	return uuid.MustParse(fmt.Sprintf("01890000-0000-7000-8000-00000000%02x%02x", opening, i))
}

// newVenue has n gates that hear each other and know the same roster.
func newVenue(t *testing.T, n int, policy syncproto.Policy) *venue {
	v := &venue{t: t, now: start, cut: map[[2]int]bool{}}
	for i := range n {
		v.gates = append(v.gates, &box{v: v, index: i, device: deviceNo(i)})
	}
	for _, b := range v.gates {
		b.boot(1, policy)
	}
	for _, b := range v.gates {
		for _, o := range v.gates {
			if o != b {
				b.step(node.PeerUp{Device: o.device})
			}
		}
	}
	v.deliver()
	return v
}

// boot starts a node from what is durable, as the given opening of its journal.
func (b *box) boot(opening int, policy syncproto.Policy) {
	b.outbox, b.answers = map[int][]syncproto.PeerMessage{}, map[uint64]node.Settled{}
	old := b.journal[:b.synced]
	b.keepPast(old)
	b.inc, b.journal, b.synced = incarnationNo(b.index, opening), nil, 0
	cfg := config()
	cfg.Device, cfg.Incarnation, cfg.NextSeq, cfg.Guard, cfg.Mesh = b.device, b.inc, 1, -1, true
	cfg.Journal = nil
	if len(old) > 0 {
		end := old[len(old)-1]
		cfg.Parent = syncproto.Position{Ref: end.Ref(), Hash: end.Hash}
		cfg.Journal, cfg.Last = append(cfg.Journal, node.Watermark{Incarnation: end.Incarnation, Last: end.Seq}), end.T
	}
	genesis := syncproto.Entry{Incarnation: b.inc, Seq: 1, Kind: syncproto.KindGenesis, T: cfg.Last + 1, At: b.v.now.UnixMilli(), Of: cfg.Parent.Ref, ParentHash: cfg.Parent.Hash}
	b.append(genesis)
	b.synced = 1
	cfg.NextSeq, cfg.Last = 2, genesis.T
	cfg.Journal = append(cfg.Journal, node.Watermark{Incarnation: b.inc, Last: 1})
	n, err := node.New(cfg)
	require.NoError(b.v.t, err)
	b.n = n
	for i := range old {
		n.Own(&old[i])
	}
	n.Restore(b.v.now, b.v.roster(policy))
	b.step(node.Tick{})
}

func (b *box) keepPast(entries []syncproto.Entry) {
	if b.past == nil {
		b.past = map[uuid.UUID][]syncproto.Entry{}
	}
	b.past[b.inc] = entries
}

// roster has tickets 1 to 50 and every gate of the venue.
func (v *venue) roster(policy syncproto.Policy) node.Loaded {
	b := trust()
	r := rules()
	r.Policy = policy
	l := node.Loaded{Rules: r, Trust: &b, Cursor: "c5", Seq: 5}
	for no := syncproto.TicketNo(1); no <= 50; no++ {
		l.Add(&syncproto.Record{Kind: syncproto.RecordTicket, Ticket: ticket(v.t, no, syncproto.StatusPaid)})
	}
	for _, g := range v.gates {
		l.Add(&syncproto.Record{Kind: syncproto.RecordDevice, Device: v.record(g.index)})
	}
	return l
}

func (v *venue) record(i int) *syncproto.DeviceRecord {
	return &syncproto.DeviceRecord{Device: deviceNo(i), Rev: 1, Name: string(rune('A' + i)), Key: key(fmt.Sprint("gate", i)).Public().(ed25519.PublicKey)}
}

func (b *box) append(e syncproto.Entry) {
	var prev syncproto.Hash
	if len(b.journal) > 0 {
		prev = b.journal[len(b.journal)-1].Hash
	}
	e.Hash = e.ChainHash(prev)
	b.journal = append(b.journal, e)
}

// step has the node take an input and does what its shells would do.
func (b *box) step(in node.Input) node.Output {
	out := b.n.Step(b.v.now, in)
	if out.Journal {
		b.append(out.Entry)
	}
	for _, e := range out.Notes {
		b.append(e)
	}
	for _, s := range out.Settled {
		if s.Journal {
			b.append(s.Entry)
		}
		b.answers[s.Held] = s
	}
	for _, s := range out.Send {
		b.post(s.To, s.Msg)
	}
	for _, r := range out.Ranges {
		if req := b.read(r); len(req.Entries) > 0 {
			b.post(r.To, syncproto.PeerMessage{Events: &req})
		}
	}
	b.carried = append(b.carried, out.Carry...)
	b.dropped = append(b.dropped, out.Drop...)
	b.alarms = append(b.alarms, out.Alarms...)
	b.calls = append(b.calls, out.Calls...)
	if len(out.Notes) > 0 && !b.slow {
		b.sync()
	}
	return out
}

func (b *box) post(to uuid.UUID, msg syncproto.PeerMessage) {
	for _, o := range b.v.gates {
		if o != b && (to == uuid.Nil || to == o.device) {
			b.outbox[o.index] = append(b.outbox[o.index], msg)
		}
	}
}

// read is entries of this box's journal, or of those it carries.
func (b *box) read(r node.PeerRange) syncproto.PushRequest {
	if old := b.past[r.Incarnation]; r.Incarnation != b.inc && r.First <= uint64(len(old)) {
		return syncproto.PushRequest{Device: b.device, Incarnation: r.Incarnation, First: r.First, Entries: old[r.First-1:]}
	}
	if r.Incarnation != b.inc {
		for _, c := range b.carried {
			if last := c.First + uint64(len(c.Entries)) - 1; c.Incarnation == r.Incarnation && c.First <= r.First && r.First <= last {
				return c
			}
		}
		return syncproto.PushRequest{}
	}
	upto := min(r.Upto, uint64(b.synced))
	if r.First > upto {
		return syncproto.PushRequest{}
	}
	return syncproto.PushRequest{Device: b.device, Incarnation: b.inc, First: r.First, Entries: append([]syncproto.Entry(nil), b.journal[r.First-1:upto]...)}
}

// sync makes the journal durable.
func (b *box) sync() {
	b.synced = len(b.journal)
	b.step(node.Durable{Seq: uint64(b.synced)})
}

// carry takes one message of a link to its end; false when none waits.
func (v *venue) carry(from, to int) bool {
	b := v.gates[from]
	if len(b.outbox[to]) == 0 {
		return false
	}
	msg := b.outbox[to][0]
	b.outbox[to] = b.outbox[to][1:]
	if !v.cut[[2]int{from, to}] {
		v.gates[to].step(node.PeerSaid{From: b.device, Msg: msg})
	}
	return true
}

// deliver lets everything through until nothing waits.
func (v *venue) deliver() {
	for busy := true; busy; {
		busy = false
		for i := range v.gates {
			for j := range v.gates {
				busy = v.carry(i, j) || busy
			}
		}
	}
}

// pass lets time go by, with ticks for everybody.
func (v *venue) pass(d time.Duration) {
	const tick = 50 * time.Millisecond
	for end := v.now.Add(d); v.now.Before(end); {
		v.now = v.now.Add(min(tick, end.Sub(v.now)))
		for _, b := range v.gates {
			b.step(node.Tick{})
		}
		v.deliver()
	}
}

// part cuts every link between two sets of gates, and tells no gate.
func (v *venue) part(left, right []int) {
	for _, i := range left {
		for _, j := range right {
			v.cut[[2]int{i, j}], v.cut[[2]int{j, i}] = true, true
		}
	}
}

// scan presents ticket no and gives the answer, which is zero while it is held;
// then token is what it is held by.
func (b *box) scan(no syncproto.TicketNo) (d node.Decision, token uint64) {
	out := b.step(node.Scan{Lane: laneIn, Text: []byte(code(b.v.t, credential.Fields{Ticket: no}))})
	return out.Decision, out.Held
}

// present presents a ticket, lets everybody answer, and gives the answer.
func (b *box) present(no syncproto.TicketNo) node.Decision {
	d, token := b.scan(no)
	if token != 0 {
		b.v.deliver()
		if _, settled := b.answers[token]; !settled {
			b.v.pass(syncproto.ClaimWaitMax)
		}
		d = b.answers[token].Decision
	}
	b.sync()
	b.v.deliver()
	return d
}
