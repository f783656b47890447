package carry_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gatehouse/gate/carry"
	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
	"gatehouse/syncproto/wire"
)

func TestMain(m *testing.M) {
	if child() {
		return
	}
	goleak.VerifyTestMain(m)
}

const noon = 1_760_000_000_000

// journalOf is a journal of a gate with n entries.
func journalOf(name string, n int) *syncprototest.Chain {
	c := syncprototest.NewChain(syncprototest.ID(name), syncprototest.Key(name), 7, syncprototest.Incarnation(noon, name), syncproto.Position{}, noon)
	for no := 1; no < n; no++ {
		c.Admit(syncproto.TicketNo(no), noon+int64(no))
	}
	return c
}

func open(t *testing.T, path string) *carry.Store {
	t.Helper()
	s, damage, err := carry.Open(t.Context(), path)
	require.NoError(t, err)
	require.NoError(t, damage)
	t.Cleanup(func() { _ = s.Close() }) // some tests close it themselves
	return s
}

func newStore(t *testing.T) *carry.Store {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "carry.db"))
}

func put(t *testing.T, s *carry.Store, pieces ...syncproto.PushRequest) {
	t.Helper()
	require.NoError(t, s.Put(t.Context(), pieces))
}

func part(c *syncprototest.Chain, first, last uint64) carry.Part {
	return carry.Part{Device: c.Device, Incarnation: c.Entries[0].Incarnation, First: first, Last: last}
}

func parts(t *testing.T, s *carry.Store) []carry.Part {
	t.Helper()
	all, err := s.Parts(t.Context())
	require.NoError(t, err)
	return all
}

// numbers is every entry that Each gives, in its order.
func numbers(t *testing.T, s *carry.Store) (all []syncproto.Ref) {
	t.Helper()
	require.NoError(t, s.Each(t.Context(), func(req *syncproto.PushRequest) error {
		for i := range req.Entries {
			all = append(all, req.Entries[i].Ref())
		}
		return nil
	}))
	return all
}

