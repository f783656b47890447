package roster

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// place is where a cursor is in a stream, as one statement saw it.
type place struct {
	event  syncproto.EventNo
	epoch  uuid.UUID
	head   int64
	minSeq int64
	minTag int64
	tag    *int64 // of the cursor's own row; nil where there is none
}

// ref is a row of the log.
type ref struct {
	seq    int64
	tag    int64
	kind   int16
	entity uuid.UUID
	no     int64
}

// subject is what a row refers to.
type subject struct {
	kind   int16
	entity uuid.UUID
	no     int64
}

func (f ref) subject() subject { return subject{f.kind, f.entity, f.no} }

// Changes answers what follows a cursor. With nothing to tell it waits for up to
// WaitMS, without a database connection, and then answers with an empty page.
// An empty cursor is the origin. Limit and WaitMS are cut to the protocol's
// limits. Refusals are *syncproto.Error: CodeResync for a cursor of another
// history, CodeGone for one before the trimmed part.
func (r *Roster) Changes(ctx context.Context, req syncproto.ChangesRequest) (syncproto.Page, error) {
	if req.Limit <= 0 || req.Limit > syncproto.PageRecordsMax {
		req.Limit = syncproto.PageRecordsMax
	}
	wait := min(time.Duration(max(req.WaitMS, 0))*time.Millisecond, syncproto.WaitMax)
	over := time.NewTimer(wait)
	defer over.Stop()
	for last := wait == 0; ; {
		// Who parks first and looks then misses nothing in between.
		grown, leave := r.hub.park(req.Stream)
		page, err := r.reader.page(ctx, req)
		if err != nil || page.To > page.From || last || r.hub.isClosed() {
			leave()
			return page, err
		}
		select {
		case <-grown:
		case <-over.C:
			last = true
		case <-ctx.Done():
			err = fmt.Errorf("wait for changes: %w", ctx.Err())
		}
		leave()
		if err != nil {
			return syncproto.Page{}, err
		}
	}
}

// reader reads pages of the log and the state that they tell of.
type reader struct{ cfg Config }

// page reads what follows a cursor now.
func (r reader) page(ctx context.Context, req syncproto.ChangesRequest) (syncproto.Page, error) {
	cursor, err := parseCursor(req.Cursor)
	if err != nil {
		return syncproto.Page{}, err
	}
	at, err := locate(ctx, r.cfg.Pool, req.Stream, &cursor.Seq)
	if err != nil {
		return syncproto.Page{}, err
	}
	if req.Cursor == "" {
		cursor.Epoch = at.epoch
	}
	if err := at.check(cursor); err != nil {
		return syncproto.Page{}, err
	}
	page := syncproto.Page{
		Stream: req.Stream, From: cursor.Seq, To: cursor.Seq, Next: cursor.String(),
		Head: at.head, ServerMS: r.cfg.Now().UnixMilli(),
	}
	if at.head == cursor.Seq {
		return page, nil
	}
	if err := r.fill(ctx, &page, at, req.Limit); err != nil {
		return syncproto.Page{}, err
	}
	return page, nil
}

// fill puts into an empty page what follows it.
func (r reader) fill(ctx context.Context, page *syncproto.Page, at place, limit int) error {
	refs, err := r.refs(ctx, page.Stream, page.From, limit)
	if err != nil {
		return err
	}
	if err := contiguous(refs, page.From, at.minSeq); err != nil {
		return err
	}
	state, err := r.state(ctx, at.event, refs)
	if err != nil {
		return err
	}
	last, err := tell(page, refs, state)
	if err != nil {
		return err
	}
	page.To = last.seq
	page.Head = max(page.Head, last.seq)
	page.Next = syncproto.Cursor{Epoch: at.epoch, Seq: last.seq, Tag: last.tag}.String()
	return nil
}

// check refuses a cursor that is not of this history.
func (p place) check(c syncproto.Cursor) error {
	switch {
	case c.Epoch != p.epoch:
		return resync(syncproto.ResyncEpoch, "Central was restored from a backup. Bootstrap again.")
	case c.Seq > p.head:
		return resync(syncproto.ResyncAhead, "The cursor is past the end of central's log. Bootstrap again.")
	case c.Seq < p.minSeq-1:
		return gone(p.minSeq)
	case c.Seq == p.minSeq-1 && c.Tag == p.minTag, p.tag != nil && c.Tag == *p.tag:
		return nil
	}
	return resync(syncproto.ResyncTag, "The cursor is of another history of central's log. Bootstrap again.")
}

