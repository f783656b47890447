package main

import (
	"fmt"
	"slices"
	"time"

	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
)

// kind is a kind of item: what begins at its time, and what ends when it is over.
// share is how many of the seeds have it, most how often; the plan draws scans on
// its own account.
type kind struct {
	name  string
	share float64
	with  string // only in plans that have items of this kind
	most  int
	begin func(w *world, b *box, it *item)
	end   func(w *world, b *box, it *item)
}

// kinds is everything that can happen in a world. To add one, add a line.
func kinds() []kind {
	return slices.Concat(work(), lineTrouble(), lanTrouble(), boxTrouble(), centralTrouble(), trade())
}

func (w *world) begin(it *item) {
	for _, k := range kinds() {
		if k.name == it.kind {
			if k.with != "" && w.market == nil {
				return
			}
			if k.name != "scan" {
				w.counts[k.name]++
				w.trace.say("plan", "%s", it)
			}
			k.begin(w, w.boxes[it.box], it)
			if k.end != nil {
				w.after(it.lasts, func() { w.finish(it) })
			}
			return
		}
	}
	w.must(fmt.Errorf("no kind %q", it.kind))
}

// finish ends an item that has begun, once.
func (w *world) finish(it *item) {
	if it.over || it.at > w.now {
		return
	}
	it.over = true
	for _, k := range kinds() {
		if k.name == it.kind && k.end != nil {
			k.end(w, w.boxes[it.box], it)
		}
	}
}

// work is what people do.
func work() []kind {
	status := func(s syncproto.Status) func(*world, *box, *item) {
		return func(w *world, _ *box, it *item) {
			no := it.ticket(w)
			w.store.operate(openFor(it), it.n%11 == 0, func(tx *syncprototest.Tx) { tx.SetStatus(no, s) })
		}
	}
	return []kind{
		{name: "scan", begin: func(w *world, b *box, it *item) {
			lane := []int{0, 0, 0, 0, 1, 2}[it.n>>8%6]
			b.scan(lane, w.code(it.ticket(w)))
		}},
		{name: "burst", share: 0.3, most: 3, begin: burst},
		{name: "sell", share: 0.5, most: 5, begin: func(w *world, _ *box, it *item) {
			no := syncproto.TicketNo(w.plan.tickets + 1 + it.no%(codesMax-ticketsMax))
			w.store.operate(openFor(it), it.n%13 == 0, func(tx *syncprototest.Tx) { tx.Put(w.ticket(no)) })
			w.after(it.lasts, func() { w.boxes[it.box].scan(0, w.code(no)) })
		}},
		{name: "revoke", share: 0.6, most: 6, begin: status(syncproto.StatusRevoked)},
		{name: "cancel", share: 0.2, most: 3, begin: status(syncproto.StatusCancelled)},
		{name: "pay", share: 0.4, most: 5, begin: status(syncproto.StatusPaid)},
		{name: "reissue", share: 0.3, most: 4, begin: func(w *world, _ *box, it *item) {
			no := it.ticket(w)
			if int(w.issues[no])+1 < issuesMax {
				w.issues[no]++
				t := w.ticket(no)
				w.store.operate(openFor(it), false, func(tx *syncprototest.Tx) { tx.Put(t) })
			}
		}},
	}
}

// ticket is one that an item is about: few tickets have most of the scans.
func (it *item) ticket(w *world) syncproto.TicketNo {
	n := it.n % w.plan.tickets
	if it.n%3 == 0 {
		n %= 4
	}
	return syncproto.TicketNo(n%w.plan.tickets + 1)
}

// openFor is how long a transaction of the operator stays open: now and then, long.
func openFor(it *item) time.Duration {
	if it.n%5 == 0 {
		return min(it.lasts, 8*time.Second)
	}
	return time.Duration(it.n%20) * time.Millisecond
}

// burst is one ticket at many gates at once.
func burst(w *world, _ *box, it *item) {
	no := it.ticket(w)
	for _, b := range w.boxes {
		w.after(w.between(0, time.Second), func() { b.scan(0, w.code(no)) })
	}
}

func lineTrouble() []kind {
	set := func(name string, share float64, on func(l *line, it *item), off func(l *line)) kind {
		return kind{
			name: name, share: share, most: 4,
			begin: func(_ *world, b *box, it *item) { on(&b.line, it) }, end: func(_ *world, b *box, _ *item) { off(&b.line) },
		}
	}
	return []kind{
		set("lossy line", 0.3, func(l *line, it *item) { l.drop = it.rate }, func(l *line) { l.drop = 0 }),
		set("doubling line", 0.3, func(l *line, it *item) { l.double = it.rate }, func(l *line) { l.double = 0 }),
		set("damaging line", 0.25, func(l *line, it *item) { l.corrupt = it.rate }, func(l *line) { l.corrupt = 0 }),
		set("slow line", 0.3, func(l *line, it *item) { l.lag = time.Duration(it.n%4000) * time.Millisecond }, func(l *line) { l.lag = 0 }),
		set("cable out", 0.4, func(l *line, _ *item) { l.noUp, l.noDown = true, true }, func(l *line) { l.noUp, l.noDown = false, false }),
		{
			name: "uplink lost", share: 0.3, most: 3, // the venue's, which all gates share
			begin: func(w *world, _ *box, _ *item) {
				for _, b := range w.boxes {
					b.line.noUp, b.line.noDown = true, true
				}
			},
			end: func(w *world, _ *box, _ *item) {
				for _, b := range w.boxes {
					b.line.noUp, b.line.noDown = false, false
				}
			},
		},
		set("no way up", 0.2, func(l *line, _ *item) { l.noUp = true }, func(l *line) { l.noUp = false }),
		set("no way down", 0.2, func(l *line, _ *item) { l.noDown = true }, func(l *line) { l.noDown = false }),
	}
}

