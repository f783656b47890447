package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
)

// bug is a classic mistake that a world can be given, to see that the simulator
// finds it. The simulator makes it where it would be made: in the shells of a gate,
// in the database, or by what it passes to the shipped code. That code itself knows
// nothing of it.
type bug string

// The bug bank.
const (
	bugNone         bug = ""
	bugBigserial    bug = "cursor on bigserial"
	bugCursorFirst  bug = "cursor saved before data"
	bugAckEarly     bug = "ack before fsync"
	bugSeqReused    bug = "seq reused after crash"
	bugSameLife     bug = "incarnation kept after restore"
	bugNoTag        bug = "missing tag check"
	bugHole         bug = "watermark with hole"
	bugReplyOnly    bug = "outcome only in push reply"
	bugUploadFirst  bug = "upload blocks download"
	bugNoClamp      bug = "HLC without clamp"
	bugOldSession   bug = "checkpoint of an earlier session accepted"
	bugWindow       bug = "duplicate suppressed by a time window"
	bugRejects      bug = "rule-breaking event refused"
	bugReplyEarly   bug = "push answered before its commit"
	bugSealDropped  bug = "seal request dropped while another seals"
	bugFsyncIgnored bug = "fsync error ignored"
	bugNoBackoff    bug = "retry without back-off"
	bugForgetsStops bug = "snapshot without withdrawn tickets"
	bugReachedHome  bug = "home from reachability"
	bugSilenceIsYes bug = "silence of a peer taken for consent"
	bugLeaseLate    bug = "lease counted when answered"
	bugSalesInMem   bug = "sold numbers kept in memory only"
	bugReclaims     bug = "lease reclaimed from a silent gate"
	bugTrustsDisk   bug = "disk that was set back trusted to hold every sale"
	bugLeaseAwaited bug = "lease answer that was lost is waited for"
	bugForgetsCarry bug = "entries of a peer kept in memory only"
)

// story says what a bug does, for whoever reads the bank.
type story struct {
	bug   bug
	about string
}

func bank() []story {
	return []story{
		{bugBigserial, "readers go by the number a row got when it was written, and skip what commits later"},
		{bugCursorFirst, "a gate's replica file takes the position in one transaction and the page in the next"},
		{bugAckEarly, "a lane turns green when the entry is queued"},
		{bugSeqReused, "a journal goes on in its incarnation, from the number that it last told central"},
		{bugSameLife, "a journal goes on in its incarnation after every start, also that of an old image"},
		{bugNoTag, "central looks at epoch and number of a cursor only"},
		{bugHole, "central takes a push that leaves a gap, and acknowledges its end"},
		{bugReplyOnly, "a verdict that changes later is told to nobody"},
		{bugUploadFirst, "a gate asks for pages only while no push is under way"},
		{bugNoClamp, "a time from elsewhere is followed however far it is ahead"},
		{bugOldSession, "a snapshot that was asked for once is loaded again when it comes again"},
		{bugWindow, "central drops an admission of a ticket that was admitted within two seconds"},
		{bugRejects, "central refuses a push with an admission of a ticket that is not good"},
		{bugReplyEarly, "central answers a push while its transaction is open"},
		{bugSealDropped, "a sealer that finds the lock taken leaves the work to whoever has it"},
		{bugFsyncIgnored, "a gate goes on after a failed fsync as if it had worked"},
		{bugNoBackoff, "a gate tries again at once"},
		{bugForgetsStops, "tickets that were withdrawn are left out of snapshots"},
		{bugReachedHome, "the home of a ticket is chosen among the gates that can be reached"},
		{bugSilenceIsYes, "a gate that asks others waits for none of them"},
		{bugLeaseLate, "central counts the places of a lease when it has answered, not when it makes it"},
		{bugSalesInMem, "a gate does not read in its journal which numbers it sold"},
		{bugReclaims, "central gives away what a gate holds that it has not heard for five seconds"},
		{bugTrustsDisk, "a gate sells at once after its box was off, from whatever is on its disk"},
		{bugLeaseAwaited, "a gate asks for no lease while the answer to one is due, however long"},
		{bugForgetsCarry, "a gate does not write down what it holds for others"},
	}
}

