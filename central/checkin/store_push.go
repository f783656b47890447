package checkin

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
	"gatehouse/syncproto/wire"
)

// owner is the device that a journal is of, as central knows it.
type owner struct {
	event       syncproto.EventNo
	stream      uuid.UUID
	rulesRev    int64
	revoked     bool
	quarantined bool
	copied      bool // found in this push: two boxes have its key
	trusted     syncproto.Ref
}

// trusts reports whether an entry that arrives now counts. What the chain of a
// revoked device adds after its last trusted entry does not, whatever time it
// claims, and what a device in quarantine adds waits for an operator.
func (o owner) trusts(ref syncproto.Ref) bool {
	if o.revoked {
		return ref.Incarnation == o.trusted.Incarnation && ref.Seq <= o.trusted.Seq
	}
	return !o.quarantined && !o.copied
}

// Push stores entries durably and judges the tickets they are about. The caller
// has verified the chain and its signature against the key of req.Device, which
// need not be the device that pushes. Sending a push again changes nothing.
// Refusals are *syncproto.Error: CodeGap where entries before are missing,
// CodeFork where other entries are stored, CodeForbidden for a chain of another
// event. A fork quarantines the owner, and so does a device that goes on in a line
// which its own last hello has left: there are two of it.
func (s *Service) Push(ctx context.Context, pusher uuid.UUID, req syncproto.PushRequest) (syncproto.PushReply, error) {
	var reply syncproto.PushReply
	var own owner
	err := s.books.inFold(ctx, func(tx pgx.Tx) (err error) {
		reply, own, err = s.push(ctx, tx, pusher, req)
		return err
	})
	if refusal := syncproto.AsError(err); refusal != nil && refusal.Code == syncproto.CodeFork {
		if qErr := s.cfg.Quarantine(ctx, req.Device, forkReason(req.Incarnation, refusal.Seq)); qErr != nil {
			return reply, fmt.Errorf("quarantine forked device: %w", qErr)
		}
		return reply, err
	}
	if err != nil {
		return syncproto.PushReply{}, fmt.Errorf("take push: %w", err)
	}
	s.cfg.Touch(own.stream)
	if own.copied {
		if err := s.cfg.Quarantine(ctx, req.Device, copyReason(req.Incarnation)); err != nil {
			return reply, fmt.Errorf("quarantine copied device: %w", err)
		}
	}
	return reply, nil
}

// push is Push within its transaction. The watermark goes last.
func (s *Service) push(ctx context.Context, tx pgx.Tx, pusher uuid.UUID, req syncproto.PushRequest) (syncproto.PushReply, owner, error) {
	var none syncproto.PushReply
	own, err := lockOwner(ctx, tx, pusher, req.Device)
	if err != nil {
		return none, own, err
	}
	rules, err := s.books.at(own.event, own.rulesRev)
	if err != nil {
		return none, own, err
	}
	acked, err := lockJournal(ctx, tx, own.event, req)
	if err != nil {
		return none, own, err
	}
	if err := continues(ctx, tx, acked, req); err != nil {
		return none, own, err
	}
	fresh := req.Entries
	if skip := int(acked.Seq+1) - int(req.First); skip > 0 {
		fresh = fresh[min(skip, len(fresh)):]
	}
	if len(fresh) == 0 {
		return syncproto.PushReply{Acked: acked}, own, nil
	}
	last := fresh[len(fresh)-1]
	if pusher == req.Device { // what a peer carries may be of a box that is gone
		if own.copied, err = goesOnElsewhere(ctx, tx, req.Device, last.Ref()); err != nil {
			return none, own, err
		}
	}
	if err := takeEntries(ctx, tx, s.cfg.Trade, rules, own, req.Device, fresh); err != nil {
		return none, own, err
	}
	acked = syncproto.Position{Ref: last.Ref(), Hash: last.Hash}
	return syncproto.PushReply{Acked: acked}, own, moveWatermark(ctx, tx, acked, req.HeadSig)
}