func TestWhatIsKeptComesBackAsItsOwnerSignedIt(t *testing.T) {
	t.Parallel()
	s, a, b := newStore(t), journalOf("A", 9), journalOf("B", 4)
	put(t, s, a.Push(1, 3), b.Push(2, 4))
	put(t, s, a.Push(4, 9))
	inc := a.Entries[0].Incarnation
	for first, want := range map[uint64]syncproto.PushRequest{1: a.Push(1, 9), 3: a.Push(1, 9), 4: a.Push(4, 9), 9: a.Push(4, 9)} {
		got, err := s.Range(t.Context(), inc, first)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, missing := range []struct {
		inc   uuid.UUID
		first uint64
	}{{inc, 10}, {b.Entries[0].Incarnation, 1}, {uuid.New(), 1}} {
		_, err := s.Range(t.Context(), missing.inc, missing.first)
		require.ErrorIs(t, err, carry.ErrNone)
	}
	require.ElementsMatch(t, []carry.Part{part(a, 1, 9), part(b, 2, 4)}, parts(t, s))
	require.Len(t, numbers(t, s), 9+3)
	stop := errors.New("enough")
	require.Equal(t, stop, s.Each(t.Context(), func(*syncproto.PushRequest) error { return stop }))
}

func TestPiecesMayOverlapAndHaveGaps(t *testing.T) {
	t.Parallel()
	s, a := newStore(t), journalOf("A", 20)
	inc := a.Entries[0].Incarnation
	put(t, s, a.Push(3, 5), a.Push(3, 4), a.Push(3, 8)) // the longest stays
	put(t, s, a.Push(5, 6), a.Push(7, 10))
	require.Equal(t, []carry.Part{part(a, 3, 10)}, parts(t, s))
	got, err := s.Range(t.Context(), inc, 6)
	require.NoError(t, err)
	require.Equal(t, a.Push(3, 10), got, "from the one that leads furthest on")
	put(t, s, a.Push(12, 13))
	require.Equal(t, []carry.Part{part(a, 12, 13)}, parts(t, s), "what is behind the gap")
	put(t, s, a.Push(11, 11))
	require.Equal(t, []carry.Part{part(a, 3, 13)}, parts(t, s), "the gap is closed")
	require.Error(t, s.Put(t.Context(), []syncproto.PushRequest{a.Push(14, 15), {}}), "what is no push")
	require.Equal(t, []carry.Part{part(a, 3, 13)}, parts(t, s), "all or none")
}

// Entries that came one by one are given out as many at a time as a push may have,
// with their owner's signature of the last.
func TestRangesJoinPieces(t *testing.T) {
	t.Parallel()
	s, n := newStore(t), uint64(syncproto.PushEntriesMax+30)
	a := journalOf("A", int(n))
	inc := a.Entries[0].Incarnation
	var pieces []syncproto.PushRequest
	for seq := uint64(1); seq <= n; seq++ {
		if seq != 520 {
			pieces = append(pieces, a.Push(seq, seq))
		}
	}
	put(t, s, pieces...)
	for first, last := range map[uint64]uint64{1: syncproto.PushEntriesMax, 2: syncproto.PushEntriesMax + 1, 30: 519, 519: 519, 521: n, n: n} {
		got, err := s.Range(t.Context(), inc, first)
		require.NoError(t, err)
		require.Equal(t, a.Push(first, last), got)
		require.NoError(t, wire.VerifyPush(&got, a.Key.Public().(ed25519.PublicKey)))
	}

	// Long notes: the bytes are the limit.
	long := syncprototest.NewChain(syncprototest.ID("L"), syncprototest.Key("L"), 7, syncprototest.Incarnation(noon, "L"), syncproto.Position{}, noon)
	for range 450 {
		long.Add(syncproto.Entry{Kind: syncproto.KindNote, Lane: strings.Repeat("l", 256), Zone: strings.Repeat("z", 256), Note: strings.Repeat("n", 256)}, noon)
	}
	for seq := uint64(1); seq <= 451; seq++ {
		put(t, s, long.Push(seq, seq))
	}
	got, err := s.Range(t.Context(), long.Entries[0].Incarnation, 1)
	require.NoError(t, err)
	require.Greater(t, len(got.Entries), 100)
	require.Less(t, len(got.Entries), 451)
	require.LessOrEqual(t, bytesOf(t, got), int64(syncproto.PushBytesMax))
}

func TestDropForgetsWhatCentralHas(t *testing.T) {
	t.Parallel()
	s, a, b := newStore(t), journalOf("A", 10), journalOf("B", 3)
	inc := a.Entries[0].Incarnation
	put(t, s, a.Push(1, 4), a.Push(5, 8), b.All())
	require.NoError(t, s.Drop(t.Context(), syncproto.Ref{Incarnation: inc, Seq: 6}))
	require.ElementsMatch(t, []carry.Part{part(a, 5, 8), part(b, 1, 3)}, parts(t, s), "a piece goes as a whole")
	require.NoError(t, s.Drop(t.Context(), syncproto.Ref{Incarnation: inc, Seq: 8}))
	require.NoError(t, s.Drop(t.Context(), syncproto.Ref{Incarnation: uuid.New(), Seq: 8}))
	require.Equal(t, []carry.Part{part(b, 1, 3)}, parts(t, s))
}

// bytesOf is what pieces take.
func bytesOf(t *testing.T, pieces ...syncproto.PushRequest) (n int64) {
	t.Helper()
	for i := range pieces {
		body, err := wire.EncodePush(&pieces[i])
		require.NoError(t, err)
		n += int64(len(body))
	}
	return n
}

// Beyond the limit nothing more is taken, and what is there stays. What is
// replaced or dropped makes room, also for a store that was opened since.
func TestAFullStoreKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "carry.db")
	s, a, b := open(t, path), journalOf("A", 40), journalOf("B", 40)
	s.LimitBytes(bytesOf(t, a.Push(1, 12), b.Push(1, 4)))
	put(t, s, b.Push(1, 4))
	for last := uint64(1); last <= 12; last++ { // each replaces the one before it
		put(t, s, a.Push(1, last))
	}
	put(t, s, a.Push(1, 12)) // which is there
	full := func(s *carry.Store, pieces ...syncproto.PushRequest) {
		t.Helper()
		require.ErrorIs(t, s.Put(t.Context(), pieces), carry.ErrFull)
	}
	full(s, a.Push(13, 13))
	full(s, a.Push(1, 13))
	full(s, b.Push(5, 5), b.Push(6, 6))
	require.ElementsMatch(t, []carry.Part{part(a, 1, 12), part(b, 1, 4)}, parts(t, s))
	require.NoError(t, s.Close())

	s = open(t, path)
	s.LimitBytes(bytesOf(t, a.Push(1, 12), b.Push(1, 4)))
	full(s, a.Push(13, 13))
	require.NoError(t, s.Drop(t.Context(), syncproto.Ref{Incarnation: b.Entries[0].Incarnation, Seq: 4}))
	put(t, s, b.Push(5, 7))
	full(s, a.Push(13, 13))
	require.NoError(t, s.Drop(t.Context(), syncproto.Ref{Incarnation: a.Entries[0].Incarnation, Seq: 12}))
	put(t, s, a.Push(13, 13))
}

