package main

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
	"gatehouse/syncproto/syncprototest"
	"gatehouse/syncproto/wire"
)

// unsettled says what is still under way; empty when nothing is.
func (c *checker) unsettled() string {
	st := c.w.store
	if n := st.db.Unsealed(st.event); n > 0 {
		return fmt.Sprintf("central has %d changes to seal", n)
	}
	head := st.view.Head(st.event).String()
	for _, b := range c.w.boxes {
		if excused(b) {
			continue
		}
		if !b.on {
			return b.name + " is off"
		}
		s := b.node.Status(b.clock.now())
		switch {
		case s.Unsent > 0:
			return fmt.Sprintf("%s has %d entries to send (%s)", b.name, s.Unsent, s.Fault)
		case s.Cursor != head || b.replica == nil || b.replica.seq != s.Seq:
			return fmt.Sprintf("%s is at %d of %d, and not caught up", b.name, s.Seq, st.view.Head(st.event).Seq)
		}
	}
	return ""
}

// carrying reports whether a gate still has something to push for one that is lost.
func carrying(c *checker) bool {
	v := verdict{c}
	central := v.atCentral()
	s := stateOf([]write{{records: c.w.store.view.Records(c.w.store.event)}})
	for ref, f := range c.fates {
		if _, ok := central[ref]; !ok && v.deliverable(s, f) {
			return true
		}
	}
	return false
}

// excused is a box that central does not let in any more.
func excused(b *box) bool {
	auth, err := b.w.store.mem.Service().Device(background(), b.device)
	return err == nil && auth.Revoked
}

// end makes the checks of a world that has had its time.
func (c *checker) end(converged bool) {
	verdict{c}.judge(converged)
}

// verdict is the checker at the end of a world.
type verdict struct{ *checker }

func (c verdict) judge(converged bool) {
	if !converged {
		if what := c.unsettled(); what != "" {
			c.w.fail(21, "%s", what)
			return
		}
		if name := c.w.market.hungry(); name != "" {
			c.w.fail(23, "%s has next to nothing to sell, and central has some", name)
			return
		}
	}
	records := c.w.store.view.Records(c.w.store.event)
	state := stateOf([]write{{records: records}})
	c.endKept(state)
	c.endFold(state)
	c.endFirst(state)
	for _, b := range c.w.boxes {
		if !excused(b) {
			c.endSame(b, state)
			c.endDecides(b, state)
		}
	}
	c.endCopies()
	c.endReplay(records)
	if c.w.broken == nil {
		c.endRevocation()
	}
	c.w.market.end()
}

// endKept: what was answered is at central, and what reached central is still there.
func (c verdict) endKept(s *state) {
	central := c.atCentral()
	for _, f := range sortedBy(c.fates, compareRefs) {
		e, ok := central[f.entry.Ref()]
		switch {
		case !ok && f.answered && !f.lost && c.onlyCarried(f):
			if c.deliverable(s, f) {
				c.w.fail(16, "entry %d of %s reached %s before its gate was lost, and central has not got it", f.entry.Seq, short(f.entry.Incarnation), slices.Sorted(maps.Keys(f.holders)))
			}
		case !ok && f.answered && !f.lost && len(f.holders) > 0:
			c.w.fail(1, "entry %d of %s was answered, %s has it, and central has not", f.entry.Seq, short(f.entry.Incarnation), slices.Sorted(maps.Keys(f.holders)))
		case !ok && f.answered && !f.lost:
			c.w.fail(16, "entry %d of %s was at central when its gate was lost, and is not any more", f.entry.Seq, short(f.entry.Incarnation))
		case ok:
			if body, err := wire.AppendEntry(nil, &e.Entry); err != nil || !bytes.Equal(body, f.body) {
				c.w.fail(1, "entry %d of %s is at central with other bytes", f.entry.Seq, short(f.entry.Incarnation))
			}
		}
	}
}

// atCentral are the entries that central holds.
func (c verdict) atCentral() map[syncproto.Ref]syncproto.EntryRecord {
	out := map[syncproto.Ref]syncproto.EntryRecord{}
	for _, inc := range c.w.store.view.Journals() {
		for _, e := range c.w.store.view.Entries(inc) {
			out[e.Ref()] = e
		}
	}
	return out
}

// deliverable reports whether peers of a lost gate can bring central an entry of it.
func (c verdict) deliverable(s *state, f *fate) bool {
	return f.answered && !f.lost && c.onlyCarried(f) && c.carriedWhole(f) && known(s, f)
}

// onlyCarried reports whether an entry is held by peers of its gate alone.
func (c verdict) onlyCarried(f *fate) bool {
	for name := range f.holders {
		if !strings.HasSuffix(name, "/carry") {
			return false
		}
	}
	return len(f.holders) > 0
}

// known reports whether central knows the device that wrote an entry. One that was
// restored from before the enrolment does not, and its peers go on holding the entry.
func known(s *state, f *fate) bool {
	_, ok := s.devices[f.device]
	return ok
}