// lockOwner reads the device that a chain is of. The lock makes a revocation wait
// for this push, or this push see the revocation.
func lockOwner(ctx context.Context, tx pgx.Tx, pusher, device uuid.UUID) (owner, error) {
	var o owner
	var inc *uuid.UUID
	var seq *int64
	var ofPusher bool
	err := tx.QueryRow(ctx, `
		SELECT e.id, e.stream, e.rev, g.revoked_at IS NOT NULL, g.quarantined_at IS NOT NULL, g.trusted_incarnation, g.trusted_seq,
		       EXISTS (SELECT FROM gate p WHERE p.device_id = $2 AND p.event_id = g.event_id)
		FROM gate g
		JOIN event e ON e.id = g.event_id
		WHERE g.device_id = $1
		FOR KEY SHARE OF g`, device, pusher,
	).Scan(&o.event, &o.stream, &o.rulesRev, &o.revoked, &o.quarantined, &inc, &seq, &ofPusher)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !ofPusher {
		return owner{}, syncproto.Errorf(syncproto.CodeForbidden, "The chain is not of a gate of this event.")
	}
	if err != nil {
		return owner{}, fmt.Errorf("read owner of journal: %w", err)
	}
	o.trusted = refOf(inc, seq)
	return o, nil
}

// lockJournal makes this transaction the only one that adds to an incarnation,
// and returns its watermark. The first push of an incarnation creates its row.
func lockJournal(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, req syncproto.PushRequest) (syncproto.Position, error) {
	acked := syncproto.Position{Ref: syncproto.Ref{Incarnation: req.Incarnation}}
	if req.First == 1 {
		parentInc, parentSeq := columnsOf(parentOf(req.Entries))
		_, err := tx.Exec(ctx, `
			INSERT INTO journal_stream (incarnation, device_id, event_id, parent_incarnation, parent_seq, acked_hash)
			VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (incarnation) DO NOTHING`,
			req.Incarnation, req.Device, event, parentInc, parentSeq, acked.Hash[:])
		if err != nil {
			return acked, fmt.Errorf("create journal: %w", err)
		}
	}
	var device uuid.UUID
	var hash []byte
	err := tx.QueryRow(ctx, `
		SELECT device_id, acked_seq, acked_hash
		FROM journal_stream
		WHERE incarnation = $1
		FOR UPDATE`, req.Incarnation).Scan(&device, &acked.Seq, &hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return acked, nil // nothing is held of it, which continues calls a gap
	}
	if err != nil {
		return acked, fmt.Errorf("lock journal: %w", err)
	}
	if device != req.Device {
		return acked, syncproto.Errorf(syncproto.CodeForbidden, "The chain is of another gate.")
	}
	copy(acked.Hash[:], hash)
	return acked, nil
}

// parentOf is the end of the incarnation before, which a genesis names.
func parentOf(entries []syncproto.Entry) syncproto.Ref {
	if len(entries) == 0 || entries[0].Kind != syncproto.KindGenesis {
		return syncproto.Ref{}
	}
	return entries[0].Of
}

// continues checks that a push joins on to what is held, and that what it repeats
// is the same.
func continues(ctx context.Context, tx pgx.Tx, acked syncproto.Position, req syncproto.PushRequest) error {
	if req.First > acked.Seq+1 {
		gap := syncproto.Errorf(syncproto.CodeGap, "Entries from %d to %d are missing.", acked.Seq+1, req.First-1)
		gap.Expected = acked.Seq + 1
		return gap
	}
	if req.First == acked.Seq+1 {
		if req.Prev != acked.Hash {
			return fork(acked.Seq, acked.Hash)
		}
		return nil
	}
	// Sent holds what the push says of entries that are held, the one before it
	// included.
	sent := map[uint64]syncproto.Hash{}
	if req.First > 1 {
		sent[req.First-1] = req.Prev
	}
	for i := range req.Entries {
		if e := &req.Entries[i]; e.Seq <= acked.Seq {
			sent[e.Seq] = e.Hash
		}
	}
	return compareHashes(ctx, tx, req, sent)
}