func boxTrouble() []kind {
	disk := func(name string, share float64, set func(m *medium, on bool)) kind {
		return kind{
			name: name, share: share, most: 2,
			begin: func(_ *world, b *box, _ *item) { set(&b.medium, true) }, end: func(_ *world, b *box, _ *item) { set(&b.medium, false) },
		}
	}
	return []kind{
		{name: "power cut", share: 0.4, most: 4, begin: func(w *world, b *box, it *item) {
			b.powerCut()
			w.after(min(it.lasts, 10*time.Second), b.powerUp)
		}},
		{name: "kill", share: 0.3, most: 4, begin: func(w *world, b *box, _ *item) {
			b.end()
			w.after(500*time.Millisecond, b.powerUp)
		}},
		{name: "blackout", share: 0.1, most: 2, begin: func(w *world, _ *box, it *item) {
			for _, b := range w.boxes {
				b.powerCut()
				w.after(min(it.lasts, 10*time.Second), b.powerUp)
			}
		}},
		{name: "pause", share: 0.2, most: 4, begin: func(w *world, b *box, it *item) { b.asleep = w.now + min(it.lasts, 15*time.Second) }},
		disk("disk full", 0.15, func(m *medium, on bool) { m.full = on }),
		disk("disk error", 0.15, func(m *medium, on bool) { m.broken = on }),
		disk("slow disk", 0.2, func(m *medium, on bool) { m.slow = on }),
		{name: "journal flip", share: 0.1, most: 2, begin: func(w *world, b *box, it *item) {
			b.end()
			if flip(&b.jfile, it.n, it.n>>4) {
				b.say("a bit of its journal flips")
			}
			w.after(time.Second, b.powerUp)
		}},
		{name: "replica flip", share: 0.15, most: 3, begin: func(w *world, b *box, _ *item) {
			b.end()
			spoil(&b.rfile, w.rng)
			w.after(time.Second, b.powerUp)
		}},
		{name: "clock jump", share: 0.2, most: 3, begin: func(_ *world, b *box, it *item) {
			b.clock.offset += time.Duration(it.n%7200-3600) * time.Second
		}},
		{name: "clock drift", share: 0.1, most: 2, begin: func(_ *world, b *box, it *item) { b.clock.drift = float64(it.n%200-100) / 1000 }},
		{
			name: "clock stands", share: 0.08, most: 2,
			begin: func(w *world, b *box, _ *item) { b.clock.stuck, b.clock.frozen = true, w.now },
			end:   func(_ *world, b *box, _ *item) { b.clock.stuck = false },
		},
		{name: "no RTC", share: 0.1, most: 1, begin: func(w *world, b *box, _ *item) {
			b.noRTC = true
			b.powerCut()
			w.after(time.Second, b.powerUp)
		}},
		{name: "image", share: 0.12, most: 1, begin: restoreImage},
		{name: "clone", share: 0.1, most: 1, begin: cloneBox},
		{name: "wipe", share: 0.1, most: 2, begin: wipe},
	}
}

func copyOf(b *box) *image {
	return &image{enrolled: b.enrolled, kept: b.kept, jfile: b.jfile.image(), rfile: b.rfile.image(), aside: append([]file[commit](nil), b.aside...), carried: carryStore{b.carried.file.image()}}
}

func putBack(b *box, i *image) {
	b.enrolled, b.kept = i.enrolled, i.kept
	b.jfile, b.rfile, b.aside = i.jfile.image(), i.rfile.image(), append([]file[commit](nil), i.aside...)
	b.carried = carryStore{i.carried.file.image()}
}

// restoreImage copies a box's medium, and puts the copy back later.
func restoreImage(w *world, b *box, it *item) {
	copied := copyOf(b)
	w.after(it.lasts/3, func() { sellSome(b, 2) })
	w.after(it.lasts, func() {
		if w.healed || copied.device != b.device {
			return
		}
		b.say("its disk is put back to an old image")
		if b.end(); it.n%2 == 0 { // with the power off
			b.stall.mark = syncproto.Ref{}
		}
		w.market.setBack(b, copied)
		w.check.dropped(b)
		putBack(b, copied)
		w.check.lostCarry(b)
		b.start()
		sellSome(b, 3) // to those who waited for it
	})
}

