package node

import (
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
	"gatehouse/syncproto/credential"
)

// ledger is what a node knows: the roster, the rules, the keys it trusts, and
// what each ticket has been used for.
type ledger struct {
	device uuid.UUID
	event  syncproto.EventNo
	pinned syncproto.Hash

	roster   *Roster
	rules    *admission.Rules
	policy   syncproto.Policy
	rulesErr error // the last rules that did not compile, for the status
	name     string
	history  map[syncproto.TicketNo]*history
	trust    *syncproto.TrustBundle
	gates    Gates
	types    []syncproto.TicketType // of the rules in force
	desk     desk
	findings findings
	audit    *audit // nil while there is none
}

func newLedger(cfg Config) ledger {
	k := ledger{
		device: cfg.Device, event: cfg.Event, pinned: cfg.Pinned, roster: &Roster{},
		history: map[syncproto.TicketNo]*history{}, gates: newGates(cfg),
		desk: newDesk(cfg),
	}
	for _, d := range cfg.Gates {
		k.gates.set(d)
	}
	return k
}

// identify finds the ticket that a code is of and whether the code is good for
// it. An empty reason means that it is. The ticket is zero where the code names
// none of this event.
func (k *ledger) identify(c *credential.Code, hash syncproto.CodeHash) (admission.Ticket, syncproto.Reason) {
	if c.Event != k.event {
		if reason := k.verify(c); reason != "" {
			return admission.Ticket{}, reason
		}
		return admission.Ticket{}, syncproto.ReasonWrongEvent
	}
	if known, ok := k.roster.ticket(c.Ticket); ok {
		t := known.admission(c.Ticket)
		if known.code == hash {
			return t, ""
		}
		// Another code for a number we hold: replaced since, or made with a stolen
		// key. It is never admitted on its signature alone.
		if reason := k.verify(c); reason != "" {
			return admission.Ticket{}, reason
		}
		return t, syncproto.ReasonRevoked
	}
	if c.Provisional {
		return k.provisional(c, hash)
	}
	if reason := k.verify(c); reason != "" {
		return admission.Ticket{}, reason
	}
	if c.NeedsRoster {
		return admission.Ticket{}, syncproto.ReasonUnknown
	}
	return admission.Ticket{No: c.Ticket, Type: c.Type, NotBefore: c.NotBefore, NotAfter: c.NotAfter}, ""
}

// verify checks the signature of a code; empty when it is genuine. A key that
// this gate has not heard of yet proves nothing either way.
func (k *ledger) verify(c *credential.Code) syncproto.Reason {
	if c.Provisional {
		return verifyProvisional(k, c)
	}
	if k.trust == nil {
		return syncproto.ReasonUnknown
	}
	key := k.trust.Key(syncproto.PurposeTicket, c.Key)
	switch {
	case key == nil:
		return syncproto.ReasonUnknown
	case !c.Verify(key.Public):
		return syncproto.ReasonBadSignature
	}
	return ""
}

// apply takes records, each the current state of its subject. observe is told of
// every entry with an effect. The result is those that were not known before.
func (k *ledger) apply(recs []syncproto.Record, observe func(*syncproto.EntryRecord)) (fresh []*syncproto.Entry) {
	touched := map[syncproto.TicketNo]bool{}
	for i := range recs {
		rec := &recs[i]
		switch {
		case rec.Ticket != nil:
			k.audit.touch(k.event, k.roster, rec.Ticket.No)
			k.roster.Put(rec.Ticket)
		case rec.Entry != nil:
			_, known := k.history[rec.Entry.Ticket].find(rec.Entry.Ref())
			if k.learn(rec.Entry, true) {
				observe(rec.Entry)
				if !known {
					fresh = append(fresh, &rec.Entry.Entry)
				}
				touched[rec.Entry.Ticket] = true
			}
		case rec.Device != nil:
			k.setDevice(*rec.Device)
		case rec.Lease != nil:
			k.desk.put(*rec.Lease)
		case rec.Rules != nil:
			k.setRules(rec.Rules)
		case rec.Trust != nil:
			k.setTrust(rec.Trust)
		case rec.Finding != nil:
			k.findings.take(k.device, rec.Finding)
		}
	}
	for no := range touched {
		k.history[no].fold(k.rules)
	}
	return fresh
}

