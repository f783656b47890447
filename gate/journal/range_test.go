package journal_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/gate/journal"
	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

func position(e syncproto.Entry) syncproto.Position {
	return syncproto.Position{Ref: e.Ref(), Hash: e.Hash}
}

// checkRange checks what central checks of a push.
func checkRange(t require.TestingT, pub ed25519.PublicKey, req syncproto.PushRequest) {
	prev := req.Prev
	for i := range req.Entries {
		e := &req.Entries[i]
		require.Equal(t, req.First+uint64(i), e.Seq)
		require.Equal(t, req.Incarnation, e.Incarnation)
		require.Equal(t, e.ChainHash(prev), e.Hash)
		prev = e.Hash
	}
	if len(req.Entries) > 0 {
		require.True(t, syncproto.VerifyHead(pub, req.Device, position(req.Entries[len(req.Entries)-1]), req.HeadSig))
	}
}

func TestRangesVerifyAndKeepToTheirLimits(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	j := g.open(t)
	appendN(t, j, 1500)
	inc := j.Incarnation()

	var got uint64
	for next := uint64(1); ; {
		req, err := j.Range(t.Context(), inc, next, 0, 0)
		require.NoError(t, err)
		checkRange(t, g.pub, req)
		require.Equal(t, g.cfg.Device, req.Device)
		if len(req.Entries) == 0 {
			break
		}
		require.Len(t, req.Entries, min(syncproto.PushEntriesMax, 1501-int(got)), "pushes are full, wherever the commits ended")
		body, err := json.Marshal(req.Entries)
		require.NoError(t, err)
		require.LessOrEqual(t, len(body), syncproto.PushBytesMax)
		next += uint64(len(req.Entries))
		got = next - 1
	}
	require.EqualValues(t, 1501, got)

	few, err := j.Range(t.Context(), inc, 700, 3, 0)
	require.NoError(t, err)
	require.Len(t, few.Entries, 3, "below one group commit it signs a head of its own")
	checkRange(t, g.pub, few)
	one, err := j.Range(t.Context(), inc, 700, 0, 1)
	require.NoError(t, err)
	require.Len(t, one.Entries, 1, "at least one, or a push could never go on")
	checkRange(t, g.pub, one)

	_, err = j.Range(t.Context(), uuid.New(), 1, 0, 0)
	require.ErrorIs(t, err, journal.ErrUnknown)
	_, err = j.Range(t.Context(), inc, 0, 0, 0)
	require.ErrorIs(t, err, journal.ErrUnknown)
}

func TestRangesFitThePushThatCarriesThem(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	j := g.open(t)
	appendN(t, j, 50)
	for maxBytes := 4000; maxBytes < 4500; maxBytes++ {
		req, err := j.Range(t.Context(), j.Incarnation(), 1, 0, maxBytes)
		require.NoError(t, err)
		body, err := wire.EncodePush(&req)
		require.NoError(t, err)
		require.LessOrEqual(t, len(body), maxBytes)
		require.Greater(t, len(body), maxBytes-2000)
	}
}

// A box that was enrolled again has another key. What it did before stays signed
// by the old one, and can still be pushed.
func TestRangesOfAnEarlierIdentity(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	j := g.open(t)
	appendN(t, j, 4)
	require.NoError(t, j.Close())
	inc, device, pub := j.Incarnation(), g.cfg.Device, g.pub

	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	g.cfg.Device, g.cfg.Key = uuid.New(), key
	k := g.open(t)
	req, err := k.Range(t.Context(), inc, 1, 0, 0)
	require.NoError(t, err)
	require.Equal(t, device, req.Device)
	require.Len(t, req.Entries, 5)
	checkRange(t, pub, req)
	_, err = k.Verify(t.Context())
	require.NoError(t, err)
}

func TestAcknowledgementsOnlyOfWhatIsHere(t *testing.T) {
	t.Parallel()
	j := newGate(t).open(t)
	made := appendN(t, j, 10)
	require.EqualValues(t, 11, j.Unsent())
	at, ok, err := j.OldestUnsent(t.Context())
	require.NoError(t, err)
	require.True(t, ok)
	require.NotZero(t, at)

	forked := position(made[3])
	forked.Hash[0] ^= 1
	require.ErrorIs(t, j.Ack(t.Context(), forked), journal.ErrUnknown)
	ahead := position(made[9])
	ahead.Seq++
	require.ErrorIs(t, j.Ack(t.Context(), ahead), journal.ErrUnknown)
	foreign := position(made[3])
	foreign.Incarnation = uuid.New()
	require.ErrorIs(t, j.Ack(t.Context(), foreign), journal.ErrUnknown)
	require.EqualValues(t, 11, j.Unsent())

	require.NoError(t, j.Ack(t.Context(), position(made[5])))
	require.NoError(t, j.Ack(t.Context(), position(made[2])), "an older word changes nothing")
	require.EqualValues(t, 4, j.Unsent())
	require.NoError(t, j.Rewind(t.Context(), position(made[2])), "unless central was restored")
	require.EqualValues(t, 7, j.Unsent())
	require.NoError(t, j.Rewind(t.Context(), syncproto.Position{Ref: syncproto.Ref{Incarnation: j.Incarnation()}}))
	require.EqualValues(t, 11, j.Unsent())
	require.NoError(t, j.Ack(t.Context(), position(made[9])))
	_, ok, err = j.OldestUnsent(t.Context())
	require.NoError(t, err)
	require.False(t, ok)
}

