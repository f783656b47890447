package journal_test

import (
	"os"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/gate/journal"
	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// salvage moves the journal aside and reads it.
func (g *testGate) salvage(t *testing.T) (*journal.Salvaged, []syncproto.Entry) {
	t.Helper()
	to, err := journal.MoveAside(g.cfg.Path, g.now)
	require.NoError(t, err)
	var all []syncproto.Entry
	s, err := journal.Salvage(t.Context(), to, g.cfg.Key, func(e *syncproto.Entry) error {
		all = append(all, *e)
		return nil
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s, all
}

// pushAll takes what a central would be sent of an incarnation, and verifies it as
// one does.
func pushAll(t *testing.T, g *testGate, s *journal.Salvaged, inc uuid.UUID, first uint64) (all []syncproto.Entry) {
	t.Helper()
	for {
		req, err := s.Range(t.Context(), inc, first, 7, 0)
		require.NoError(t, err)
		if len(req.Entries) == 0 {
			return all
		}
		require.NoError(t, wire.VerifyPush(&req, g.pub))
		all = append(all, req.Entries...)
		first += uint64(len(req.Entries))
	}
}

// What can be read of a damaged journal is pushed like any other, up to the last
// entry that verifies, though the commit that held it lost its signature.
func TestWhatIsSalvagedCanBePushed(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	j := g.open(t)
	appendN(t, j, 5)
	require.NoError(t, j.Close())
	k := g.open(t)
	made := appendN(t, k, 20)
	require.NoError(t, k.Close())
	tamper(t, g.cfg.Path, `UPDATE entry SET hash = zeroblob(32) WHERE id = 2 << 40 | 15`)

	s, all := g.salvage(t)
	require.ErrorIs(t, s.Damage, journal.ErrCorrupt)
	require.Equal(t, made[12].Ref(), s.Report.Last.Ref)
	evidence, err := os.ReadFile(s.Path)
	require.NoError(t, err)
	marks, err := s.Watermarks(t.Context())
	require.NoError(t, err)
	require.Len(t, marks, 2)
	require.Equal(t, s.Report.Last, marks[1].Last, "it ends at the last good entry")
	require.EqualValues(t, 6+14, s.Unsent())
	require.Equal(t, all, append(pushAll(t, g, s, j.Incarnation(), 1), pushAll(t, g, s, k.Incarnation(), 1)...))

	// A new journal follows it, and says that it may have gone on.
	g.cfg.Parent, g.cfg.After, g.cfg.Salvaged = s.Report.Last, s.Report.LastT, true
	next := g.open(t)
	genesis := entries(t, next)[0]
	require.Equal(t, syncproto.NoteSalvaged, genesis.Note)
	require.Equal(t, s.Report.Last.Ref, genesis.Of)
	require.Greater(t, genesis.T, all[len(all)-1].T)
	require.NoError(t, next.Close())
	require.Empty(t, entries(t, g.open(t))[1].Note, "the one after that follows a whole one")

	// Central has a part of it, all of it, and more than can be read here.
	for seq, unsent := range map[uint64]int64{3: 6 + 11, 14: 6, 21: 6} {
		held := syncproto.Position{Ref: syncproto.Ref{Incarnation: k.Incarnation(), Seq: seq}, Hash: syncproto.Hash{1}}
		require.NoError(t, s.Rewind(t.Context(), held))
		require.Equal(t, unsent, s.Unsent(), "central holds %d", seq)
	}
	require.ErrorIs(t, s.Rewind(t.Context(), syncproto.Position{Ref: syncproto.Ref{Incarnation: newID(), Seq: 1}}), journal.ErrUnknown)
	after, err := os.ReadFile(s.Path)
	require.NoError(t, err)
	require.Equal(t, evidence, after, "it is evidence")
}

// Pages that cannot be read at all take with them what they hold, and nothing
// that comes before.
func TestSalvageReadsUpToAPageThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, where := range map[string]func(pages int) int{
		"in the middle":   func(pages int) int { return pages / 2 },
		"at the very end": func(pages int) int { return pages - 2 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			j := g.open(t)
			made := appendN(t, j, 3000)
			require.NoError(t, j.Close())
			const page = 4096
			whole, err := os.ReadFile(g.cfg.Path)
			require.NoError(t, err)
			hit := where(len(whole) / page)
			for i := hit * page; i < (hit+2)*page; i++ {
				whole[i] = byte(i * 7)
			}
			require.NoError(t, os.WriteFile(g.cfg.Path, whole, 0o600))
			require.NoError(t, os.Remove(g.cfg.Path+"-wal"), "it would mend the file")

			_, err = journal.Open(t.Context(), g.cfg)
			require.ErrorIs(t, err, journal.ErrCorrupt)
			s, all := g.salvage(t)
			require.ErrorIs(t, s.Damage, journal.ErrCorrupt)
			require.Greater(t, len(all), 3000*(hit-20)/(len(whole)/page), "what stands before the damage")
			require.Equal(t, made[:len(all)-1], all[1:])
			require.Equal(t, all, pushAll(t, g, s, j.Incarnation(), 1))
			require.Equal(t, all, entries(t, s), "it is read again without looking at the damage")
		})
	}
}

func TestSalvageOfWhatIsNoJournal(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	fail := func(*syncproto.Entry) error { panic("there is no entry") }
	_, err := journal.Salvage(t.Context(), g.cfg.Path, g.cfg.Key, fail)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(g.cfg.Path, make([]byte, 9000), 0o600))
	_, err = journal.Salvage(t.Context(), g.cfg.Path, g.cfg.Key, fail)
	require.ErrorIs(t, err, journal.ErrCorrupt)
}
