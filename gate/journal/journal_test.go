package journal_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gatehouse/gate/journal"
	"gatehouse/syncproto"
)

func TestMain(m *testing.M) {
	if child() {
		return
	}
	goleak.VerifyTestMain(m)
}

// bench is a journal's surroundings: a folder, a key and a clock that moves by a
// millisecond each time it is asked.
type testGate struct {
	cfg journal.Config
	pub ed25519.PublicKey

	mu  sync.Mutex
	now time.Time
}

func newGate(t testing.TB) *testGate {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	g := &testGate{pub: pub, now: time.UnixMilli(1_790_000_000_000)}
	g.cfg = journal.Config{
		Path: filepath.Join(t.TempDir(), "journal.db"), Device: uuid.New(), Key: key,
		Now: g.tick, NewID: newID, WALBytes: 1 << 20,
	}
	return g
}

func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

func (g *testGate) tick() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = g.now.Add(time.Millisecond)
	return g.now
}

func (g *testGate) open(t testing.TB) *journal.Journal {
	t.Helper()
	j, err := journal.Open(t.Context(), g.cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	return j
}

// admit is an entry as a lane makes it, at the next time the journal takes.
func admit(j *journal.Journal, n int) syncproto.Entry {
	return syncproto.Entry{
		Kind: syncproto.KindAdmit, Reason: "admitted", T: j.LastT() + 1, At: 1_790_000_000_000, OffsetMS: -3, ErrMS: 2,
		Event: 7, Ticket: syncproto.TicketNo(n), Code: syncproto.CodeHash{1, byte(n)}, Lane: "N1", Zone: "main", Direction: syncproto.In,
	}
}

func appendN(t testing.TB, j *journal.Journal, n int) []syncproto.Entry {
	t.Helper()
	pending := make([]*journal.Pending, n)
	for i := range pending {
		p, err := j.Append(admit(j, i+1))
		require.NoError(t, err)
		pending[i] = p
	}
	out := make([]syncproto.Entry, n)
	for i, p := range pending {
		e, err := p.Wait(context.Background())
		require.NoError(t, err)
		out[i] = e
	}
	return out
}

func entries(t testing.TB, r interface {
	Entries(context.Context, func(*syncproto.Entry) error) error
},
) (out []syncproto.Entry) {
	t.Helper()
	require.NoError(t, r.Entries(t.Context(), func(e *syncproto.Entry) error {
		out = append(out, *e)
		return nil
	}))
	return out
}

func TestEntriesAreNumberedChainedAndSigned(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	j := g.open(t)
	require.Zero(t, j.Parent())
	require.EqualValues(t, 1, j.Last().Seq, "the genesis is durable")

	made := appendN(t, j, 600)
	all := entries(t, j)
	require.Len(t, all, 601)
	require.EqualValues(t, 601, j.Rows())
	require.Equal(t, syncproto.KindGenesis, all[0].Kind)
	require.Equal(t, made, all[1:], "what was acknowledged is what is read back")

	var prev syncproto.Hash
	for i := range all {
		require.EqualValues(t, i+1, all[i].Seq)
		require.Equal(t, j.Incarnation(), all[i].Incarnation)
		require.Equal(t, all[i].ChainHash(prev), all[i].Hash)
		prev = all[i].Hash
	}
	require.Equal(t, syncproto.Position{Ref: all[600].Ref(), Hash: prev}, j.Last())

	rep, err := j.Verify(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 601, rep.Entries)
	require.GreaterOrEqual(t, rep.Signatures, int64(4), "the genesis and at least 600/256 commits")
	require.Equal(t, j.Last(), rep.Last)
}

func TestReopeningBeginsAnIncarnationThatNamesItsParent(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	j := g.open(t)
	appendN(t, j, 5)
	end, lastT := j.Last(), j.LastT()
	require.NoError(t, j.Close())

	g.now = g.now.Add(-24 * time.Hour) // a box without a clock of its own
	k := g.open(t)
	require.NotEqual(t, j.Incarnation(), k.Incarnation())
	require.Equal(t, end, k.Parent())
	require.Greater(t, k.LastT(), lastT, "time goes on from the file, not from the clock")
	made := appendN(t, k, 3)
	require.EqualValues(t, 2, made[0].Seq)

	all := entries(t, k)
	require.Len(t, all, 10)
	require.EqualValues(t, 10, k.Rows())
	genesis := all[6]
	parent := syncproto.Position{Ref: genesis.Of, Hash: genesis.ParentHash}
	require.Equal(t, syncproto.KindGenesis, genesis.Kind)
	require.Equal(t, end, parent)
	rep, err := k.Verify(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, rep.Incarnations)
}

func TestANewFileGoesOnFromWhatIsKnownElsewhere(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.cfg.After = syncproto.HLCAt(g.now.Add(time.Hour))
	g.cfg.Parent = syncproto.Position{Ref: syncproto.Ref{Incarnation: newID(), Seq: 9}, Hash: syncproto.Hash{1}}
	j := g.open(t)
	require.Equal(t, g.cfg.Parent, j.Parent())
	require.Greater(t, j.LastT(), g.cfg.After)
	_, err := j.Verify(t.Context())
	require.NoError(t, err)
}

func TestEntriesThatCannotBeJournalledAreRefusedAndTakeNoNumber(t *testing.T) {
	t.Parallel()
	j := newGate(t).open(t)
	first := appendN(t, j, 1)[0]
	for name, tc := range map[string]struct {
		change func(*syncproto.Entry)
		want   error
	}{
		"same time":      {func(e *syncproto.Entry) { e.T = first.T }, journal.ErrOrder},
		"earlier":        {func(e *syncproto.Entry) { e.T = 1 }, journal.ErrOrder},
		"genesis":        {func(e *syncproto.Entry) { e.Kind = syncproto.KindGenesis }, journal.ErrInvalid},
		"no kind":        {func(e *syncproto.Entry) { e.Kind = "" }, journal.ErrInvalid},
		"long note":      {func(e *syncproto.Entry) { e.Note = strings.Repeat("x", syncproto.TextMax+1) }, journal.ErrInvalid},
		"lane not UTF-8": {func(e *syncproto.Entry) { e.Lane = "\xff" }, journal.ErrInvalid},
	} {
		e := admit(j, 2)
		tc.change(&e)
		_, err := j.Append(e)
		require.ErrorIs(t, err, tc.want, name)
	}
	require.EqualValues(t, 3, appendN(t, j, 1)[0].Seq)
	_, err := j.Verify(t.Context())
	require.NoError(t, err)
}

func TestAClosedJournalTakesNothing(t *testing.T) {
	t.Parallel()
	j := newGate(t).open(t)
	p, err := j.Append(admit(j, 1))
	require.NoError(t, err)
	require.NoError(t, j.Close())
	_, err = p.Wait(t.Context())
	require.NoError(t, err, "Close writes what is queued")
	_, err = j.Append(admit(j, 2))
	require.ErrorIs(t, err, journal.ErrClosed)
	require.NoError(t, j.Close(), "closing again is harmless")
}

func TestTwoOpenersAreRefusedWithASentence(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	j := g.open(t)
	_, err := journal.Open(t.Context(), g.cfg)
	require.ErrorIs(t, err, journal.ErrInUse)
	require.ErrorContains(t, err, "stop that gate first")
	_, err = journal.MoveAside(g.cfg.Path, g.now)
	require.ErrorIs(t, err, journal.ErrInUse)
	appendN(t, j, 2) // the refused attempts have not touched the locks of the first
	require.NoError(t, j.Close())
	g.open(t)
}
