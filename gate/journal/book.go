package journal

import (
	"crypto/ed25519"
	"fmt"
	"sync"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// Stream is one incarnation's standing. Acked is zero while central holds none.
type Stream struct {
	Incarnation uuid.UUID
	First       uint64 // lowest seq that is in the file
	Last        syncproto.Position
	Acked       syncproto.Position
}

// stream is what the book keeps of an incarnation. Entries first to last are in
// the file; first is above 1 only after a Prune that did not finish.
type stream struct {
	ordinal int64
	device  uuid.UUID
	key     ed25519.PublicKey
	first   uint64
	last    syncproto.Position
	acked   syncproto.Position
	ackedAt int64 // device clock, Unix ms
	dirty   bool  // acked is newer than the file
}

func (s *stream) unsent() int64 { return int64(s.last.Seq) - int64(s.acked.Seq) }

// book is the index of the file in memory: its incarnations in order of opening.
// It says only what is durable, except for acknowledgements, which may be lost.
type book struct {
	mu      sync.Mutex
	streams []stream
}

func (b *book) last() syncproto.Position {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.streams) == 0 {
		return syncproto.Position{}
	}
	return b.streams[len(b.streams)-1].last
}

// advance moves the end of the open incarnation.
func (b *book) advance(seq uint64, hash syncproto.Hash) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &b.streams[len(b.streams)-1]
	s.last.Seq, s.last.Hash = seq, hash
}

// find returns a copy of an incarnation's state.
func (b *book) find(inc uuid.UUID) (stream, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.streams) - 1; i >= 0; i-- {
		if b.streams[i].last.Incarnation == inc {
			return b.streams[i], nil
		}
	}
	return stream{}, fmt.Errorf("%w: incarnation %s", ErrUnknown, inc)
}

// ack sets a watermark; one below the present one only when back is set, and not
// for an incarnation of which a part is pruned already.
func (b *book) ack(ordinal int64, pos syncproto.Position, at int64, back bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.streams {
		s := &b.streams[i]
		if s.ordinal == ordinal && (pos.Seq > s.acked.Seq || back && pos.Seq < s.acked.Seq && s.first == 1) {
			s.acked, s.ackedAt, s.dirty = pos, at, true
		}
	}
}

// takeDirty returns the streams whose watermark the file does not have, and takes
// them for written.
func (b *book) takeDirty(dst []stream) []stream {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.streams {
		if b.streams[i].dirty {
			dst = append(dst, b.streams[i])
			b.streams[i].dirty = false
		}
	}
	return dst
}

func (b *book) copy() []stream {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]stream(nil), b.streams...)
}

// Rows is how many entries the file holds, genesis entries included.
func (b *book) rows() (n int64) {
	for _, s := range b.copy() {
		n += int64(s.last.Seq) - int64(s.first) + 1
	}
	return n
}
