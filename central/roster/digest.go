package roster

import (
	"context"
	"fmt"
	"time"

	"gatehouse/syncproto"
)

const (
	// digestSlots is how many digests one process makes at once: each reads a whole
	// roster. Who comes while all are taken is told to come again.
	digestSlots = 2
	// digestRetry is when.
	digestRetry = 5 * time.Second
)

// compare reads rosters for gates to compare theirs with.
type compare struct {
	cfg       Config
	reader    reader
	snapshots *snapshots
	slots     chan struct{} // a place for each digest that is being made
}

// Digest is the roster of a stream as of a cursor, for a gate to compare with its
// own. It is read in one snapshot, at the head of that moment. Whatever changed
// after the cursor, sealed or not, is left out and named; nothing else can differ
// at a gate that is where the cursor is. It is not signed: the server does that.
//
// Refusals are those of Changes, and CodeOverloaded while digestSlots others are
// being made or more than syncproto.DigestExceptMax subjects have changed.
func (r *compare) Digest(ctx context.Context, req syncproto.DigestRequest) (syncproto.DigestReply, error) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	default:
		return syncproto.DigestReply{}, busy("Central compares the rosters of other gates at the moment.")
	}
	cursor, err := parseCursor(req.Cursor)
	if err != nil {
		return syncproto.DigestReply{}, err
	}
	reply, err := r.digest(ctx, req, cursor)
	if err != nil && syncproto.AsError(err) == nil {
		return reply, fmt.Errorf("digest of stream %s: %w", req.Stream, err)
	}
	return reply, err
}

// parseCursor reads a cursor; none is the origin of any epoch.
func parseCursor(text string) (syncproto.Cursor, error) {
	if text == "" {
		return syncproto.Cursor{}, nil
	}
	cursor, err := syncproto.ParseCursor(text)
	if err != nil {
		return cursor, syncproto.Errorf(syncproto.CodeMalformed, "The cursor is not one of this protocol.")
	}
	return cursor, nil
}

func busy(sentence string) error {
	e := syncproto.Errorf(syncproto.CodeOverloaded, "%s", sentence)
	e.RetryMS = int(digestRetry / time.Millisecond)
	return e
}

// summing gathers a digest without the subjects that are left out.
type summing struct {
	event  syncproto.EventNo
	except []syncproto.Subject
	left   map[syncproto.Subject]bool
	digest syncproto.Digest
}

func newSumming(event syncproto.EventNo) *summing {
	return &summing{event: event, except: []syncproto.Subject{}, left: map[syncproto.Subject]bool{}}
}

// leave leaves a subject out.
func (s *summing) leave(k syncproto.Subject) {
	if !s.left[k] {
		s.left[k] = true
		s.except = append(s.except, k)
	}
}

func (s *summing) add(rec *syncproto.Record) {
	if len(s.left) == 0 || !s.left[syncproto.SubjectOf(rec)] {
		s.digest.Add(s.event, rec)
	}
}

// named is what a row of the log is of, in the protocol's terms. A kind that a
// digest does not count has none.
func (s subject) named() (syncproto.Subject, bool) {
	switch s.kind {
	case KindTicket:
		return syncproto.Subject{Kind: syncproto.RecordTicket, No: uint64(s.no)}, true
	case KindEntry:
		return syncproto.Subject{Kind: syncproto.RecordEntry, ID: s.entity, No: uint64(s.no)}, true
	case KindDevice:
		return syncproto.Subject{Kind: syncproto.RecordDevice, ID: s.entity}, true
	case KindRules:
		return syncproto.Subject{Kind: syncproto.RecordRules}, true
	}
	return syncproto.Subject{}, false
}

// Bucket is what of a bucket follows a subject, in the state of one moment. A
// withdrawn ticket whose code has been worthless for the grace time is in none, as
// in snapshots. It is not signed: the server does that.
func (r *compare) Bucket(ctx context.Context, req syncproto.BucketRequest) (syncproto.BucketPage, error) {
	cursor, err := parseCursor(req.Cursor)
	if err != nil {
		return syncproto.BucketPage{}, err
	}
	p, err := r.bucket(ctx, req, cursor)
	if err != nil && syncproto.AsError(err) == nil {
		return p, fmt.Errorf("bucket %d of stream %s: %w", req.Bucket, req.Stream, err)
	}
	return p, err
}
