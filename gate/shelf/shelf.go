// Package shelf keeps what central signed of an event's roster as it came, so
// that another gate can have it while central is away: the manifest and chunks of
// one snapshot, and the pages after it. Nothing on it is secret from the gates of
// the event, and nothing is trusted: whoever takes it verifies central's
// signatures, as it would with central itself.
//
// It is a copy of what the replica is made from. What is torn or lost of it costs
// a neighbour a way, and nothing else; it is stocked again from central.
package shelf

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/google/renameio/v2"

	"gatehouse/syncproto"
)

// PagesBytesMax bounds the pages after the snapshot. Beyond it a newer snapshot is
// due, which makes them needless.
const PagesBytesMax = 64 << 20

// ErrNone means that what was asked for is not on the shelf.
var ErrNone = errors.New("not on the shelf")

const (
	manifestFile = "manifest.json"
	pagesFile    = "pages.log"
	frameBytes   = 4 + 8 + 8 // length, from, to
)

// Shelf is an open shelf. Its methods may be called from any goroutine; they take
// turns.
type Shelf struct {
	dir string

	most  int64 // PagesBytesMax, but in tests
	mu    sync.Mutex
	seq   int64 // of the snapshot; 0 without one
	pages []page
	log   *os.File
	size  int64
}

type page struct {
	from, to int64
	at       int64
	length   int
}

// Open opens the shelf in a directory, which is made. A torn end of the pages is
// cut off.
func Open(dir string) (*Shelf, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("shelf: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(dir, pagesFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("shelf: %w", err)
	}
	s := &Shelf{dir: dir, log: log, most: PagesBytesMax}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("shelf: %w", err), log.Close())
	}
	return s, nil
}

func (s *Shelf) load() error {
	if raw, err := os.ReadFile(filepath.Join(s.dir, manifestFile)); err == nil {
		var m syncproto.Manifest
		if json.Unmarshal(raw, &m) == nil {
			s.seq = m.Seq
		}
	}
	info, err := s.log.Stat()
	if err != nil {
		return err
	}
	var head [frameBytes]byte
	for {
		if _, err := s.log.ReadAt(head[:], s.size); err != nil {
			break // the end, whole or torn
		}
		p := page{
			length: int(binary.BigEndian.Uint32(head[:])), from: int64(binary.BigEndian.Uint64(head[4:])),
			to: int64(binary.BigEndian.Uint64(head[12:])), at: s.size + frameBytes,
		}
		if p.length > syncproto.ResponseBytesMax || p.at+int64(p.length) > info.Size() || !s.follows(p) {
			break
		}
		s.pages, s.size = append(s.pages, p), p.at+int64(p.length)
	}
	return s.log.Truncate(s.size)
}

// follows reports whether a page leaves no gap behind those before it.
func (s *Shelf) follows(p page) bool {
	return p.from < p.to && (len(s.pages) == 0 || p.from <= s.pages[len(s.pages)-1].to)
}

// Close closes the files.
func (s *Shelf) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.log.Close(); err != nil {
		return fmt.Errorf("shelf: %w", err)
	}
	return nil
}

// Dir is where chunks are, each by its ChunkName.
func (s *Shelf) Dir() string { return s.dir }

// ChunkName is the name of the file of a chunk.
func ChunkName(hash syncproto.Hash) string { return base64.RawURLEncoding.EncodeToString(hash[:]) }

// Stock puts a snapshot on the shelf whose chunks are in Dir already, in place of
// the one before it. Chunks and pages that nobody needs with it are removed.
func (s *Shelf) Stock(m *syncproto.Manifest) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("shelf: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := renameio.WriteFile(filepath.Join(s.dir, manifestFile), raw, 0o600); err != nil {
		return fmt.Errorf("shelf: %w", err)
	}
	s.seq = m.Seq
	return errors.Join(s.sweep(m), s.trim())
}

// sweep removes what is neither the manifest nor the pages nor a chunk of m.
func (s *Shelf) sweep(m *syncproto.Manifest) error {
	keep := map[string]bool{manifestFile: true, pagesFile: true}
	for i := range m.Chunks {
		keep[ChunkName(m.Chunks[i].Hash)] = true
	}
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("shelf: %w", err)
	}
	for _, f := range files {
		if !keep[f.Name()] {
			err = errors.Join(err, os.Remove(filepath.Join(s.dir, f.Name())))
		}
	}
	return err
}

// trim begins the pages with the first that goes on after the snapshot.
func (s *Shelf) trim() error {
	i := slices.IndexFunc(s.pages, func(p page) bool { return p.to > s.seq })
	if i == 0 {
		return nil
	}
	var rest []byte
	if i > 0 {
		from := s.pages[i].at - frameBytes
		rest = make([]byte, s.size-from)
		if _, err := s.log.ReadAt(rest, from); err != nil {
			return fmt.Errorf("shelf: %w", err)
		}
	}
	if err := s.log.Truncate(0); err != nil {
		return fmt.Errorf("shelf: %w", err)
	}
	if _, err := s.log.WriteAt(rest, 0); err != nil {
		return fmt.Errorf("shelf: %w", err)
	}
	s.pages, s.size = nil, 0
	return s.load()
}

// Add puts a page behind those that are there. One that leaves a gap makes the
// ones before it useless, and they go.
func (s *Shelf) Add(p *syncproto.Page) error {
	if len(p.Raw) == 0 || p.To <= p.From {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	entry := page{from: p.From, to: p.To, at: s.size + frameBytes, length: len(p.Raw)}
	if !s.follows(entry) || s.size > s.most {
		if err := s.log.Truncate(0); err != nil {
			return fmt.Errorf("shelf: %w", err)
		}
		s.pages, s.size, entry.at = nil, 0, frameBytes
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, frameBytes+len(p.Raw)), uint32(len(p.Raw)))
	frame = binary.BigEndian.AppendUint64(frame, uint64(p.From))
	frame = binary.BigEndian.AppendUint64(frame, uint64(p.To))
	if _, err := s.log.WriteAt(append(frame, p.Raw...), s.size); err != nil {
		return fmt.Errorf("shelf: %w", err)
	}
	s.pages, s.size = append(s.pages, entry), s.size+frameBytes+int64(len(p.Raw))
	return nil
}

// Whole reports whether a gate without a replica could be helped from here: there
// is a snapshot, and pages from it to seq.
func (s *Shelf) Whole(seq int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seq == 0 || s.size > s.most {
		return false
	}
	if len(s.pages) == 0 {
		return s.seq >= seq
	}
	return s.pages[0].from <= s.seq && s.pages[len(s.pages)-1].to >= seq
}

// Fetch is what a peer asks for; ErrNone where it is not here.
func (s *Shelf) Fetch(f syncproto.Fetch) ([]byte, error) {
	switch {
	case f.Manifest:
		return s.file(manifestFile)
	case f.Chunk != syncproto.Hash{}:
		body, err := s.file(ChunkName(f.Chunk))
		if err == nil && sha256.Sum256(body) != f.Chunk {
			return nil, ErrNone
		}
		return body, err
	}
	return s.page(f.After)
}

func (s *Shelf) file(name string) ([]byte, error) {
	body, err := os.ReadFile(filepath.Join(s.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("shelf: %w", err)
	}
	return body, nil
}

// page is the last page that goes on after seq without a gap.
func (s *Shelf) page(after int64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range slices.Backward(s.pages) {
		if p.from > after || p.to <= after {
			continue
		}
		body := make([]byte, p.length)
		if _, err := s.log.ReadAt(body, p.at); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("shelf: %w", err)
		}
		return body, nil
	}
	return nil, ErrNone
}
