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
	before := b.node.Status(b.clock.now())
	out := b.node.Step(b.clock.now(), in)
	b.watch.stepped(before, in, &out)
	if out.Ratchet != "" {
		b.after(b.w.between(0, 20*time.Millisecond), func() {
			b.kept.ratchet = out.Ratchet
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
		b.store(out.Store)
	}
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

// store writes a page to the replica file.
func (b *box) store(p *syncproto.Page) {
	if b.replica == nil {
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
		b.after(0, func() { b.step(node.ReplicaLost{}) })
		return
	}
	sabotageReplica(b)
	if b.w.rng.IntN(4) == 0 {
		b.rfile.sync()
	}
}

// scan presents a ticket's code at a lane. It reports whether anybody answered.
func (b *box) scan(lane int, code []byte) bool {
	if !b.on || b.asleep > b.w.now {
		return false
	}
	out := b.node.Step(b.clock.now(), node.Scan{Lane: lane, Text: code})
	b.watch.decided(&out)
	b.say("lane %s: ticket %d: %s %s", lanes()[lane].Name, out.Decision.Ticket, out.Decision.Decision, out.Decision.Reason)
	if !out.Journal {
		return true
	}
	e, err := b.journal.append(out.Entry)
	if err != nil {
		b.fail(err)
		return true
	}
	a := answer{lane: lane, decision: out.Decision, seq: e.Seq}
	b.answers = append(b.answers, a)
	sabotageAck(b, a, &e)
	b.commit()
	return true
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
	}
	b.step(node.Durable{Seq: e.Seq})
}

// fail is what a broken journal means: all who wait are refused, and the gate
// builds itself anew from the disk.
func (b *box) fail(err error) {
	b.say("journal fails: %v", err)
	b.answers = nil
	b.step(node.JournalBroken{})
	b.after(reopenPause, func() {
		b.end()
		if b.w.rng.IntN(2) == 0 { // the kernel may have dropped what it could not write
			b.jfile.cut(b.w.rng)
		}
		b.start()
	})
}
