package main

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

var (
	errBroken  = errors.New("journal is broken")
	errCorrupt = errors.New("journal file is damaged")
	errUnknown = errors.New("position is not of this journal")
)

// commit is one transaction of a journal: a group of entries, the last with the
// device's signature of the chain head, and watermarks that ride along.
type commit struct {
	incarnation uuid.UUID
	rows        []row
	acks        map[uuid.UUID]syncproto.Position
}

type row struct {
	body []byte
	hash syncproto.Hash
	sig  []byte
}

// journal keeps the contract of gate/journal over a virtual disk: it does at once
// what a caller asks, and whoever drives it decides how long an fsync takes.
// TestJournalIsAsTheShippedOne holds the two against each other.
type journal struct {
	file    *file[commit]
	medium  *medium
	device  uuid.UUID
	key     ed25519.PrivateKey
	streams []*stream
	parent  syncproto.Position
	seq     uint64 // of the last entry that was appended
	lastT   syncproto.HLC
	queue   []syncproto.Entry
	writing []syncproto.Entry
	acks    map[uuid.UUID]syncproto.Position // not in the file yet
	broken  bool
}

// stream is one incarnation as far as it is durable.
type stream struct {
	id      uuid.UUID
	entries []syncproto.Entry
	sigs    [][]byte
	acked   syncproto.Position
}

func (s *stream) last() syncproto.Position {
	e := s.entries[len(s.entries)-1]
	return syncproto.Position{Ref: e.Ref(), Hash: e.Hash}
}

// opening is what a journal is opened with.
type opening struct {
	id     uuid.UUID
	now    time.Time
	after  syncproto.HLC
	parent syncproto.Position
	resume bool // a bug: no new incarnation
}

// openJournal reads the file, verifies it and writes the genesis of a new
// incarnation, which is durable when it returns.
func openJournal(f *file[commit], m *medium, device uuid.UUID, key ed25519.PrivateKey, o opening) (*journal, error) {
	j := &journal{file: f, medium: m, device: device, key: key, acks: map[uuid.UUID]syncproto.Position{}}
	if err := j.load(); err != nil {
		return nil, err
	}
	j.parent = o.parent
	if n := len(j.streams); n > 0 {
		j.parent = j.streams[n-1].last()
	}
	if m.full || m.broken {
		return nil, errBroken
	}
	if o.resume && len(j.streams) > 0 {
		j.seq = j.current().last().Seq
		return j, nil
	}
	// Not by the clock, which nobody has corrected yet.
	t := max(j.lastT, o.after) + 1
	j.streams = append(j.streams, &stream{id: o.id})
	j.seq, j.lastT = 1, t
	j.writing = []syncproto.Entry{{
		Incarnation: o.id, Seq: 1, Kind: syncproto.KindGenesis, T: t, At: o.now.UnixMilli(), Of: j.parent.Ref, ParentHash: j.parent.Hash,
	}}
	j.write()
	_, err := j.sync()
	return j, err
}

// load reads and verifies what is in the file.
func (j *journal) load() error {
	prev := syncproto.Hash{}
	for _, c := range j.file.read() {
		for id, p := range c.acks {
			if s := j.find(id); s != nil {
				s.acked = p
			}
		}
		for _, r := range c.rows {
			var e syncproto.Entry
			if err := wire.ParseEntry(r.body, &e); err != nil {
				return fmt.Errorf("%w: entry is not JSON", errCorrupt)
			}
			s := j.find(c.incarnation)
			if s == nil {
				s, prev = &stream{id: c.incarnation}, syncproto.Hash{}
			}
			if e.Incarnation != s.id || e.Seq != uint64(len(s.entries))+1 || e.Hash != r.hash || e.ChainHash(prev) != r.hash || e.T <= j.lastT {
				return fmt.Errorf("%w: entry %d of %s does not continue the chain", errCorrupt, e.Seq, c.incarnation)
			}
			if e.Seq == 1 {
				j.streams = append(j.streams, s)
			}
			s.entries, s.sigs = append(s.entries, e), append(s.sigs, r.sig)
			prev, j.lastT = r.hash, e.T
		}
	}
	return nil
}

func (j *journal) find(id uuid.UUID) *stream {
	for _, s := range slices.Backward(j.streams) {
		if s.id == id {
			return s
		}
	}
	return nil
}

func (j *journal) current() *stream { return j.streams[len(j.streams)-1] }

// append queues an entry and gives it its number.
func (j *journal) append(e syncproto.Entry) (syncproto.Entry, error) {
	switch {
	case j.broken:
		return e, errBroken
	case e.T <= j.lastT:
		return e, fmt.Errorf("entry is not later than the one before: %d after %d", e.T, j.lastT)
	}
	j.seq++
	e.Incarnation, e.Seq = j.current().id, j.seq
	j.lastT = e.T
	j.queue = append(j.queue, e)
	return e, nil
}

// commitMax is the most entries in one commit.
const commitMax = 256

// begin writes what is queued without waiting for the disk. It reports whether
// there is something that a sync has to make durable.
func (j *journal) begin() bool {
	if j.broken || len(j.writing) > 0 || len(j.queue) == 0 {
		return false
	}
	n := min(len(j.queue), commitMax)
	j.writing, j.queue = j.queue[:n:n], j.queue[n:]
	j.write()
	return true
}

