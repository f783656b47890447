package syncprototest

import (
	"context"

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
			Entry: entries[i], Device: c.device.record.Device, Untrusted: c.device.record.Revoked || c.device.quarantined,
		}
		c.entries = append(c.entries, e)
		told = append(told, subject{kind: syncproto.RecordEntry, id: c.inc, no: e.Seq})
		if e.Kind == syncproto.KindDeny {
			ev.denied++
		}
		if e.Ticket != 0 && e.Event == ev.rules.Event {
			ev.facts[e.Ticket] = append(ev.facts[e.Ticket], e)
			touched = append(touched, e.Ticket)
		}
	}
	for _, no := range touched {
		told = append(told, ev.fold(no)...)
	}
	return told
}
