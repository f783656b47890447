package journal_test

import (
	"bufio"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/gate/journal"
	"gatehouse/syncproto"
)

func nextAck(t *testing.T, lines *bufio.Scanner) (a ack, ok bool) {
	t.Helper()
	if !lines.Scan() {
		return ack{}, false
	}
	require.NoError(t, json.Unmarshal(lines.Bytes(), &a), "torn line %q", lines.Text())
	return a, true
}

// A gate is killed at many moments and started again on the same file. Whatever
// was acknowledged is there, and no number is ever used for two entries.
func TestKilledJournalKeepsEverythingAcknowledged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.db")
	acked := map[syncproto.Ref]syncproto.Entry{}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	kills := 25
	if testing.Short() {
		kills = 5
	}
	for range kills {
		cmd, lines := start(t, "write", path)
		for left := rnd.IntN(1 + rnd.IntN(400)); left >= 0; left-- {
			a, ok := nextAck(t, lines)
			require.True(t, ok, "the child ended by itself")
			acked[a.Entry.Ref()] = a.Entry
		}
		require.NoError(t, cmd.Process.Kill())
		for a, ok := nextAck(t, lines); ok; a, ok = nextAck(t, lines) {
			acked[a.Entry.Ref()] = a.Entry
		}
		require.Error(t, cmd.Wait())
	}
	j, err := journal.Open(t.Context(), childGate(path))
	require.NoError(t, err)
	defer func() { require.NoError(t, j.Close()) }()
	rep, err := j.Verify(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, kills+1, rep.Incarnations)
	found := 0
	seen := map[syncproto.Ref]bool{}
	for _, e := range entries(t, j) {
		require.False(t, seen[e.Ref()])
		seen[e.Ref()] = true
		if want, ok := acked[e.Ref()]; ok {
			require.Equal(t, want, e)
			found++
		}
	}
	require.Equal(t, len(acked), found, "acknowledged entries that are missing")
}

// A power cut may tear the log anywhere after the last fsync. Whole group commits
// up to some point are kept, never a part of one.
func TestTornLogKeepsWholeCommits(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	j := g.open(t)
	boundaries := map[uint64]bool{1: true}
	for i := range 20 {
		made := appendN(t, j, 1+i%5)
		boundaries[made[len(made)-1].Seq] = true
	}
	db, err := os.ReadFile(g.cfg.Path)
	require.NoError(t, err)
	log, err := os.ReadFile(g.cfg.Path + "-wal")
	require.NoError(t, err)
	whole := entries(t, j)

	torn := g.cfg
	lengths := map[int]bool{}
	for at := 0; at < 400_000; at += 2999 { // what is behind was never written
		torn.Path = filepath.Join(t.TempDir(), "journal.db")
		cut := append([]byte(nil), log...)
		clear(cut[at:])
		require.NoError(t, os.WriteFile(torn.Path, db, 0o600))
		require.NoError(t, os.WriteFile(torn.Path+"-wal", cut, 0o600))
		k, err := journal.Open(t.Context(), torn)
		require.NoError(t, err, "torn at %d", at)
		kept := entries(t, k)
		kept = kept[:len(kept)-1] // the genesis of this opening
		require.Equal(t, whole[:len(kept)], append([]syncproto.Entry{}, kept...))
		if len(kept) > 0 {
			require.True(t, boundaries[kept[len(kept)-1].Seq], "torn inside a commit, at %d", at)
		}
		lengths[len(kept)] = true
		_, err = k.Verify(t.Context())
		require.NoError(t, err)
		require.NoError(t, k.Close())
	}
	require.Greater(t, len(lengths), 5, "the test tears at different places")
}

func TestADiskThatRefusesOnceIsNeverTrustedAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.db")
	cmd, lines := start(t, "full", path)
	var acks []ack
	for a, ok := nextAck(t, lines); ok; a, ok = nextAck(t, lines) {
		acks = append(acks, a)
	}
	require.NoError(t, cmd.Wait())
	require.Len(t, acks, 6)
	for i, a := range acks {
		if i < 2 {
			require.Empty(t, a.Err)
		} else {
			require.Contains(t, a.Err, journal.ErrBroken.Error(), "attempt %d", i)
			require.Zero(t, a.Entry)
		}
	}
	j, err := journal.Open(t.Context(), childGate(path))
	require.NoError(t, err)
	defer func() { require.NoError(t, j.Close()) }()
	_, err = j.Verify(t.Context())
	require.NoError(t, err)
	require.Equal(t, []syncproto.Entry{acks[0].Entry, acks[1].Entry}, entries(t, j)[1:3])
}
