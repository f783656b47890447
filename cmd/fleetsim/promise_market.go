package main

import (
	"slices"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/lease"
)

// code is the text of a code that a gate made; nil where none did.
func (m *market) code(hash syncproto.CodeHash) []byte {
	if m == nil {
		return nil
	}
	return m.codes[hash]
}

// counted sees a commit at central: what is a ticket and what is leased are the
// places that are taken, and no more than there are.
func (m *market) counted() {
	if m == nil {
		return
	}
	sum := m.shop.Count(walkUpType)
	for _, b := range m.shop.Leases() {
		sum += b.Outstanding()
	}
	if used := m.shop.Account(walkUpType).Used; sum != used || sum > m.quota {
		m.w.fail(22, "tickets and leases take %d places of %d, and central counts %d", sum, m.quota, used)
	}
}

// granted sees a lease transaction: no two leases of a history share a number.
func (m *market) granted() {
	books := m.shop.Leases()
	for i := range books {
		l := &books[i].Lease
		if _, known := m.leases[l.ID]; known {
			continue
		}
		for k := range books[:i] {
			if o := m.leases[books[k].ID]; l.First < o.End() && o.First < l.End() {
				m.w.fail(22, "numbers from %d on are leased twice", max(l.First, o.First))
			}
		}
		m.leases[l.ID] = *l
	}
	m.counted()
}

// made sees a sale as it is made: of a lease that this gate knows to be open.
func (m *market) made(s *sale) {
	m.codes[s.code] = s.text
	if l := s.b.watch.leases[s.lease]; l.State != syncproto.LeaseOpen || !l.Holds(s.ticket) || l.Device != s.b.device {
		m.w.fail(22, "%s sells number %d of a lease that it was not told of, or told to be over", s.b.name, s.ticket)
	}
}

// shown sees a code that a guest sees.
func (m *market) shown(s sale, e *syncproto.Entry) {
	if !s.b.journal.durable(e) {
		m.w.fail(3, "%s shows the code of ticket %d, and a power cut would take its sale back", s.b.name, s.ticket)
	}
	if f := m.w.check.fates[s.ref]; f != nil {
		f.answered = true
	}
	for i := range m.sales {
		if old := &m.sales[i]; old.ticket == s.ticket && !m.twice(old, &s) {
			m.w.fail(22, "%s sells number %d, which %s sold before", s.b.name, s.ticket, old.b.name)
		}
	}
	m.sales = append(m.sales, s)
	if m.excuses(s.lease) || m.released[s.lease] {
		return
	}
	books := m.shop.Leases()
	i := slices.IndexFunc(books, func(b lease.Book) bool { return b.ID == s.lease })
	if i < 0 || books[i].Device != s.b.device || !books[i].Holds(s.ticket) || books[i].State == syncproto.LeaseReleased {
		m.w.fail(22, "%s sells number %d, for which central holds no place", s.b.name, s.ticket)
	}
}

// twice reports whether a number may be sold a second time: a restored central has
// leased it anew, a copied gate and its copy both have it, or a gate has lost the
// first sale with its disk and nobody can tell it.
func (m *market) twice(a, b *sale) bool {
	inc := m.leases[a.lease].Incarnation
	switch {
	case a.lease != b.lease:
		return m.forgotten[a.lease] || m.forgotten[b.lease]
	case a.b != b.b:
		return m.shared[inc]
	}
	return m.doubtful[inc]
}

// excuses reports whether central cannot answer for what is sold of a lease.
func (m *market) excuses(id uuid.UUID) bool {
	inc := m.leases[id].Incarnation
	return m.forgotten[id] || m.shared[inc] || m.doubtful[inc]
}

// copied sees that a second box has a box's journal.
func (m *market) copied(b *box) {
	if m == nil {
		return
	}
	for _, inc := range inJournal(&b.jfile) {
		m.shared[inc] = true
	}
}

// setBack sees that a box's disk becomes an older image. Where central has some of
// what is lost, it tells the gate, which sells nothing of its old leases any more.
func (m *market) setBack(b *box, to *image) {
	if m == nil {
		return
	}
	kept, lost, told := map[syncproto.Ref]bool{}, 0, 0
	each(b, &to.jfile, to.aside, func(e *syncproto.Entry) { kept[e.Ref()] = true })
	each(b, &b.jfile, b.aside, func(e *syncproto.Entry) {
		if kept[e.Ref()] {
			return
		}
		lost++
		if m.w.store.view.Watermark(e.Incarnation).Seq >= e.Seq {
			told++
		}
	})
	switch old := inJournal(&to.jfile); {
	case told > 0:
		m.rewound = append(m.rewound, old...)
	case lost > 0:
		m.doubt(old)
	}
}

func (m *market) doubt(incs []uuid.UUID) {
	for _, inc := range incs {
		m.doubtful[inc] = true
	}
}

// each calls fn for all entries of a box's files.
func each(b *box, f *file[commit], aside []file[commit], fn func(*syncproto.Entry)) {
	for _, f := range append(slices.Clone(aside), *f) {
		for _, s := range salvage(&f, b.device, b.key).streams {
			for i := range s.entries {
				fn(&s.entries[i])
			}
		}
	}
}

// fellBack sees that central forgot its newest state: the leases of it, and what it
// could tell gates whose disks were set back.
func (m *market) fellBack() {
	if m == nil {
		return
	}
	here := map[uuid.UUID]bool{}
	for _, b := range m.shop.Leases() {
		here[b.ID] = true
	}
	for id := range m.leases {
		if !here[id] {
			m.forgotten[id] = true
		}
	}
	m.doubt(m.rewound)
	m.counted()
}

// end makes the checks of a world that has had its time. The operator looks at the
// gates in quarantine, as he has to, and lets what they did count.
func (m *market) end() {
	if m == nil {
		return
	}
	st := m.w.store
	for _, b := range m.w.boxes {
		if st.view.InQuarantine(b.device) && !excused(b) {
			m.w.must(st.db.Release(b.device))
			m.counted()
		}
	}
	tickets := stateOf([]write{{records: st.view.Records(st.event)}}).tickets
	central := verdict{m.w.check}.atCentral()
	for i := range m.sales {
		s := &m.sales[i]
		e, ok := central[s.ref]
		taken := e.Outcome == syncproto.OutcomeReleased && m.released[s.lease]
		if !ok || e.Untrusted || taken || m.excuses(s.lease) {
			continue
		}
		if tickets[s.ticket].Code != s.code {
			m.w.fail(22, "%s sold number %d, and central made no ticket of it: %s", s.b.name, s.ticket, e.Outcome)
		}
	}
}
