package syncprototest

import (
	"context"
	"math"
	"slices"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// chain is one incarnation of a journal as far as it is stored.
type chain struct {
	device  *device
	inc     uuid.UUID
	entries []*syncproto.EntryRecord
}

func (c *chain) acked() uint64 { return uint64(len(c.entries)) }

// last is the watermark.
func (c *chain) last() syncproto.Position {
	if len(c.entries) == 0 {
		return syncproto.Position{Ref: syncproto.Ref{Incarnation: c.inc}}
	}
	e := c.entries[len(c.entries)-1]
	return syncproto.Position{Ref: e.Ref(), Hash: e.Hash}
}

// Push implements wire.Service.
func (s service) Push(_ context.Context, id uuid.UUID, req syncproto.PushRequest) (syncproto.PushReply, error) {
	if s.cfg.OnPush != nil {
		s.cfg.OnPush()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	owner := s.devices[req.Device]
	if owner == nil || owner.event != s.devices[id].event {
		return syncproto.PushReply{}, syncproto.Errorf(syncproto.CodeForbidden, "The chain is of a gate of another event.")
	}
	c := s.chains[req.Incarnation]
	if c == nil {
		c = &chain{device: owner, inc: req.Incarnation}
	}
	if c.device != owner {
		return syncproto.PushReply{}, syncproto.Errorf(syncproto.CodeForbidden, "The chain is of another gate.")
	}
	if err := c.continues(&req); err != nil {
		if refusal := syncproto.AsError(err); refusal.Code == syncproto.CodeFork {
			owner.quarantined = true
		}
		return syncproto.PushReply{}, err
	}
	s.chains[req.Incarnation] = c
	// What a peer carries may be of a box that is gone.
	if last := req.Entries[len(req.Entries)-1].Ref(); id == req.Device && last.Seq > c.acked() && goesOnElsewhere(s.Memory, owner, c, &req) {
		owner.quarantined = true
	}
	if err := s.tellLocked(owner.event, c.store(req.Entries)...); err != nil {
		return syncproto.PushReply{}, err
	}
	return syncproto.PushReply{Acked: c.last()}, nil
}

// continues checks that a push joins on to what is stored.
func (c *chain) continues(req *syncproto.PushRequest) error {
	if req.First > c.acked()+1 {
		e := syncproto.Errorf(syncproto.CodeGap, "Entries before %d are missing; the gate sends them first.", req.First)
		e.Expected = c.acked() + 1
		return e
	}
	if req.First > 1 && c.entries[req.First-2].Hash != req.Prev {
		return c.fork(req.First - 1)
	}
	for i := range req.Entries {
		if seq := req.Entries[i].Seq; seq <= c.acked() && c.entries[seq-1].Hash != req.Entries[i].Hash {
			return c.fork(seq)
		}
	}
	return nil
}

func (c *chain) fork(seq uint64) error {
	e := syncproto.Errorf(syncproto.CodeFork, "Entry %d is stored with other contents: two boxes write this journal.", seq)
	e.Seq, e.Hash = seq, c.entries[seq-1].Hash
	return e
}

// store adds what is new, and says what changed by it.
func (c *chain) store(entries []syncproto.Entry) []subject {
	ev := c.device.event
	var touched []syncproto.TicketNo
	var told []subject
	for i := range entries {
		if entries[i].Seq <= c.acked() {
			continue
		}
		e := &syncproto.EntryRecord{
			Entry: entries[i], Device: c.device.record.Device, Untrusted: !c.device.trusts(entries[i].Ref()),
		}
		c.entries = append(c.entries, e)
		told = append(told, subject{kind: syncproto.RecordEntry, id: c.inc, no: e.Seq})
		if e.Kind == syncproto.KindDeny {
			ev.denied++
		}
		if e.Ticket != 0 && e.Event == ev.rules.Event {
			if (e.Kind == syncproto.KindSale || e.Kind == syncproto.KindReturn) && !e.Untrusted {
				told = append(told, ev.trade(e)...)
			}
			ev.facts[e.Ticket] = append(ev.facts[e.Ticket], e)
			touched = append(touched, e.Ticket)
		}
	}
	for _, no := range touched {
		told = append(told, ev.fold(no)...)
	}
	return told
}

// trusts reports whether an entry that arrives now counts.
func (d *device) trusts(ref syncproto.Ref) bool {
	if d.record.Revoked {
		return ref.Incarnation == d.record.Trusted.Incarnation && ref.Seq <= d.record.Trusted.Seq
	}
	return !d.quarantined
}

// goesOnElsewhere reports whether a push goes on in a line that the device's
// current incarnation does not follow: another box with the same key wrote it.
// Nobody is accused while parts of the lines are not stored.
func goesOnElsewhere(m *Memory, d *device, c *chain, req *syncproto.PushRequest) bool {
	way, _ := lineOf(m, d.current, nil)
	line, beginning := lineOf(m, c.inc, &req.Entries[0])
	last := req.Entries[len(req.Entries)-1].Ref()
	switch {
	case leftBefore(m, d, last):
		return true
	case len(way) == 0 || slices.ContainsFunc(line, func(r syncproto.Ref) bool { return r.Incarnation == d.current }):
		return false
	case slices.ContainsFunc(way[1:], func(r syncproto.Ref) bool { return r.Incarnation == c.inc && last.Seq > r.Seq }):
		return true
	case slices.ContainsFunc(way, func(r syncproto.Ref) bool { return r.Incarnation == c.inc }):
		return false
	}
	return beginning || slices.ContainsFunc(line[1:], func(r syncproto.Ref) bool {
		return slices.ContainsFunc(way, func(w syncproto.Ref) bool { return w.Incarnation == r.Incarnation })
	})
}

// lineOf follows the parents of an incarnation as far as they are stored: each with
// the entry at which the next one left it. first stands in for a genesis that is
// just arriving. beginning tells that the line goes back to a box without a past.
func lineOf(m *Memory, inc uuid.UUID, first *syncproto.Entry) (line []syncproto.Ref, beginning bool) {
	at := syncproto.Ref{Incarnation: inc}
	for seen := map[uuid.UUID]bool{}; !seen[at.Incarnation]; {
		genesis := first
		if c := m.chains[at.Incarnation]; c != nil && len(c.entries) > 0 {
			genesis = &c.entries[0].Entry
		}
		if genesis == nil || genesis.Incarnation != at.Incarnation || genesis.Kind != syncproto.KindGenesis {
			break
		}
		seen[at.Incarnation] = true
		line = append(line, at)
		if at = genesis.Of; at.IsZero() {
			return line, true
		}
		if genesis.Note == syncproto.NoteSalvaged { // where it ended, nobody can say
			at.Seq = math.MaxUint64
		}
	}
	if len(line) > 0 {
		line = append(line, at) // not stored, but named
	}
	return line, false
}

// leftBefore reports whether every genesis that follows an incarnation left it
// before an entry. A box that was restarted leaves nothing behind.
func leftBefore(m *Memory, d *device, entry syncproto.Ref) bool {
	var left uint64
	for _, c := range m.chains {
		if c.device != d || len(c.entries) == 0 {
			continue
		}
		g := &c.entries[0].Entry
		if g.Kind == syncproto.KindGenesis && g.Of.Incarnation == entry.Incarnation && g.Note != syncproto.NoteSalvaged {
			left = max(left, g.Of.Seq)
		}
	}
	return left > 0 && entry.Seq > left
}