func resync(reason, sentence string) error {
	e := syncproto.Errorf(syncproto.CodeResync, "%s", sentence)
	e.Reason = reason
	return e
}

func gone(minSeq int64) error {
	e := syncproto.Errorf(syncproto.CodeGone, "The log before %d is trimmed. Bootstrap again.", minSeq)
	e.MinSeq = minSeq
	return e
}

// contiguous checks that rows go on from a cursor without a gap. The only one
// that can be there is one that was trimmed between two statements.
func contiguous(refs []ref, from, minSeq int64) error {
	for i, f := range refs {
		if f.seq == from+int64(i)+1 {
			continue
		}
		if i == 0 {
			return gone(max(minSeq, f.seq))
		}
		return fmt.Errorf("read log: row %d follows row %d", f.seq, from+int64(i))
	}
	if len(refs) == 0 {
		return gone(minSeq)
	}
	return nil
}

// tell puts the state of each subject into the page once, at its first row, as
// far as a page has room, and returns the last row that it covers.
func tell(page *syncproto.Page, refs []ref, state map[subject]syncproto.Record) (ref, error) {
	var rowOf []int // index of the row at which a record stands
	done := make(map[subject]bool, len(state))
	for i, f := range refs {
		rec, ok := state[f.subject()]
		if !ok || done[f.subject()] {
			continue
		}
		done[f.subject()] = true
		page.Records = append(page.Records, rec)
		rowOf = append(rowOf, i)
	}
	n, err := wire.FitPage(page.Records)
	if err != nil {
		return ref{}, fmt.Errorf("fit page: %w", err)
	}
	if n == len(page.Records) {
		return refs[len(refs)-1], nil
	}
	page.Records = page.Records[:n]
	return refs[rowOf[n]-1], nil
}

// state reads what the rows refer to as it is now, which is never older than
// what they tell of.
func (r reader) state(ctx context.Context, event syncproto.EventNo, refs []ref) (map[subject]syncproto.Record, error) {
	byKind := map[int16][]subject{}
	seen := make(map[subject]bool, len(refs))
	for _, f := range refs {
		if s := f.subject(); !seen[s] {
			seen[s] = true
			byKind[f.kind] = append(byKind[f.kind], s)
		}
	}
	out := make(map[subject]syncproto.Record, len(seen))
	for kind, subjects := range byKind {
		if err := r.stateOf(ctx, event, kind, subjects, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// stateOf is state for the subjects of one kind. A kind that this version does
// not know is left out; its number still counts.
func (r reader) stateOf(ctx context.Context, event syncproto.EventNo, kind int16, subjects []subject, out map[subject]syncproto.Record) error {
	switch kind {
	case KindTicket:
		return r.tickets(ctx, event, subjects, out)
	case KindEntry:
		return r.entries(ctx, subjects, out)
	case KindDevice:
		return r.devices(ctx, subjects, out)
	case KindLease:
		return r.leases(ctx, subjects, out)
	case KindFinding:
		return r.findings(ctx, event, subjects, out)
	case KindHolder:
		return r.holders(ctx, event, subjects, out)
	case KindRules, KindTrust, KindVault:
		if kind == KindVault && r.cfg.Vault == nil {
			return nil
		}
		rec, err := r.document(ctx, event, kind)
		if err != nil {
			return err
		}
		for _, s := range subjects {
			out[s] = rec
		}
	}
	return nil
}

// document is the one record of the rules, of the keys, or of the vault.
func (r reader) document(ctx context.Context, event syncproto.EventNo, kind int16) (syncproto.Record, error) {
	switch kind {
	case KindTrust:
		trust, err := r.cfg.Trust(ctx)
		if err != nil {
			return syncproto.Record{}, fmt.Errorf("read trust for roster: %w", err)
		}
		return syncproto.Record{Kind: syncproto.RecordTrust, Trust: &trust}, nil
	case KindVault:
		vault, err := r.cfg.Vault.Record(ctx, event)
		if err != nil {
			return syncproto.Record{}, fmt.Errorf("read vault for roster: %w", err)
		}
		return syncproto.Record{Kind: syncproto.RecordVault, Vault: &vault}, nil
	}
	rules, err := r.cfg.Rules(ctx, event)
	if err != nil {
		return syncproto.Record{}, fmt.Errorf("read rules for roster: %w", err)
	}
	return syncproto.Record{Kind: syncproto.RecordRules, Rules: &rules}, nil
}