func TestAReopenedStoreHasWhatItHad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "carry.db")
	s, a := open(t, path), journalOf("A", 30)
	put(t, s, a.Push(1, 10), a.Push(11, 30))
	require.NoError(t, s.Close())
	s = open(t, path)
	require.Equal(t, []carry.Part{part(a, 1, 30)}, parts(t, s))
	require.NoError(t, s.Close())
	looked, err := carry.Look(t.Context(), path)
	require.NoError(t, err)
	require.Len(t, numbers(t, looked), 30)
	require.NoError(t, looked.Close())
	_, err = carry.Look(t.Context(), path+".not")
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A file that is no store, or a torn one, is put aside, and a new one is begun.
func TestADamagedFileIsPutAside(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func([]byte) []byte{
		"no database":  func([]byte) []byte { return []byte("this is no database, and has never been one") },
		"cut short":    func(b []byte) []byte { return b[:4096+100] },
		"zeros inside": func(b []byte) []byte { clear(b[4096:]); return b },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "carry.db")
			a := journalOf("A", 300)
			for range 2 { // the second takes the place of the first
				s := open(t, path)
				put(t, s, a.Push(1, 100), a.Push(101, 200), a.Push(201, 300))
				require.NoError(t, s.Close())
				b, err := os.ReadFile(path)
				require.NoError(t, err)
				bad := spoil(b)
				require.NoError(t, os.WriteFile(path, bad, 0o600))
				_, err = carry.Look(t.Context(), path)
				require.Error(t, err)
				s, damage, err := carry.Open(t.Context(), path)
				require.NoError(t, err)
				require.Error(t, damage)
				require.Empty(t, parts(t, s))
				put(t, s, a.Push(1, 5))
				require.NoError(t, s.Close())
				require.NoError(t, os.Remove(path))
			}
			aside, err := filepath.Glob(path + ".damaged*")
			require.NoError(t, err)
			require.NotEmpty(t, aside)
		})
	}
}

// A store that cannot be opened because nobody waited, or because it may not be
// read, is not a damaged one.
func TestAStoreThatCannotBeOpenedNowIsLeftAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "carry.db")
	s, a := open(t, path), journalOf("A", 3)
	put(t, s, a.All())
	require.NoError(t, s.Close())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, damage, err := carry.Open(ctx, path)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, damage)
	require.NoFileExists(t, path+".damaged")
	require.Equal(t, []carry.Part{part(a, 1, 3)}, parts(t, open(t, path)))
}