// Acknowledgements ride on the next commit and cost none of their own.
func TestAcknowledgementsReachTheFileWithTheNextCommit(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	j := g.open(t)
	made := appendN(t, j, 5)
	require.NoError(t, j.Ack(t.Context(), position(made[4])))
	appendN(t, j, 1)
	r, err := journal.OpenReadOnly(t.Context(), g.cfg.Path)
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	require.EqualValues(t, 1, r.Unsent())
}

func TestPruneRemovesWhatCentralHasHadForLong(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	var ends []syncproto.Position
	for range 3 { // two that central has, and one that it has half of
		j := g.open(t)
		appendN(t, j, 700)
		ends = append(ends, j.Last())
		require.NoError(t, j.Close())
	}
	j := g.open(t)
	appendN(t, j, 10)
	require.NoError(t, j.Ack(t.Context(), ends[0]))
	require.NoError(t, j.Ack(t.Context(), ends[1]))
	half, err := j.Range(t.Context(), ends[2].Incarnation, 300, 1, 0)
	require.NoError(t, err)
	require.NoError(t, j.Ack(t.Context(), position(half.Entries[0])))
	require.NoError(t, j.Ack(t.Context(), j.Last()))
	require.NoError(t, j.Checkpoint())

	n, err := j.Prune(t.Context(), g.tick().Add(-journal.Retention))
	require.NoError(t, err)
	require.Zero(t, n, "not before its time")
	n, err = j.Prune(t.Context(), g.tick().Add(time.Hour))
	require.NoError(t, err)
	require.EqualValues(t, 2*701, n, "not what central lacks, nor what is open")
	require.EqualValues(t, 701+11, j.Rows())

	rep, err := j.Verify(t.Context())
	require.NoError(t, err, "what is kept is a chain")
	require.EqualValues(t, 701+11, rep.Entries)
	_, err = j.Range(t.Context(), ends[0].Incarnation, 1, 0, 0)
	require.ErrorIs(t, err, journal.ErrUnknown)
	require.EqualValues(t, 701-300, j.Unsent())
	require.NoError(t, j.Close())
	k := g.open(t)
	require.EqualValues(t, 701+11+1, k.Rows())
	_, err = k.Verify(t.Context())
	require.NoError(t, err)
}

// journalMachine drives a journal and a model of it side by side.
type journalMachine struct {
	g     *testGate
	j     *journal.Journal
	model [][]syncproto.Entry // by incarnation
	acked []int
}

func (m *journalMachine) open(t *rapid.T) {
	j, err := journal.Open(t.Context(), m.g.cfg)
	require.NoError(t, err)
	m.j = j
	m.model, m.acked = append(m.model, nil), append(m.acked, 0)
	if k := len(m.model); k > 1 {
		before := m.model[k-2]
		require.Equal(t, position(before[len(before)-1]), j.Parent())
	}
	req, err := j.Range(t.Context(), j.Incarnation(), 1, 0, 0)
	require.NoError(t, err)
	m.model[len(m.model)-1] = req.Entries
}

func (m *journalMachine) pick(t *rapid.T) int {
	return rapid.IntRange(0, len(m.model)-1).Draw(t, "incarnation")
}

func (m *journalMachine) check(t *rapid.T) {
	rows, unsent := 0, 0
	var all []syncproto.Entry
	for i, inc := range m.model {
		rows += len(inc)
		unsent += len(inc) - m.acked[i]
		all = append(all, inc...)
	}
	require.EqualValues(t, rows, m.j.Rows())
	require.EqualValues(t, unsent, m.j.Unsent())
	var got []syncproto.Entry
	require.NoError(t, m.j.Entries(t.Context(), func(e *syncproto.Entry) error {
		got = append(got, *e)
		return nil
	}))
	require.Equal(t, all, got)
}

func (m *journalMachine) ack(t *rapid.T) {
	k := m.pick(t)
	n := rapid.IntRange(1, len(m.model[k])).Draw(t, "seq")
	require.NoError(t, m.j.Ack(t.Context(), position(m.model[k][n-1])))
	m.acked[k] = max(m.acked[k], n)
}

func (m *journalMachine) readRange(t *rapid.T) {
	k := m.pick(t)
	first := rapid.IntRange(1, len(m.model[k])).Draw(t, "first")
	most := rapid.IntRange(1, 30).Draw(t, "max")
	req, err := m.j.Range(t.Context(), m.model[k][0].Incarnation, uint64(first), most, 0)
	require.NoError(t, err)
	checkRange(t, m.g.pub, req)
	require.NotEmpty(t, req.Entries)
	require.LessOrEqual(t, len(req.Entries), most)
	require.Equal(t, m.model[k][first-1:first-1+len(req.Entries)], req.Entries)
}

// Appending, acknowledging, reading ranges and reopening in any order: the
// journal says what a list of lists would.
func TestJournalAgreesWithItsModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		m := &journalMachine{g: newGate(t)}
		m.g.cfg.BatchMax = rapid.IntRange(1, 8).Draw(rt, "batch")
		m.g.cfg.WALBytes = 64 << 10
		m.open(rt)
		defer func() { require.NoError(rt, m.j.Close()) }()
		for _, step := range rapid.SliceOfN(rapid.SampledFrom([]string{"append", "append", "ack", "range", "reopen"}), 0, 12).Draw(rt, "steps") {
			switch step {
			case "append":
				k := len(m.model) - 1
				m.model[k] = append(m.model[k], appendN(t, m.j, rapid.IntRange(1, 20).Draw(rt, "n"))...)
			case "reopen":
				require.NoError(rt, m.j.Close())
				m.open(rt)
			case "ack":
				m.ack(rt)
			case "range":
				m.readRange(rt)
			}
		}
		m.check(rt)
	})
}