// sabotageSeal loses rows as a log would that is wrong.
func sabotageSeal(st *store, s *syncprototest.Sealing) {
	switch st.w.bug {
	case bugBigserial:
		seen := st.tricks.sealedTo
		s.Drop(func(place int64, _ syncproto.RecordKind, _ syncproto.Ref) bool {
			st.tricks.sealedTo = max(st.tricks.sealedTo, place)
			return place < seen
		})
	case bugReplyOnly:
		s.Drop(func(_ int64, kind syncproto.RecordKind, entry syncproto.Ref) bool {
			if kind != syncproto.RecordEntry {
				return false
			}
			again := st.tricks.told[entry]
			st.tricks.told[entry] = true
			return again
		})
	}
}

// tricks are what bugs of central remember.
type tricks struct {
	sealedTo int64
	told     map[syncproto.Ref]bool
	admitted map[syncproto.TicketNo]int64
	late     map[uuid.UUID]int           // places of leases that are not counted yet
	heard    map[uuid.UUID]time.Duration // when a gate last asked for anything
}

func newTricks() tricks {
	return tricks{told: map[syncproto.Ref]bool{}, admitted: map[syncproto.TicketNo]int64{}, late: map[uuid.UUID]int{}, heard: map[uuid.UUID]time.Duration{}}
}

// sabotagePush is the writing part of a push.
func sabotagePush(ctx context.Context, s session, id uuid.UUID, req syncproto.PushRequest) (syncproto.PushReply, error) {
	st := s.st
	last := req.Entries[len(req.Entries)-1]
	switch st.w.bug {
	case bugWindow:
		req.Entries = slices.Clone(req.Entries)
		for i := range req.Entries {
			e := &req.Entries[i]
			at := e.At + e.OffsetMS
			if before, ok := st.tricks.admitted[e.Ticket]; ok && e.Kind == syncproto.KindAdmit && at-before < 2000 && at > before {
				e.Kind = "suppressed"
			}
			if e.Kind == syncproto.KindAdmit {
				st.tricks.admitted[e.Ticket] = at
			}
		}
	case bugRejects:
		now := stateOf([]write{{records: st.view.Records(st.event)}})
		for i := range req.Entries {
			e := &req.Entries[i]
			if t, ok := now.tickets[e.Ticket]; ok && e.Kind == syncproto.KindAdmit && t.Status != syncproto.StatusPaid {
				return syncproto.PushReply{}, syncproto.Errorf(syncproto.CodeMalformed, "Ticket %d must not be admitted.", e.Ticket)
			}
		}
	}
	r, err := s.Service.Push(ctx, id, req)
	if refusal := syncproto.AsError(err); st.w.bug == bugHole && refusal != nil && refusal.Code == syncproto.CodeGap {
		return syncproto.PushReply{Acked: syncproto.Position{Ref: last.Ref(), Hash: last.Hash}}, nil
	}
	if err == nil {
		st.w.check.taken = append(st.w.check.taken, taken{id, req})
	}
	return r, err
}

// sabotageCursor is the cursor that central checks in place of the one it got.
func sabotageCursor(st *store, asked string) string {
	if st.w.bug != bugNoTag || asked == "" {
		return asked
	}
	cur, err := syncproto.ParseCursor(asked)
	st.w.must(err)
	if real, ok := st.view.CursorAt(st.event, cur.Seq); ok && real.Epoch == cur.Epoch {
		return real.String()
	}
	return asked
}

