package main

import (
	"context"
	"errors"
	"iter"
	"time"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// callKinds in their order, because a map has none.
var callKinds = []node.CallKind{node.CallHello, node.CallSnapshot, node.CallChanges, node.CallPush, node.CallHeartbeat, node.CallLease}

// flight is one call under way: a coroutine that runs the shipped client and stops
// where that waits for the network.
type flight struct {
	b       *box
	life    int
	answer  node.Answer
	got     *parcel
	err     error
	next    func() (*packet, bool)
	stop    func()
	yield   func(*packet) bool
	waiting int
	ends    time.Duration
}

var (
	errTimeout = errors.New("central did not answer in time")
	errRefused = errors.New("connection refused or broken")
)

type flightKey struct{}

// call sends a message of a box. Its answer comes back as one input.
func call(b *box, c node.Call) {
	f := &flight{b: b, life: b.boot, answer: node.Answer{Call: c, Sent: b.clock.now()}}
	timeout := slowest
	switch c.Kind {
	case node.CallChanges:
		timeout += time.Duration(c.Changes.WaitMS) * time.Millisecond
	case node.CallSnapshot:
		timeout = time.Minute
	}
	f.ends = b.w.now + timeout
	ctx := context.WithValue(context.Background(), flightKey{}, f)
	f.next, f.stop = iter.Pull(func(yield func(*packet) bool) {
		f.yield = yield
		f.answer.Err = f.carry(ctx, c)
	})
	if overtaken := b.flights[c.Kind]; overtaken != nil {
		overtaken.stop()
	}
	b.flights[c.Kind] = f
	b.watch.called(c.Kind)
	b.after(timeout, func() {
		if b.flights[c.Kind] == f {
			f.resume(nil, errTimeout)
		}
	})
	f.resume(nil, nil)
}

// resume goes on with what the network brought.
func (f *flight) resume(got *parcel, err error) {
	b := f.b
	f.got, f.err = got, err
	f.waiting++
	p, more := f.next()
	if more {
		n := f.waiting
		request(b, p, func(r *parcel) {
			if b.boot == f.life {
				b.after(0, func() { f.arrived(n, r) })
			}
		})
		return
	}
	delete(b.flights, f.answer.Call.Kind)
	f.answer.Received = b.clock.now()
	b.watch.returned(&f.answer)
	sabotageAnswer(b, &f.answer)
	if sabotageLost(b, &f.answer) {
		return
	}
	if f.answer.Loaded == nil {
		b.step(f.answer)
		return
	}
	// The file is in place before the node hears of it, and pages come in between.
	b.after(b.w.between(0, 200*time.Millisecond), func() {
		b.watch.loaded(b.rfile.read(), !b.watch.same(b.node.Status(b.clock.now()).Cursor, f.answer.Loaded.Cursor))
		b.step(f.answer)
	})
}

// arrived takes what the network brought for the n-th message, if that is still
// waited for.
func (f *flight) arrived(n int, r *parcel) {
	switch {
	case f.waiting != n || f.b.flights[f.answer.Call.Kind] != f:
	case r == nil:
		f.resume(nil, errRefused)
	default:
		f.resume(r, nil)
	}
}

// carry is the exchange of gate/syncer.
func (f *flight) carry(ctx context.Context, c node.Call) error {
	a, b := &f.answer, f.b
	switch c.Kind {
	case node.CallHello:
		r, err := b.client.Hello(ctx, c.Hello)
		a.Hello = &r
		return err
	case node.CallSnapshot:
		l, err := f.snapshot(ctx)
		a.Loaded = l
		return err
	case node.CallChanges:
		p, err := b.client.Changes(ctx, c.Changes)
		a.Page = &p
		return err
	case node.CallPush:
		req, err := b.span(c.Push.Incarnation, c.Push.First,
			min(c.Push.Limits.PushEntries, syncproto.PushEntriesMax), min(c.Push.Limits.PushBytes, syncproto.PushBytesMax))
		if c.Push.Carried {
			req, err = b.carried.span(c.Push.Incarnation, c.Push.First)
		}
		if err != nil {
			return err
		}
		b.watch.pushed(&req)
		r, err := b.client.Push(ctx, req)
		a.Push = &r
		return err
	case node.CallLease:
		r, err := b.client.Lease(ctx, c.Lease)
		a.Lease = &r
		return err
	}
	r, err := b.client.Heartbeat(ctx, c.Heartbeat)
	a.Heartbeat = &r
	return err
}

// snapshot fetches the state of the stream and puts a new replica file in place of
// the old one.
func (f *flight) snapshot(ctx context.Context) (*node.Loaded, error) {
	b := f.b
	m, err := b.client.Manifest(ctx, b.stream)
	if err != nil {
		return nil, err
	}
	l := &node.Loaded{Cursor: m.Cursor, Seq: m.Seq, ServerMS: b.clock.now().UnixMilli()}
	all := write{seq: m.Seq, cursor: m.Cursor, ms: l.ServerMS}
	for _, c := range m.Chunks {
		body, ok := b.chunks[c.Hash]
		if !ok {
			if body, err = b.client.Blob(ctx, c.Hash); err != nil {
				return nil, err
			}
			b.chunks[c.Hash] = body
		}
		err := wire.DecodeChunk(body, c, func(rec *syncproto.Record) error {
			all.records = append(all.records, keep(rec))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	all.records = sabotageSnapshot(b, all.records)
	if b.w.bug == bugNone && int64(len(all.records)) != m.Count {
		return nil, errors.New("snapshot does not hold what its manifest says")
	}
	if b.medium.full || b.medium.broken {
		return nil, errors.New("replica file cannot be written")
	}
	for i := range all.records {
		l.Add(&all.records[i])
	}
	b.rfile = file[write]{}
	b.rfile.write(all)
	b.rfile.sync()
	b.replica = &replica{file: &b.rfile, seq: m.Seq}
	b.fileNo++
	l.File = b.fileNo
	b.chunks = map[syncproto.Hash][]byte{}
	return l, nil
}

// keep copies a record that is the reader's for a call only.
func keep(rec *syncproto.Record) syncproto.Record {
	out := *rec
	if rec.Ticket != nil {
		t := *rec.Ticket
		out.Ticket = &t
	}
	if rec.Lease != nil {
		l := *rec.Lease
		out.Lease = &l
	}
	if rec.Entry != nil {
		e := *rec.Entry
		out.Entry = &e
	}
	return out
}
