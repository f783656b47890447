package journal

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"gatehouse/syncproto"
)

// Salvaged is what can be read of a journal that was moved aside: every entry up
// to the first that does not verify. It reads as an open journal does and can be
// pushed as one; the file itself is evidence and is never written. All methods may
// be called from any goroutine.
type Salvaged struct {
	*Reader
	// Path of the file.
	Path string
	// Report is of what verifies; its Last is the last good entry, which a new
	// journal takes as Config.Parent.
	Report Report
	// Damage says why it ends there; nil at the end of a whole file.
	Damage error
}

// Salvage opens a journal that was moved aside and gives fn every entry up to the
// first that does not verify. The key is the device's: ranges that end between
// two commits are signed with it, because the commit that the damage cut short has
// lost its signature. An error means that nothing can be read; otherwise Close it.
func Salvage(ctx context.Context, path string, key ed25519.PrivateKey, fn func(*syncproto.Entry) error) (*Salvaged, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("salvage journal: %w", err)
	}
	r, err := openReader(ctx, path, nil)
	if err != nil {
		return nil, fmt.Errorf("salvage journal %s: %w", path, err)
	}
	s := &Salvaged{Reader: r, Path: path}
	var unread, broken, refused error
	r.key = key
	r.book, unread = readableBook(ctx, r.db)
	s.Report, broken = r.walk(ctx, func(e *syncproto.Entry) error {
		refused = fn(e)
		return refused
	})
	if err := errors.Join(refused, ctx.Err()); err != nil {
		return nil, errors.Join(fmt.Errorf("salvage journal %s: %w", path, err), r.Close())
	}
	s.Damage = errors.Join(unread, broken)
	r.book.cut(s.Report.Last)
	if end, err := r.book.find(s.Report.Last.Incarnation); err == nil && !end.key.Equal(key.Public()) {
		r.book.cut(s.Report.Signed) // by an identity that this box no longer has
	}
	return s, nil
}

// readableBook is loadBook for a file of which only a part can be read. Its last
// incarnation is one whose end is not found, if there is such a one: how far its
// entries go is then seen when they are read.
func readableBook(ctx context.Context, db *sql.DB) (*book, error) {
	b := &book{}
	for after := int64(0); ; {
		next, err := readStreams(ctx, db, extentFound, after, 1)
		if err == nil && len(next) == 1 {
			err = next[0].readHead(ctx, db)
		}
		if err != nil {
			next, _ = readStreams(ctx, db, extentMost, after, 1) // what cannot be read is where it ends
		}
		b.streams = append(b.streams, next...)
		if err != nil || len(next) == 0 {
			return b, err
		}
		after = next[0].ordinal
	}
}

// cut forgets what is after pos.
func (b *book) cut(pos syncproto.Position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.streams {
		if s := &b.streams[i]; s.last.Incarnation == pos.Incarnation {
			s.last = pos
			b.streams = b.streams[:i+1]
			return
		}
	}
	b.streams = nil
}

// Rewind records what central holds of an incarnation, whether that is more or
// less than before, for as long as this is open: the file is not written. Of an
// entry behind the damage nothing is known here, so that central may hold more
// than can be read.
func (s *Salvaged) Rewind(_ context.Context, pos syncproto.Position) error {
	st, err := s.book.find(pos.Incarnation)
	if err != nil {
		return err
	}
	if pos.Seq > st.last.Seq {
		pos = st.last
	}
	s.book.ack(st.ordinal, pos, 0, true)
	return nil
}