func sabotageConfig(b *box, cfg *node.Config) {
	switch b.w.bug {
	case bugReachedHome:
		cfg.Home = func(no syncproto.TicketNo, _ int64) (uuid.UUID, bool) { return reachedHome(b, no), true }
	case bugNoClamp:
		cfg.Drift = math.MaxInt64
	case bugTrustsDisk:
		cfg.Sure = true
	case bugNoBackoff:
		cfg.Timing.BackoffBase, cfg.Timing.BackoffMax = time.Millisecond, time.Millisecond
	}
}

// sabotageOpening opens a journal that goes on where the file ends.
func sabotageOpening(b *box, o opening) opening {
	switch b.w.bug {
	case bugSameLife:
		o.resume = true
	case bugSeqReused:
		o.resume = true
		old := &journal{file: &b.jfile}
		if old.load() != nil || len(old.streams) == 0 {
			return o
		}
		told := max(1, old.current().acked.Seq)
		for n := len(b.jfile.records); n > 1 && old.current().sizeOf(&b.jfile.records[n-1].value) > told; n-- {
			b.jfile.records = b.jfile.records[:n-1]
		}
		b.jfile.synced = min(b.jfile.synced, len(b.jfile.records))
	}
	return o
}

// sizeOf is the number of the last entry of a commit, 0 where it is another stream's.
func (s *stream) sizeOf(c *commit) uint64 {
	for i := range s.entries {
		if n := len(c.rows); n > 0 && s.entries[i].Hash == c.rows[n-1].hash {
			return s.entries[i].Seq
		}
	}
	return 0
}

// sabotageReplica writes the position before the page.
func sabotageReplica(b *box) {
	if b.w.bug != bugCursorFirst {
		return
	}
	last := &b.rfile.records[len(b.rfile.records)-1]
	data := last.value
	last.value.records = nil
	b.rfile.write(data)
}

// sabotageAck shows an answer before it is on the disk.
func sabotageAck(b *box, a answer, e *syncproto.Entry) {
	if b.w.bug == bugAckEarly {
		b.watch.shown(a, e)
	}
}

// sabotageSync takes a failed fsync for a good one.
func sabotageSync(b *box, done *[]syncproto.Entry, err error) error {
	if b.w.bug != bugFsyncIgnored || err == nil {
		return err
	}
	*done, b.journal.writing, b.journal.broken = b.journal.writing, nil, false
	s := b.journal.current()
	for i := range *done {
		s.entries, s.sigs = append(s.entries, (*done)[i]), append(s.sigs, nil)
	}
	return nil
}

// sabotageAnswer has a snapshot come a second time.
func sabotageAnswer(b *box, a *node.Answer) {
	if b.w.bug != bugOldSession || a.Loaded == nil || a.Err != nil {
		return
	}
	again := *a
	old := *a.Loaded
	again.Loaded = &old
	b.after(b.w.between(5*time.Second, 20*time.Second), func() { b.step(again) })
}

// sabotageCall holds calls for pages back while a push is under way. It reports
// whether it did.
func sabotageCall(b *box, c node.Call) bool {
	if b.w.bug != bugUploadFirst || c.Kind != node.CallChanges || b.flights[node.CallPush] == nil {
		return false
	}
	b.after(100*time.Millisecond, func() {
		if !sabotageCall(b, c) {
			call(b, c)
		}
	})
	return true
}

// sabotageSnapshot leaves tickets out.
func sabotageSnapshot(b *box, records []syncproto.Record) []syncproto.Record {
	if b.w.bug != bugForgetsStops {
		return records
	}
	return slices.DeleteFunc(records, func(r syncproto.Record) bool {
		return r.Ticket != nil && (r.Ticket.Status == syncproto.StatusRevoked || r.Ticket.Status == syncproto.StatusCancelled)
	})
}

