package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	real "gatehouse/gate/journal"
	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
)

// twins are the shipped journal and the simulated one, which are told the same.
type twins struct {
	t        *testing.T
	path     string
	openings int
	file     file[commit]
	medium   medium
	shipped  *real.Journal
	ours     *journal
}

var (
	twinDevice = syncprototest.ID("twin")
	twinKey    = syncprototest.Key("twin")
)

func (w *twins) id() uuid.UUID {
	return syncprototest.Incarnation(int64(w.openings), fmt.Sprint(w.openings))
}

func (w *twins) open() {
	w.openings++
	now := time.UnixMilli(int64(1_000_000 * w.openings))
	var err error
	w.shipped, err = real.Open(w.t.Context(), real.Config{
		Path: w.path, Device: twinDevice, Key: twinKey, Now: func() time.Time { return now }, NewID: w.id, WALBytes: 1 << 16,
	})
	require.NoError(w.t, err)
	w.ours, err = openJournal(&w.file, &w.medium, twinDevice, twinKey, opening{id: w.id(), now: now})
	require.NoError(w.t, err)
	require.Equal(w.t, w.shipped.Parent(), w.ours.parent)
}

// append gives both n entries and waits until they are durable.
func (w *twins) append(n int) {
	var pending []*real.Pending
	for range n {
		e := syncproto.Entry{Kind: syncproto.KindAdmit, T: w.ours.lastT + 7, At: 5, Ticket: 3, Lane: "in", Zone: "main", Direction: syncproto.In}
		p, err := w.shipped.Append(e)
		require.NoError(w.t, err)
		pending = append(pending, p)
		_, err = w.ours.append(e)
		require.NoError(w.t, err)
	}
	var shipped []syncproto.Entry
	for _, p := range pending {
		e, err := p.Wait(w.t.Context())
		require.NoError(w.t, err)
		shipped = append(shipped, e)
	}
	var ours []syncproto.Entry
	for w.ours.begin() {
		require.False(w.t, w.ours.durable(&w.ours.writing[0]), "what is written is not on the disk yet")
		done, err := w.ours.sync()
		require.NoError(w.t, err)
		require.True(w.t, w.ours.durable(&done[0]))
		ours = append(ours, done...)
	}
	require.Equal(w.t, shipped, ours)
}

func (w *twins) compare(r *rand.Rand) {
	streams, err := w.shipped.Watermarks(w.t.Context())
	require.NoError(w.t, err)
	require.Len(w.t, w.ours.streams, len(streams))
	for i, s := range streams {
		require.Equal(w.t, s.Last, w.ours.streams[i].last())
		require.Equal(w.t, s.Acked, w.ours.streams[i].acked)
		first, most, size := 1+r.Uint64N(s.Last.Seq+2), 1+r.IntN(12), 400+r.IntN(3000)
		want, err := w.shipped.Range(w.t.Context(), s.Incarnation, first, most, size)
		require.NoError(w.t, err)
		got, err := w.ours.span(s.Incarnation, first, most, size)
		require.NoError(w.t, err)
		require.Equal(w.t, want, got)
	}
	_, err = w.shipped.Range(w.t.Context(), uuid.Max, 1, 1, 0)
	require.ErrorIs(w.t, err, real.ErrUnknown)
	_, err = w.ours.span(uuid.Max, 1, 1, 1)
	require.ErrorIs(w.t, err, errUnknown)
	require.Equal(w.t, w.shipped.LastT(), w.ours.lastT)
}

// rewind gives both a watermark, now and then one that is of another history.
func (w *twins) rewind(r *rand.Rand) {
	s := w.ours.streams[r.IntN(len(w.ours.streams))]
	p := syncproto.Position{Ref: syncproto.Ref{Incarnation: s.id, Seq: r.Uint64N(uint64(len(s.entries)) + 2)}}
	if p.Seq > 0 && p.Seq <= uint64(len(s.entries)) {
		p.Hash = s.entries[p.Seq-1].Hash
	}
	if r.IntN(5) == 0 && p.Seq > 0 {
		p.Hash[0]++
	}
	shipped, ours := w.shipped.Rewind(w.t.Context(), p), w.ours.rewind(p)
	require.Equal(w.t, shipped == nil, ours == nil, "%v and %v", shipped, ours)
}

func TestJournalIsAsTheShippedOne(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 7))
		w := &twins{t: t, path: filepath.Join(t.TempDir(), "journal.db")}
		w.open()
		for range 40 {
			switch r.IntN(5) {
			case 0:
				w.rewind(r)
			case 1:
				w.append(1) // the file learns watermarks with the next commit
				require.NoError(t, w.shipped.Close())
				w.open()
			default:
				w.append(1 + r.IntN(9))
			}
			w.compare(r)
		}
		require.NoError(t, w.shipped.Close())
	}
}

// A bit that flips in an entry is found when the file is opened, and what stands
// before it is salvaged, as the shipped journal does it.
func TestADamagedJournalIsSalvagedUpToTheDamage(t *testing.T) {
	t.Parallel()
	w := &twins{t: t, path: filepath.Join(t.TempDir(), "journal.db")}
	w.open()
	for range 5 {
		w.append(2)
	}
	require.NoError(t, w.shipped.Close())
	require.True(t, flip(&w.file, 3, 900))
	_, err := openJournal(&w.file, &w.medium, twinDevice, twinKey, opening{id: uuid.Max})
	require.ErrorIs(t, err, errCorrupt)
	old := salvage(&w.file, twinDevice, twinKey)
	require.EqualValues(t, 5, old.current().last().Seq, "the genesis and two commits")
	_, err = old.append(syncproto.Entry{T: 1 << 60})
	require.ErrorIs(t, err, errBroken, "what is salvaged is for reading")
}

func TestABrokenDiskMakesABrokenJournal(t *testing.T) {
	t.Parallel()
	for _, m := range []medium{{full: true}, {broken: true}} {
		w := &twins{t: t, path: filepath.Join(t.TempDir(), "journal.db")}
		w.open()
		require.NoError(t, w.shipped.Close())
		w.medium = m
		_, err := w.ours.append(syncproto.Entry{Kind: syncproto.KindAdmit, T: w.ours.lastT + 1})
		require.NoError(t, err)
		w.ours.begin()
		_, err = w.ours.sync()
		require.ErrorIs(t, err, errBroken)
		w.medium = medium{}
		_, err = w.ours.append(syncproto.Entry{Kind: syncproto.KindAdmit, T: w.ours.lastT + 1})
		require.ErrorIs(t, err, errBroken, "it stays so until it is opened anew")
	}
}
