package journal

import (
	"context"
	"fmt"
	"unicode/utf8"

	"gatehouse/syncproto"
)

// Pending is an entry on its way to the disk.
type Pending struct {
	j     *Journal
	entry syncproto.Entry
	err   error
	done  chan struct{}
}

// Append queues an entry and gives it its number; it neither waits nor writes. The
// entry is written when somebody waits for it or for a later one, and within a
// tenth of a second if nobody does. The order of calls is the order in the chain. T must be later than that of every entry
// before it (ErrOrder); texts must be UTF-8 of at most syncproto.TextMax bytes
// and the kind not genesis (ErrInvalid). A refused entry takes no number.
func (j *Journal) Append(e syncproto.Entry) (*Pending, error) {
	if err := valid(&e); err != nil {
		return nil, err
	}
	p := &Pending{j: j, done: make(chan struct{})}
	if err := j.queue.add(p, e); err != nil {
		return nil, err
	}
	return p, nil
}

// valid refuses what would not come back from JSON as it went in, because its
// chain hash would not either.
func valid(e *syncproto.Entry) error {
	if e.Kind == syncproto.KindGenesis || e.Kind == "" {
		return fmt.Errorf("%w: kind %q", ErrInvalid, e.Kind)
	}
	for _, s := range [...]string{string(e.Kind), string(e.Reason), e.Lane, e.Zone, string(e.Direction), e.By, e.Note} {
		if len(s) > syncproto.TextMax || !utf8.ValidString(s) {
			return fmt.Errorf("%w: text of %d bytes, at most %d of UTF-8 are allowed", ErrInvalid, len(s), syncproto.TextMax)
		}
	}
	return nil
}

// Wait returns the entry with its hash once it is durable. With an error nothing
// may be shown green: ErrBroken is final; an error of ctx says nothing about the
// entry, which may still become durable. Wait may do the writing itself, and is
// then not interrupted.
func (p *Pending) Wait(ctx context.Context) (syncproto.Entry, error) {
	select {
	case <-p.done:
		return p.entry, p.err
	default:
		p.j.pen.lead()
	}
	select {
	case <-p.done:
		return p.entry, p.err
	case <-ctx.Done():
		return syncproto.Entry{}, fmt.Errorf("wait for the journal: %w", ctx.Err())
	}
}

// Done is closed when Wait would return at once.
func (p *Pending) Done() <-chan struct{} {
	p.j.queue.signal()
	return p.done
}

func (p *Pending) finish(err error) {
	if err != nil {
		p.entry = syncproto.Entry{}
	}
	p.err = err
	close(p.done)
}