// A bit that flipped on the disk makes its piece one that is not kept: what is
// given out is what its owner signed, or nothing.
func TestAFlippedBitIsNotGivenOut(t *testing.T) {
	t.Parallel()
	a := journalOf("A", 9)
	inc := a.Entries[0].Incarnation
	whole := map[uint64]syncproto.PushRequest{1: a.Push(1, 3), 4: a.Push(4, 6), 7: a.Push(7, 9)}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 20 {
		path := filepath.Join(t.TempDir(), "carry.db")
		s := open(t, path)
		put(t, s, a.Push(1, 3), a.Push(4, 6), a.Push(7, 9))
		body := bytesOf(t, a.Push(4, 6))
		require.NoError(t, s.FlipBit(t.Context(), 4, rnd.Int64N(body), rnd.IntN(8)))
		require.NoError(t, s.Close())

		s, damage, err := carry.Open(t.Context(), path)
		require.NoError(t, err)
		require.NoError(t, damage)
		require.Equal(t, []carry.Part{part(a, 7, 9)}, parts(t, s), "as with any other gap")
		_, err = s.Range(t.Context(), inc, 5)
		require.ErrorIs(t, err, carry.ErrNone)
		require.NoError(t, s.Each(t.Context(), func(req *syncproto.PushRequest) error {
			require.Equal(t, whole[req.First], *req)
			return nil
		}))
		put(t, s, a.Push(4, 6)) // it comes again
		require.Equal(t, []carry.Part{part(a, 1, 9)}, parts(t, s))
		require.NoError(t, s.Close())
	}
}

func TestTheStoreMayBeUsedFromManySides(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	var sides sync.WaitGroup
	for n := range 6 {
		c := journalOf(fmt.Sprint("gate ", n), 31)
		sides.Go(func() {
			for first := uint64(1); first <= 31; first++ {
				err := s.Put(t.Context(), []syncproto.PushRequest{c.Push(first, first)})
				if err == nil {
					_, err = s.Range(t.Context(), c.Entries[0].Incarnation, first)
				}
				if err == nil && first == 20 {
					err = s.Drop(t.Context(), syncproto.Ref{Incarnation: c.Entries[0].Incarnation, Seq: 10})
				}
				if err == nil {
					_, err = s.Parts(t.Context())
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	sides.Wait()
	for _, p := range parts(t, s) {
		require.Equal(t, []uint64{11, 31}, []uint64{p.First, p.Last})
	}
	require.Len(t, parts(t, s), 6)
}

// The environment that makes the test binary a gate that can be killed.
const childPath = "CARRY_TEST_PATH"

// child keeps one entry after the other and says so, until it is killed.
func child() bool {
	path := os.Getenv(childPath)
	if path == "" {
		return false
	}
	fmt.Fprintln(os.Stderr, keepUntilKilled(path))
	os.Exit(1)
	return true
}

func keepUntilKilled(path string) error {
	ctx := context.Background()
	s, damage, err := carry.Open(ctx, path)
	if err = errors.Join(damage, err); err != nil {
		return err
	}
	all, err := s.Parts(ctx)
	if err != nil {
		return err
	}
	c := journalOf("crushed", 3_000)
	next := uint64(1)
	if len(all) > 0 {
		next = all[0].Last + 1
	}
	for ; next+1 < 3_000; next += 2 {
		if err := s.Put(ctx, []syncproto.PushRequest{c.Push(next, next), c.Push(next+1, next+1)}); err != nil {
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(next + 1); err != nil {
			return err
		}
	}
	return errors.New("nobody killed it")
}

// A gate that is killed while it keeps entries has all that it had finished with,
// in one piece, and goes on from there.
func TestKilledStoreKeepsWhatWasPut(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "carry.db")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	c := journalOf("crushed", 3_000)
	acked := uint64(0)
	for range 8 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childPath+"="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for left := 1 + rnd.IntN(60); left > 0 && lines.Scan(); left-- {
			require.NoError(t, json.Unmarshal(lines.Bytes(), &acked))
		}
		require.NoError(t, cmd.Process.Kill())
		for lines.Scan() {
			require.NoError(t, json.Unmarshal(lines.Bytes(), &acked))
		}
		require.Error(t, cmd.Wait())
		s := open(t, path)
		all := parts(t, s)
		require.Len(t, all, 1)
		require.GreaterOrEqual(t, all[0].Last, acked)
		require.Equal(t, part(c, 1, all[0].Last), all[0])
		require.Zero(t, all[0].Last%2, "both pieces of a Put or none")
		require.Len(t, numbers(t, s), int(all[0].Last))
		require.NoError(t, s.Close())
	}
}
