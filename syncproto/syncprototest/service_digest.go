package syncprototest

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// comparer is the part of the service that compares rosters.
type comparer struct{ m *Memory }

// Digest implements wire.Service.
func (c comparer) Digest(_ context.Context, id uuid.UUID, req syncproto.DigestRequest) (syncproto.DigestReply, error) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	ev, at, err := placeLocked(c.m, id, req.Stream, req.Cursor)
	if err != nil {
		return syncproto.DigestReply{}, err
	}
	except, seen := []syncproto.Subject{}, map[syncproto.Subject]bool{}
	leave := func(row subject) {
		if k := (syncproto.Subject{Kind: row.kind, ID: row.id, No: row.no}); !seen[k] {
			seen[k], except = true, append(except, k)
		}
	}
	for _, row := range ev.log.after(at, int(ev.log.head()-at)) {
		leave(row.subject)
	}
	for _, row := range ev.log.outbox {
		leave(row.subject)
	}
	if len(except) > syncproto.DigestExceptMax {
		return syncproto.DigestReply{}, syncproto.Errorf(syncproto.CodeOverloaded, "More than %d subjects have changed after the cursor.", syncproto.DigestExceptMax)
	}
	var d syncproto.Digest
	all := records(c.m, ev)
	for i := range all {
		if !seen[syncproto.SubjectOf(&all[i])] {
			d.Add(ev.rules.Event, &all[i])
		}
	}
	return syncproto.DigestReply{
		Stream: req.Stream, At: at, Head: ev.log.head(), Count: d.Count(), Sums: d.Bytes(), Except: except, ServerMS: c.m.cfg.Now().UnixMilli(),
	}, nil
}

// Bucket implements wire.Service.
func (c comparer) Bucket(_ context.Context, id uuid.UUID, req syncproto.BucketRequest) (syncproto.BucketPage, error) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	ev, _, err := placeLocked(c.m, id, req.Stream, req.Cursor)
	if err != nil {
		return syncproto.BucketPage{}, err
	}
	p := syncproto.BucketPage{Stream: req.Stream, Bucket: req.Bucket, After: req.After, Head: ev.log.head(), ServerMS: c.m.cfg.Now().UnixMilli()}
	for _, rec := range records(c.m, ev) {
		subject := syncproto.SubjectOf(&rec)
		if syncproto.Counted(ev.rules.Event, &rec) && subject.Bucket() == req.Bucket && (req.After.Kind == "" || compareSubjects(subject, req.After) > 0) {
			p.Records = append(p.Records, rec)
		}
	}
	slices.SortFunc(p.Records, func(a, b syncproto.Record) int {
		return compareSubjects(syncproto.SubjectOf(&a), syncproto.SubjectOf(&b))
	})
	n, err := wire.FitPage(p.Records)
	p.Records, p.More = p.Records[:n], n < len(p.Records)
	return p, err
}

// compareSubjects is the order of a bucket.
func compareSubjects(a, b syncproto.Subject) int {
	kinds := []syncproto.RecordKind{syncproto.RecordRules, syncproto.RecordDevice, syncproto.RecordTicket, syncproto.RecordEntry}
	return cmp.Or(
		cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)), bytes.Compare(a.ID[:], b.ID[:]), cmp.Compare(a.No, b.No))
}

// placeLocked is where a cursor of a stream is.
func placeLocked(m *Memory, id, stream uuid.UUID, text string) (*event, int64, error) {
	ev, err := streamOf(m, id, stream)
	if err != nil {
		return nil, 0, err
	}
	cursor := syncproto.Cursor{Epoch: m.epoch}
	if text != "" {
		if cursor, err = syncproto.ParseCursor(text); err != nil {
			return nil, 0, syncproto.Errorf(syncproto.CodeMalformed, "The cursor is not one of this protocol.")
		}
	}
	return ev, cursor.Seq, ev.log.check(cursor, m.epoch)
}