// sabotageCommit answers a push whose transaction is still open. It reports whether
// it did.
func sabotageCommit(ctx context.Context, s session, place *syncprototest.Place, id uuid.UUID, req syncproto.PushRequest) (syncproto.PushReply, bool) {
	st := s.st
	if st.w.bug != bugReplyEarly {
		return syncproto.PushReply{}, false
	}
	last := req.Entries[len(req.Entries)-1]
	before := st.view.Watermark(req.Incarnation).Seq
	b, _ := ctx.Value(backendKey{}).(*backend)
	gen := b.c.gen
	st.w.after(st.w.between(time.Millisecond, 15*time.Millisecond), func() {
		if b.c.gen == gen && !st.down {
			st.db.Write(place, func() { _, _ = s.Service.Push(ctx, id, req) })
			st.db.Show(place)
			st.w.check.stored(req.Incarnation, before)
			b.c.touch()
		}
	})
	acked := syncproto.Position{Ref: last.Ref(), Hash: last.Hash}
	st.w.check.acked(acked)
	return syncproto.PushReply{Acked: acked}, true
}

// sabotageClaim answers a question before the peer does.
func sabotageClaim(b *box, c *conn, msg *syncproto.PeerMessage) {
	if b.w.bug != bugSilenceIsYes || msg.Claim == nil || !msg.Claim.Ask {
		return
	}
	peer := c.ends[1-c.end(b)].device
	yes := syncproto.PeerMessage{Answer: &syncproto.ClaimAnswer{ID: msg.Claim.ID, OK: true}}
	b.after(0, func() { b.step(node.PeerSaid{From: peer, Msg: yes}) })
}

// reachedHome is the home of a ticket as a gate would have it that asks who can be
// reached.
func reachedHome(b *box, no syncproto.TicketNo) uuid.UUID {
	best, score := b.device, homeScore(b.device, no)
	for _, c := range peersOf(b, uuid.Nil) {
		id := c.ends[1-c.end(b)].device
		if s := homeScore(id, no); s > score {
			best, score = id, s
		}
	}
	return best
}

func homeScore(id uuid.UUID, no syncproto.TicketNo) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", id, no))
	return string(sum[:])
}

// sabotageOwn is how a node hears of its own entries.
func sabotageOwn(b *box) func(*syncproto.Entry) {
	return func(e *syncproto.Entry) {
		if b.w.bug != bugSalesInMem || e.Kind != syncproto.KindSale {
			b.node.Own(e)
		}
	}
}

// sabotageLease leaves the places of a new lease uncounted until sabotageLeased.
func sabotageLease(st *store, r *syncproto.LeaseReply) {
	if st.w.bug != bugLeaseLate || r.Lease == nil {
		return
	}
	if _, known := st.w.market.leases[r.Lease.ID]; !known {
		st.tricks.late[r.Lease.ID] = r.Lease.Count
		countLate(st)
	}
}

// sabotageLeased counts a lease whose request was answered.
func sabotageLeased(st *store, r *syncproto.LeaseReply) {
	if st.w.bug == bugLeaseLate && r.Lease != nil {
		delete(st.tricks.late, r.Lease.ID)
		countLate(st)
	}
}

func countLate(st *store) {
	quota := st.w.market.quota
	for _, n := range st.tricks.late {
		quota += n
	}
	st.w.market.shop.SetQuota(walkUpType, quota)
}

// sabotageSweep gives away what gates hold that have not been heard.
func sabotageSweep(st *store) {
	if st.w.bug != bugReclaims || st.w.market == nil {
		return
	}
	for _, b := range st.w.market.shop.Leases() {
		if b.State == syncproto.LeaseOpen && st.w.now-st.tricks.heard[b.Device] > 5*time.Second {
			st.w.must(st.w.market.shop.Release(b.ID))
		}
	}
}

// sabotageLost has a box never hear that a lease request came to nothing. It reports
// whether it did.
func sabotageLost(b *box, a *node.Answer) bool {
	return b.w.bug == bugLeaseAwaited && a.Call.Kind == node.CallLease && a.Err != nil
}