func compareHashes(ctx context.Context, tx pgx.Tx, req syncproto.PushRequest, sent map[uint64]syncproto.Hash) error {
	rows, err := tx.Query(ctx, `
		SELECT seq, hash
		FROM checkin_entry
		WHERE incarnation = $1 AND seq BETWEEN $2 AND $3
		ORDER BY seq`, req.Incarnation, int64(req.First)-1, int64(req.First)+int64(len(req.Entries))-1)
	if err != nil {
		return fmt.Errorf("compare entries: %w", err)
	}
	var refusal error
	var seq int64
	var stored []byte
	err = forEach(rows, []any{&seq, &stored}, func() error {
		if hash, ok := sent[uint64(seq)]; ok && refusal == nil && string(hash[:]) != string(stored) {
			refusal = fork(uint64(seq), syncproto.Hash(stored))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("compare entries: %w", err)
	}
	return refusal
}

func forkReason(inc uuid.UUID, seq uint64) string {
	return fmt.Sprintf("entry %d of its journal %s came with two contents", seq, inc)
}

func copyReason(inc uuid.UUID) string {
	return fmt.Sprintf("it went on in journal %s, which its last hello had left", inc)
}

// fork refuses a second history of a journal.
func fork(seq uint64, stored syncproto.Hash) error {
	e := syncproto.Errorf(syncproto.CodeFork, "Entry %d is stored with other contents: two boxes write this journal.", seq)
	e.Seq, e.Hash = seq, stored
	return e
}

// takeEntries judges the tickets that new entries are about, and stores entries,
// verdicts and states. An entry is inserted with its verdict, so that the stream
// tells of it once. Sales come first, because what was sold may have been admitted
// in the same push; the places that leases give back come last.
func takeEntries(ctx context.Context, tx pgx.Tx, trade Trade, rules *admission.Rules, own owner, device uuid.UUID, fresh []syncproto.Entry) error {
	sales, finish, err := trade(ctx, tx, own.event, own.stream, device, trusted(own, fresh))
	if err != nil {
		return err
	}
	var numbers []syncproto.TicketNo
	for i := range fresh {
		if _, ok := admission.FactOf(&fresh[i], false); ok && aboutTicket(&fresh[i], own.event) {
			numbers = append(numbers, fresh[i].Ticket)
		}
	}
	found := changes{verdicts: map[syncproto.Ref]verdict{}}
	if len(numbers) > 0 {
		dossiers, err := openDossiers(ctx, tx, own.event, numbers)
		if err != nil {
			return err
		}
		for i := range fresh {
			e := &fresh[i]
			if fact, ok := admission.FactOf(e, !own.trusts(e.Ref())); ok && aboutTicket(e, own.event) {
				dossiers[e.Ticket].rows = append(dossiers[e.Ticket].rows, factRow{fact: fact})
			}
		}
		found = judgeAll(rules, dossiers)
	}
	for ref, outcome := range sales {
		found.verdicts[ref] = verdict{outcome: outcome}
	}
	if err := insertEntries(ctx, tx, own, device, fresh, found.verdicts); err != nil {
		return err
	}
	for i := range fresh {
		delete(found.verdicts, fresh[i].Ref())
	}
	if err := writeVerdicts(ctx, tx, found.verdicts); err != nil {
		return err
	}
	if err := writeStates(ctx, tx, own.event, found.states); err != nil {
		return err
	}
	return finish()
}

// trusted are the entries that count.
func trusted(own owner, fresh []syncproto.Entry) []syncproto.Entry {
	for i := range fresh {
		if !own.trusts(fresh[i].Ref()) {
			return fresh[:i] // what follows in a chain is trusted no more than that
		}
	}
	return fresh
}

// aboutTicket reports whether an entry is about a ticket of its gate's event.
func aboutTicket(e *syncproto.Entry, event syncproto.EventNo) bool {
	return e.Ticket != 0 && e.Event == event
}

// entryColumns are new entries, a slice for each column.
type entryColumns struct {
	seqs, ts, ats, errs  []int64
	kinds, reasons       []string
	lanes, zones, bodies []string
	outcomes             []string
	tickets              []*int32
	hashes               [][]byte
	untrusted            []bool
	ofIncs, outcomeIncs  []*uuid.UUID
	ofSeqs, outcomeSeqs  []*int64
}

func (c *entryColumns) add(e *syncproto.Entry, own owner, v verdict) error {
	body, err := wire.AppendEntry(nil, e)
	if err != nil {
		return fmt.Errorf("encode entry: %w", err)
	}
	var ticket *int32
	if aboutTicket(e, own.event) {
		n := int32(e.Ticket)
		ticket = &n
	}
	ofInc, ofSeq := columnsOf(e.Of)
	outcomeInc, outcomeSeq := columnsOf(v.of)
	c.seqs, c.ts = append(c.seqs, int64(e.Seq)), append(c.ts, int64(e.T))
	c.ats, c.errs = append(c.ats, e.At+e.OffsetMS), append(c.errs, e.ErrMS)
	c.kinds, c.reasons = append(c.kinds, string(e.Kind)), append(c.reasons, string(e.Reason))
	c.lanes, c.zones, c.bodies = append(c.lanes, e.Lane), append(c.zones, e.Zone), append(c.bodies, string(body))
	c.outcomes, c.tickets = append(c.outcomes, string(v.outcome)), append(c.tickets, ticket)
	c.hashes, c.untrusted = append(c.hashes, e.Hash[:]), append(c.untrusted, !own.trusts(e.Ref()))
	c.ofIncs, c.ofSeqs = append(c.ofIncs, ofInc), append(c.ofSeqs, ofSeq)
	c.outcomeIncs, c.outcomeSeqs = append(c.outcomeIncs, outcomeInc), append(c.outcomeSeqs, outcomeSeq)
	return nil
}

func insertEntries(ctx context.Context, tx pgx.Tx, own owner, device uuid.UUID, fresh []syncproto.Entry, verdicts map[syncproto.Ref]verdict) error {
	var c entryColumns
	for i := range fresh {
		if err := c.add(&fresh[i], own, verdicts[fresh[i].Ref()]); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO checkin_entry (incarnation, event_id, device_id, seq, t, at_ms, err_ms, kind, reason, lane, zone, body,
		                           outcome, ticket, hash, untrusted, of_inc, of_seq, outcome_inc, outcome_seq)
		SELECT $1, $2, $3, v.*
		FROM unnest($4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[],
		            $13::text[], $14::int[], $15::bytea[], $16::bool[], $17::uuid[], $18::bigint[], $19::uuid[], $20::bigint[]) v
		ON CONFLICT (incarnation, seq) DO NOTHING`,
		fresh[0].Incarnation, own.event, device, c.seqs, c.ts, c.ats, c.errs, c.kinds, c.reasons, c.lanes, c.zones, c.bodies,
		c.outcomes, c.tickets, c.hashes, c.untrusted, c.ofIncs, c.ofSeqs, c.outcomeIncs, c.outcomeSeqs)
	if err != nil {
		return fmt.Errorf("store entries: %w", err)
	}
	return nil
}

func moveWatermark(ctx context.Context, tx pgx.Tx, acked syncproto.Position, headSig []byte) error {
	_, err := tx.Exec(ctx, `
		UPDATE journal_stream
		SET acked_seq = $2, acked_hash = $3, head_sig = $4, pushed_at = clock_timestamp()
		WHERE incarnation = $1`, acked.Incarnation, int64(acked.Seq), acked.Hash[:], headSig)
	if err != nil {
		return fmt.Errorf("move watermark: %w", err)
	}
	return nil
}