// carriedWhole reports whether everything from what central holds to an entry is
// still held by somebody: a journal with a hole cannot be pushed.
func (c verdict) carriedWhole(f *fate) bool {
	ref := f.entry.Ref()
	for ref.Seq = c.w.store.view.Watermark(ref.Incarnation).Seq + 1; ref.Seq <= f.entry.Seq; ref.Seq++ {
		if g := c.fates[ref]; g == nil || len(g.holders) == 0 {
			return false
		}
	}
	return true
}

// facts are what a fold of the entries goes by. What a device did itself stays true
// to it.
func facts(s *state, own func(*syncproto.EntryRecord) bool) map[syncproto.TicketNo][]admission.Fact {
	out := map[syncproto.TicketNo][]admission.Fact{}
	for _, e := range sortedBy(s.entries, compareRefs) {
		if f, ok := admission.FactOf(&e.Entry, e.Untrusted && !own(&e)); ok && e.Ticket != 0 {
			out[e.Ticket] = append(out[e.Ticket], f)
		}
	}
	return out
}

func nobody(*syncproto.EntryRecord) bool { return false }

// endFold: central's verdicts are those of a fold from scratch, in any order.
func (c verdict) endFold(s *state) {
	rules, err := admission.Compile(s.rules)
	c.w.must(err)
	all := facts(s, nobody)
	for _, no := range slices.Sorted(maps.Keys(all)) {
		t := admission.Ticket{No: no}
		if known, ok := s.tickets[no]; ok {
			t = admission.TicketOf(known)
		}
		want := admission.Fold(rules, t, all[no])
		mixed := append(slices.Clone(all[no]), all[no]...)
		c.w.rng.Shuffle(len(mixed), func(i, k int) { mixed[i], mixed[k] = mixed[k], mixed[i] })
		if !reflect.DeepEqual(want, admission.Fold(rules, t, mixed)) {
			c.w.fail(9, "ticket %d folds differently in another order", no)
		}
		for _, v := range want.Verdicts {
			if e := s.entries[v.Ref]; e.Outcome != v.Outcome || e.OfEntry != v.Of {
				c.w.fail(8, "central says %q of entry %d of %s, a fold from scratch %q", e.Outcome, v.Ref.Seq, short(v.Ref.Incarnation), v.Outcome)
			}
		}
	}
}

// endFirst: a ticket for one entry has one first admission, which others name.
func (c verdict) endFirst(s *state) {
	firsts := map[syncproto.TicketNo]syncproto.Ref{}
	admits := sortedBy(s.entries, compareRefs)
	for _, e := range admits {
		if e.Kind == syncproto.KindAdmit && e.Outcome == "" {
			c.w.fail(10, "the admission of ticket %d has no outcome", e.Ticket)
		}
		if e.Zone != syncprototest.ZoneMain || typeOf(e.Ticket) != syncprototest.TypeSingle || e.Outcome != syncproto.OutcomeFirst {
			continue
		}
		if _, twice := firsts[e.Ticket]; twice {
			c.w.fail(10, "ticket %d has two first admissions", e.Ticket)
		}
		firsts[e.Ticket] = e.Ref()
	}
	for _, e := range admits {
		if e.Outcome != syncproto.OutcomeDuplicate && e.Outcome != syncproto.OutcomeConcurrent {
			continue
		}
		if of, ok := s.entries[e.OfEntry]; !ok || of.Ticket != e.Ticket || of.Kind != syncproto.KindAdmit {
			c.w.fail(10, "a double admission of ticket %d names no admission of it", e.Ticket)
		}
	}
}

// endSame: a gate's file holds what central holds.
func (c verdict) endSame(b *box, want *state) {
	got := stateOf(b.rfile.read())
	// A snapshot holds the entries that are about a ticket and the leases that are open,
	// a page holds all.
	maps.DeleteFunc(got.leases, func(_ uuid.UUID, l syncproto.Lease) bool { return l.State != syncproto.LeaseOpen })
	maps.DeleteFunc(got.entries, func(_ syncproto.Ref, e syncproto.EntryRecord) bool { return e.Ticket == 0 })
	switch {
	case !reflect.DeepEqual(got.tickets, want.tickets):
		c.w.fail(8, "%s has other tickets than central: %s", b.name, differs(got.tickets, want.tickets))
	case !reflect.DeepEqual(got.entries, want.entries):
		c.w.fail(8, "%s has other entries than central: %s", b.name, differs(got.entries, want.entries))
	case !reflect.DeepEqual(got.devices, want.devices):
		c.w.fail(8, "%s has other gates than central: %s", b.name, differs(got.devices, want.devices))
	case !reflect.DeepEqual(got.leases, want.leases):
		c.w.fail(8, "%s has other leases than central: %s", b.name, differs(got.leases, want.leases))
	case !reflect.DeepEqual(got.rules, want.rules) || !reflect.DeepEqual(got.trust, want.trust):
		c.w.fail(8, "%s has other rules or keys than central", b.name)
	}
}

func differs[K comparable, V any](got, want map[K]V) string {
	n, example := 0, ""
	for k, v := range want {
		if g, ok := got[k]; !ok || !reflect.DeepEqual(g, v) {
			n++
			example = max(example, fmt.Sprintf("%v: here %+v, there %+v", k, g, v))
		}
	}
	return fmt.Sprintf("%d of %d, %d here; %s", n, len(want), len(got), example)
}