// cloneBox puts a copy of a box's medium into another box, which runs beside it.
func cloneBox(w *world, b *box, _ *item) {
	w.births++
	c := &box{w: w, no: len(w.boxes), name: b.name + "'", chunks: map[syncproto.Hash][]byte{}, clock: clock{world: &w.timeline}}
	putBack(c, copyOf(b))
	w.boxes = append(w.boxes, c)
	b.say("is copied to %s", c.name)
	w.check.cloned(b, c)
	w.market.copied(b)
	w.after(w.between(0, 2*time.Second), c.powerUp)
}

// wipe empties a box, which is enrolled again as another device.
func wipe(w *world, b *box, _ *item) {
	b.say("is wiped")
	b.end()
	w.check.gaveUp(b)
	b.jfile, b.rfile, b.aside, b.carried = file[commit]{}, file[write]{}, nil, carryStore{}
	w.check.lostCarry(b)
	w.enrol(b)
	for _, c := range w.centrals {
		c.touch()
	}
	w.after(time.Second, b.powerUp)
}

func centralTrouble() []kind {
	back := func(name string, share float64, declared bool) kind {
		return kind{name: name, share: share, most: 1, begin: func(w *world, _ *box, it *item) {
			w.store.backup = w.store.db.Backup()
			w.after(it.lasts, func() {
				if !w.healed {
					w.trace.say("operator", "%s", name)
					w.store.fallBack(declared)
				}
			})
		}}
	}
	while := func(name string, share float64, set func(w *world, it *item, on bool)) kind {
		return kind{
			name: name, share: share, most: 2,
			begin: func(w *world, _ *box, it *item) { set(w, it, true) }, end: func(w *world, _ *box, it *item) { set(w, it, false) },
		}
	}
	return []kind{
		{
			name: "central crash", share: 0.3, most: 4,
			begin: func(w *world, _ *box, it *item) { w.centrals[it.n%len(w.centrals)].crash() },
			end:   func(w *world, _ *box, it *item) { w.centrals[it.n%len(w.centrals)].up = true },
		},
		while("database down", 0.15, func(w *world, _ *item, on bool) { w.store.down = on }),
		while("pushes hang", 0.2, func(w *world, _ *item, on bool) { w.store.hang = on }),
		while("overload", 0.15, func(w *world, it *item, on bool) { w.store.busy = it.rate * b2f(on) }),
		while("commit unknown", 0.2, func(w *world, it *item, on bool) { w.store.unknown = it.rate * b2f(on) }),
		while("chunk missing", 0.15, func(w *world, it *item, on bool) { w.rates.blob = it.rate * b2f(on) }),
		back("central restored", 0.12, true),
		back("failover", 0.15, false),
		{name: "log trimmed", share: 0.2, most: 2, begin: func(w *world, _ *box, _ *item) { w.store.trim() }},
		{name: "online key", share: 0.15, most: 2, begin: func(w *world, _ *box, _ *item) { w.must(w.store.db.RotateOnline(w.store.event)) }},
		{name: "gate revoked", share: 0.1, most: 1, begin: func(w *world, b *box, _ *item) {
			if w.store.mem.RevokeDevice(b.device) == nil {
				w.check.gaveUp(b)
			}
		}},
	}
}

func b2f(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// lanTrouble is trouble between boxes, where they hear each other.
func lanTrouble() []kind {
	cut := func(name string, share float64, apart func(a, b *box, it *item) bool) kind {
		set := func(w *world, it *item, on bool) {
			for _, a := range w.boxes {
				for _, b := range w.boxes {
					if a != b && apart(a, b, it) {
						if delete(w.lan.cut, [2]int{a.no, b.no}); on {
							w.lan.cut[[2]int{a.no, b.no}] = true
						}
					}
				}
			}
		}
		return kind{
			name: name, share: share, most: 3,
			begin: func(w *world, _ *box, it *item) { set(w, it, true) }, end: func(w *world, _ *box, it *item) { set(w, it, false) },
		}
	}
	half := func(b *box, it *item) bool { return it.n>>(b.no%20)&1 == 1 }
	return []kind{
		cut("LAN in two", 0.3, func(a, b *box, it *item) bool { return half(a, it) != half(b, it) }),
		cut("LAN one way", 0.15, func(a, b *box, it *item) bool { return half(a, it) && !half(b, it) }),
		cut("gate off the LAN", 0.2, func(a, b *box, it *item) bool { return a.no == it.box || b.no == it.box }),
		{
			name: "LAN off", share: 0.15, most: 2,
			begin: func(w *world, _ *box, _ *item) { w.lan.off = true }, end: func(w *world, _ *box, _ *item) { w.lan.off = false },
		},
		{
			name: "slow LAN", share: 0.2, most: 2,
			begin: func(w *world, _ *box, it *item) { w.lan.lag = time.Duration(it.n%300) * time.Millisecond },
			end:   func(w *world, _ *box, _ *item) { w.lan.lag = 0 },
		},
	}
}