func (j *journal) write() {
	c := commit{incarnation: j.current().id, acks: j.acks}
	j.acks = map[uuid.UUID]syncproto.Position{}
	prev := syncproto.Hash{}
	if s := j.current(); len(s.entries) > 0 {
		prev = s.last().Hash
	}
	for i := range j.writing {
		e := &j.writing[i]
		e.Hash = e.ChainHash(prev)
		prev = e.Hash
		body, err := wire.AppendEntry(nil, e)
		if err != nil {
			panic(err) // a node writes nothing that JSON does not hold
		}
		r := row{body: body, hash: e.Hash}
		if i == len(j.writing)-1 {
			r.sig = syncproto.SignHead(j.key, j.device, syncproto.Position{Ref: e.Ref(), Hash: e.Hash})
		}
		c.rows = append(c.rows, r)
	}
	if j.medium.full {
		j.broken = true
		return
	}
	j.file.write(c)
}

// sync makes what was written durable and returns it; an error is final.
func (j *journal) sync() ([]syncproto.Entry, error) {
	if j.broken || j.medium.broken {
		j.broken = true
		return nil, errBroken
	}
	j.file.sync()
	done := j.writing
	j.writing = nil
	s := j.current()
	rows := j.file.records[len(j.file.records)-1].value.rows
	for i := range done {
		s.entries, s.sigs = append(s.entries, done[i]), append(s.sigs, rows[i].sig)
	}
	return done, nil
}

// durable reports whether the medium holds an entry whatever happens to the power.
func (j *journal) durable(e *syncproto.Entry) bool {
	for i := j.file.synced - 1; i >= 0; i-- {
		c := &j.file.records[i].value
		if n := len(c.rows); c.incarnation == e.Incarnation && n > 0 {
			for k := range c.rows {
				if c.rows[k].hash == e.Hash {
					return true
				}
			}
		}
	}
	return false
}

// rewind takes central's watermark, also where it is lower. The file learns it with
// the next commit, and a crash may forget it.
func (j *journal) rewind(p syncproto.Position) error {
	s := j.find(p.Incarnation)
	switch {
	case s == nil || p.Seq > uint64(len(s.entries)):
		return fmt.Errorf("%w: %d of %s", errUnknown, p.Seq, p.Incarnation)
	case p.Seq > 0 && s.entries[p.Seq-1].Hash != p.Hash:
		return fmt.Errorf("%w: %d of %s has another hash here", errUnknown, p.Seq, p.Incarnation)
	}
	if p.Seq == 0 {
		p = syncproto.Position{}
	}
	s.acked = p
	j.acks[s.id] = p
	return nil
}

// watermarks lists the incarnations for a node.
func (j *journal) watermarks() []node.Watermark {
	out := make([]node.Watermark, len(j.streams))
	for i, s := range j.streams {
		out[i] = node.Watermark{Incarnation: s.id, Last: uint64(len(s.entries)), Acked: s.acked.Seq}
	}
	return out
}

// span returns entries of one incarnation from first on, ready to be pushed.
func (j *journal) span(id uuid.UUID, first uint64, most, mostBytes int) (syncproto.PushRequest, error) {
	req := syncproto.PushRequest{Device: j.device, Incarnation: id, First: first}
	s := j.find(id)
	if s == nil {
		return req, fmt.Errorf("%w: incarnation %s", errUnknown, id)
	}
	if first > uint64(len(s.entries)) {
		return req, nil
	}
	if first > 1 {
		req.Prev = s.entries[first-2].Hash
	}
	size := 512
	for _, e := range s.entries[first-1:] {
		body, err := wire.AppendEntry(nil, &e)
		if err != nil {
			return req, err
		}
		if len(req.Entries) > 0 && (len(req.Entries) == most || size+len(body) >= mostBytes) {
			break
		}
		size += len(body) + 1
		req.Entries = append(req.Entries, e)
	}
	last := req.Entries[len(req.Entries)-1]
	req.HeadSig = syncproto.SignHead(j.key, j.device, syncproto.Position{Ref: last.Ref(), Hash: last.Hash})
	return req, nil
}

// salvage reads a damaged file up to the first entry that does not verify. The
// result is for reading and pushing.
func salvage(f *file[commit], device uuid.UUID, key ed25519.PrivateKey) *journal {
	j := &journal{file: f, device: device, key: key, acks: map[uuid.UUID]syncproto.Position{}, broken: true}
	_ = j.load() // what it read before the damage is what there is
	return j
}

// flip changes one bit of an entry that is on the medium.
func flip(f *file[commit], at, bit int) bool {
	if f.synced == 0 {
		return false
	}
	r := &f.records[at%f.synced]
	if len(r.value.rows) == 0 {
		return false
	}
	rows := slices.Clone(r.value.rows)
	rows[0].body = bytes.Clone(rows[0].body)
	rows[0].body[bit/8%len(rows[0].body)] ^= 1 << (bit % 8)
	r.value.rows = rows
	return true
}