// replace takes a whole roster. Facts are joined with those that are known.
func (k *ledger) replace(l *Loaded, observe func(*syncproto.EntryRecord)) {
	k.roster, k.audit = &l.Roster, nil
	if l.Trust != nil {
		k.setTrust(l.Trust)
	}
	for _, d := range l.Devices {
		k.setDevice(d)
	}
	k.desk.reset(l.Leases)
	for i := range l.Entries {
		if k.learn(&l.Entries[i], true) {
			observe(&l.Entries[i])
		}
	}
	k.findings.replace(k.device, l.Findings)
	if l.Rules != nil {
		k.setRules(l.Rules)
	}
	k.foldAll()
}

// learn adds an entry of any gate and reports whether its ticket must be folded.
// central is whether it came from there, verdict and all.
func (k *ledger) learn(e *syncproto.EntryRecord, central bool) bool {
	if e.Device == k.device {
		k.desk.learn(&e.Entry)
	}
	// What this gate did itself stays true to it, also while central does not trust
	// it: a quarantined gate must not admit a ticket twice.
	f, ok := admission.FactOf(&e.Entry, e.Untrusted && e.Device != k.device)
	if !ok || e.Ticket == 0 || e.Event != k.event {
		return false
	}
	u := use{ref: f.Ref, device: e.Device, central: central, Use: Use{At: time.UnixMilli(e.At + e.OffsetMS), Lane: e.Lane}}
	if e.Device != k.device {
		u.Gate = k.gates.name(e.Device)
	}
	h := k.historyOf(e.Ticket)
	h.insert(f, u)
	h.drop(func(c *claim) bool { return c.device == e.Device && c.fact.T <= e.T })
	return true
}

func (k *ledger) historyOf(no syncproto.TicketNo) *history {
	h := k.history[no]
	if h == nil {
		h = newHistory()
		k.history[no] = h
	}
	return h
}

// use is an admission that the ledger knows of, or that a gate claims, as staff
// read it.
func (k *ledger) use(no syncproto.TicketNo, r syncproto.Ref) Use {
	if r.IsZero() {
		return Use{}
	}
	u, _ := k.history[no].find(r)
	if u.Gate == "" && u.device != k.device {
		u.Gate = k.gates.name(u.device)
	}
	return u.Use
}

// reserve counts a fact that this gate makes now.
func (k *ledger) reserve(e *syncproto.Entry) {
	if f, ok := admission.FactOf(e, false); ok {
		u := use{ref: f.Ref, device: k.device, Use: Use{At: time.UnixMilli(e.At + e.OffsetMS), Lane: e.Lane}}
		k.historyOf(e.Ticket).append(k.rules, f, u)
	}
}

// setRules compiles new rules. Rules that do not compile leave the old ones in
// force and are shown in the status.
func (k *ledger) setRules(r *syncproto.Rules) {
	compiled, err := admission.Compile(r)
	if k.rulesErr = err; err != nil {
		return
	}
	k.rules, k.policy, k.name, k.types = compiled, r.Policy, r.Name, r.Types
	k.foldAll()
}

func (k *ledger) foldAll() {
	for _, h := range k.history {
		h.fold(k.rules)
	}
}

// setTrust takes a bundle only if the pinned root key vouches for all of it.
func (k *ledger) setTrust(b *syncproto.TrustBundle) {
	if b.Verify(k.pinned) == nil {
		k.trust = b
	}
}

func (k *ledger) setDevice(d syncproto.DeviceRecord) {
	if revoked := k.gates.set(d); !revoked || d.Device == k.device {
		return
	}
	for _, h := range k.history {
		if h.distrust(d.Device, func(r syncproto.Ref) bool { return k.gates.untrusted(d.Device, r) }) {
			h.fold(k.rules)
		}
	}
}