// endDecides: a gate decides as the rules and a fold of all entries would.
func (c verdict) endDecides(b *box, s *state) {
	rules, err := admission.Compile(s.rules)
	c.w.must(err)
	all := facts(s, func(e *syncproto.EntryRecord) bool { return e.Device == b.device })
	unsure := map[syncproto.TicketNo]bool{}
	for _, f := range c.fates {
		if _, ok := s.entries[f.entry.Ref()]; !ok {
			unsure[f.entry.Ticket] = true // a gate may remember what central will never hear of
		}
	}
	now := b.clock.now()
	ms := now.UnixMilli() + b.node.Status(now).OffsetMS
	for _, t := range sortedBy(s.tickets, func(a, b syncproto.TicketNo) int { return int(a) - int(b) }) {
		if unsure[t.No] {
			continue
		}
		usage := admission.Fold(rules, admission.TicketOf(t), all[t.No]).Usage
		for _, l := range lanes() {
			lane, err := rules.Lane(l.Zone, l.Direction)
			c.w.must(err)
			want := admission.Decide(rules, lane, admission.TicketOf(t), &usage, ms)
			got := b.node.Verify(now, l.Zone, l.Direction, c.codeOf(t))
			if want.Kind == syncproto.KindAdmit && byPolicy(b, &got) {
				continue
			}
			if got.Reason != want.Reason || (got.Decision == node.Admit) != (want.Kind == syncproto.KindAdmit) {
				c.w.fail(8, "%s would answer %s %s for ticket %d at lane %s, and should %s %s", b.name, got.Decision, got.Reason, t.No, l.Name, want.Kind, want.Reason)
			}
		}
	}
}

// byPolicy reports whether a gate that does not hear all others, of which some may be
// gone for good, refuses as its event's policy has it.
func byPolicy(b *box, d *node.Decision) bool {
	policy := map[syncproto.Reason]syncproto.Partition{
		syncproto.ReasonHomeGate: syncproto.PartitionHome, syncproto.ReasonPeersAway: syncproto.PartitionClosed,
	}[d.Reason]
	st := b.node.Status(b.clock.now())
	return policy != "" && policy == st.Policy.Partition && st.Heard < st.Gates
}

// codeOf is the text of the code that central holds of a ticket.
func (c verdict) codeOf(t syncproto.Ticket) []byte {
	if sold := c.w.market.code(t.Code); sold != nil {
		return sold
	}
	for issue := range uint8(issuesMax) {
		if t.No <= codesMax && c.w.codes.hash(t.No, issue) == t.Code {
			return c.w.codes.text(t.No, issue)
		}
	}
	return nil
}

// endCopies: a gate that was copied, and has written something since beside its
// copy, is found.
func (c verdict) endCopies() {
	for _, p := range c.copies {
		both := p.a.device == p.device && p.b.device == p.device && p.a.on && p.b.on && entriesOf(p.a) > p.wrote
		if both && p.history == c.w.store.history && !excused(p.a) && !c.w.store.view.InQuarantine(p.device) {
			c.w.fail(16, "%s and its copy %s both go on, and central trusts them", p.a.name, p.b.name)
		}
	}
}

// endReplay: every push that central took can come again.
func (c verdict) endReplay(before []syncproto.Record) {
	count := c.w.store.mem.Attendance(c.w.store.event)
	for _, t := range c.taken {
		if _, err := c.w.store.mem.Service().Push(background(), t.from, t.req); err != nil {
			c.w.fail(15, "central refuses a push of %s that it took before: %v", short(t.req.Incarnation), err)
		}
	}
	if c.w.store.db.Unsealed(c.w.store.event) > 0 || c.w.store.mem.Attendance(c.w.store.event) != count ||
		!reflect.DeepEqual(before, c.w.store.view.Records(c.w.store.event)) {
		c.w.fail(15, "a push that came again changed something")
	}
}

// endRevocation: in a world that is well, a revocation is known at every gate within
// a second.
func (c verdict) endRevocation() {
	no := syncproto.TicketNo(1)
	c.w.store.operate(0, false, func(tx *syncprototest.Tx) { tx.SetStatus(no, syncproto.StatusRevoked) })
	c.w.play(c.w.now + revocationMax)
	for _, b := range c.w.boxes {
		if excused(b) || c.w.broken != nil {
			continue
		}
		s := stateOf([]write{{records: c.w.store.view.Records(c.w.store.event)}})
		d := b.node.Verify(b.clock.now(), syncprototest.ZoneMain, syncproto.In, c.codeOf(s.tickets[no]))
		if d.Reason != syncproto.ReasonRevoked {
			c.w.fail(14, "%s is connected and answers %s %s for a ticket that was revoked %s ago", b.name, d.Decision, d.Reason, revocationMax)
		}
	}
}

// revocationMax is how soon a connected gate knows of a revocation: two sealing
// pauses, and at worst the second after which a lost notification is found.
const revocationMax = 1500 * time.Millisecond
