package main

import (
	"errors"
	"slices"
	"time"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
)

// step has the node take one input, and does what it asks for.
func (b *box) step(in node.Input) {
	now := b.clock.now()
	a, isAnswer := in.(node.Answer)
	var before node.Status
	if isAnswer {
		before = b.node.Status(now)
	}
	out := b.node.Step(now, in)
	b.watch.stamps()
	if isAnswer {
		b.watch.stepped(before, &a, &out)
	} else if said, ok := in.(node.PeerSaid); ok && (said.Msg.Claim != nil || said.Msg.Events != nil) {
		b.watch.follow(b.node.Status(now).OffsetMS)
	}
	speak(b, out.Send)
	deliver(b, &out)
}

// deliver does what a step asks for beyond messages to peers and an entry of its own.
func deliver(b *box, out *node.Output) {
	note(b, out.Notes)
	for i := range out.Settled {
		s := &out.Settled[i]
		h := b.held[s.Held]
		b.watch.decided(h.lane, &s.Decision)
		delete(b.held, s.Held)
		b.answer(h, s.Decision, s.Journal, s.Entry)
	}
	act(b, out)
}

// note writes entries that nobody is shown anything for.
func note(b *box, entries []syncproto.Entry) {
	for i := range entries {
		if _, err := b.journal.append(entries[i]); err != nil {
			b.fail(err)
			return
		}
	}
	if len(entries) > 0 {
		b.commit()
	}
}

// act does what a step asks for, but for its answers.
func act(b *box, out *node.Output) {
	if out.Ratchet != "" {
		ratchet := out.Ratchet
		b.after(b.w.between(0, 20*time.Millisecond), func() {
			b.kept.ratchet = ratchet
			if t := b.node.Trust(); t != nil {
				b.kept.trust = *t
			}
		})
	}
	if out.Withdrawn != nil {
		b.kept.withdrawn = *out.Withdrawn
	}
	for _, p := range out.Acked {
		for _, j := range append(slices.Clone(b.past), b.journal) {
			_ = j.rewind(p) // one that is not of this file is logged by the shipped gate
		}
	}
	if out.Store != nil {
		storePage(b, out.Store, out.StoreFile)
	}
	share(b, out)
	for _, c := range out.Calls {
		if !sabotageCall(b, c) {
			call(b, c)
		}
	}
	if !out.Wake.IsZero() {
		b.wake++
		n := b.wake
		b.after(max(0, out.Wake.Sub(b.clock.now())), func() {
			if b.wake == n {
				b.step(node.Tick{})
			}
		})
	}
}

// storePage writes a page to the replica file.
func storePage(b *box, p *syncproto.Page, no int) {
	if b.replica == nil || b.fileNo != no {
		return
	}
	err := b.replica.apply(p)
	if errors.Is(err, errOutOfOrder) {
		b.w.fail(7, "%s is to store a page from %d where its replica stands at %d", b.name, p.From, b.replica.seq)
	}
	if b.medium.full {
		b.say("its replica cannot be written")
		b.replica = nil
		b.rfile = file[write]{}
		b.fileNo++
		b.after(0, func() { b.step(node.ReplicaLost{File: no}) })
		return
	}
	sabotageReplica(b)
	if b.w.rng.IntN(4) == 0 {
		b.rfile.sync()
	}
}

// scan presents a ticket's code at a lane, if anybody is there to answer.
func (b *box) scan(lane int, code []byte) {
	if !b.awake() {
		return
	}
	out := b.node.Step(b.clock.now(), node.Scan{Lane: lane, Text: code})
	b.watch.stamps()
	speak(b, out.Send)
	if out.Held != 0 {
		b.held[out.Held] = waiting{lane: lane, asked: b.w.now}
		act(b, &out)
		return
	}
	b.watch.decided(lane, &out.Decision)
	b.answer(waiting{lane: lane, asked: b.w.now}, out.Decision, out.Journal, out.Entry)
}

// awake reports whether the box's process runs and is not stopped.
func (b *box) awake() bool { return b.on && b.asleep <= b.w.now }

// answer takes a decision on its way to the staff: one that promises something is
// shown when it is on the disk.
func (b *box) answer(h waiting, d node.Decision, journalled bool, entry syncproto.Entry) {
	b.say("lane %s: ticket %d: %s %s, %s", lanes()[h.lane].Name, d.Ticket, d.Decision, d.Reason, d.Certainty())
	if !journalled {
		return
	}
	e, err := b.journal.append(entry)
	if err != nil {
		b.fail(err)
		return
	}
	a := answer{waiting: h, decision: d, seq: e.Seq, at: b.w.now}
	b.answers = append(b.answers, a)
	sabotageAck(b, a, &e)
	b.commit()
}

// commit writes what is queued, and waits for the disk if nobody does.
func (b *box) commit() {
	if !b.journal.begin() {
		if b.journal.broken {
			b.fail(errBroken)
		}
		return
	}
	for i := range b.journal.writing {
		b.watch.written(&b.journal.writing[i])
	}
	d := b.w.between(time.Millisecond, 5*time.Millisecond)
	if b.medium.slow {
		d = b.w.between(100*time.Millisecond, 4*time.Second)
	}
	b.after(d, func() {
		done, err := b.journal.sync()
		if err = sabotageSync(b, &done, err); err != nil {
			b.fail(err)
			return
		}
		for i := range done {
			b.durable(&done[i])
		}
		b.commit()
	})
}

// durable answers the scan that an entry is of, and tells the node.
func (b *box) durable(e *syncproto.Entry) {
	i := slices.IndexFunc(b.answers, func(a answer) bool { return a.seq == e.Seq })
	if i >= 0 {
		a := b.answers[i]
		b.answers = slices.Delete(b.answers, i, i+1)
		b.watch.shown(a, e)
		b.w.hear(shownAnswer{box: b.no, lane: a.lane, asked: a.asked, shown: b.w.now, decision: a.decision})
	}
	b.step(node.Durable{Seq: e.Seq})
	soldAt(b, e)
}

// fail is what a broken journal means: all who wait are refused, and the gate
// builds itself anew from the disk.
func (b *box) fail(err error) {
	b.say("journal fails: %v", err)
	b.answers, b.stall.waiting = nil, nil
	b.step(node.JournalBroken{})
	b.after(reopenPause, func() {
		b.end()
		if b.w.rng.IntN(2) == 0 { // the kernel may have dropped what it could not write
			b.jfile.cut(b.w.rng)
		}
		b.start()
	})
}
