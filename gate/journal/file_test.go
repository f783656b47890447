package journal_test

import (
	"database/sql"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/gate/journal"
	"gatehouse/syncproto"
)

func pull(t *testing.T, r *journal.Reader) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		require.NoError(t, r.Entries(t.Context(), func(e *syncproto.Entry) error {
			yield(e.Seq)
			return nil
		}))
	}
}

// tamper changes a closed file behind the journal's back.
func tamper(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	require.NoError(t, err)
	_, err = db.Exec(statement)
	require.NoError(t, err)
	require.NoError(t, db.Close())
}

func TestTamperingIsFound(t *testing.T) {
	t.Parallel()
	for name, statement := range map[string]string{
		"body":              `UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), '"n":5', '"n":6') AS BLOB) WHERE id & 0xffffffffff = 6`,
		"hash":              `UPDATE entry SET hash = zeroblob(32) WHERE id & 0xffffffffff = 6`,
		"signature":         `UPDATE entry SET sig = zeroblob(64) WHERE sig NOT NULL`,
		"no last signature": `UPDATE entry SET sig = NULL WHERE id = (SELECT max(id) FROM entry)`,
		"row gone":          `DELETE FROM entry WHERE id & 0xffffffffff = 6`,
		"end gone":          `DELETE FROM entry WHERE id = (SELECT max(id) FROM entry)`,
		"genesis gone":      `DELETE FROM entry WHERE id & 0xffffffffff = 1`,
		"not JSON":          `UPDATE entry SET body = x'00' WHERE id & 0xffffffffff = 6`,
		"other incarnation": `UPDATE incarnation SET id = zeroblob(16)`,
		"other key":         `UPDATE incarnation SET key = zeroblob(32)`,
		"all entries gone":  `DELETE FROM entry`,
		"no table":          `DROP TABLE entry`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			j := g.open(t)
			appendN(t, j, 20)
			require.NoError(t, j.Close())
			tamper(t, g.cfg.Path, statement)

			if r, err := journal.OpenReadOnly(t.Context(), g.cfg.Path); err != nil {
				require.ErrorIs(t, err, journal.ErrCorrupt)
			} else {
				_, err = r.Verify(t.Context())
				require.ErrorIs(t, err, journal.ErrCorrupt)
				require.NoError(t, r.Close())
			}
			_, err := journal.Open(t.Context(), g.cfg)
			require.ErrorIs(t, err, journal.ErrCorrupt)
		})
	}
}

// Open verifies the end of the chain only; Verify finds what is older, and names it.
func TestOldTamperingIsFoundByVerify(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	j := g.open(t)
	made := appendN(t, j, 3*journal.TailEntries)
	require.NoError(t, j.Close())
	tamper(t, g.cfg.Path, `UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), '"admitted"', '"override"') AS BLOB) WHERE id & 0xffffffffff = 100`)

	k := g.open(t)
	rep, err := k.Verify(t.Context())
	require.ErrorIs(t, err, journal.ErrCorrupt)
	require.ErrorContains(t, err, "entry 100 ")
	require.Equal(t, made[97].Ref(), rep.Last.Ref, "the last good one")
}

func TestADamagedJournalIsMovedAsideAndSalvaged(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	j := g.open(t)
	made := appendN(t, j, 20)
	require.NoError(t, j.Close())
	tamper(t, g.cfg.Path, `UPDATE entry SET hash = zeroblob(32) WHERE id & 0xffffffffff = 15`)
	_, err := journal.Open(t.Context(), g.cfg)
	require.ErrorIs(t, err, journal.ErrCorrupt)

	to, err := journal.MoveAside(g.cfg.Path, g.now)
	require.NoError(t, err)
	require.NoFileExists(t, g.cfg.Path)
	require.FileExists(t, to)
	var saved []syncproto.Entry
	old, err := journal.Salvage(t.Context(), to, g.cfg.Key, func(e *syncproto.Entry) error {
		saved = append(saved, *e)
		return nil
	})
	require.NoError(t, err)
	require.ErrorIs(t, old.Damage, journal.ErrCorrupt, "the reason for the end")
	require.Equal(t, made[:13], saved[1:])
	require.NoError(t, old.Close())

	g.cfg.Parent, g.cfg.After = old.Report.Last, saved[13].T
	k := g.open(t)
	require.Equal(t, old.Report.Last, k.Parent())
	require.Equal(t, saved[13].Hash, k.Parent().Hash)
	appendN(t, k, 1)
	_, err = journal.MoveAside(filepath.Join(t.TempDir(), "none.db"), g.now)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestReadingNeedsNoGateAndChangesNothing(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	_, err := journal.OpenReadOnly(t.Context(), g.cfg.Path)
	require.ErrorIs(t, err, os.ErrNotExist)

	j := g.open(t)
	made := appendN(t, j, 7)
	last := j.Last()
	require.NoError(t, j.Ack(t.Context(), syncproto.Position{Ref: made[2].Ref(), Hash: made[2].Hash}))
	require.NoError(t, j.Close())
	before, err := os.ReadFile(g.cfg.Path)
	require.NoError(t, err)

	r, err := journal.OpenReadOnly(t.Context(), g.cfg.Path)
	require.NoError(t, err)
	require.EqualValues(t, 8, r.Rows())
	require.EqualValues(t, 4, r.Unsent(), "Close stores watermarks")
	require.Len(t, entries(t, r), 8)
	marks, err := r.Watermarks(t.Context())
	require.NoError(t, err)
	require.Equal(t, last, marks[0].Last)
	req, err := r.Range(t.Context(), last.Incarnation, 1, 0, 0)
	require.NoError(t, err)
	require.Len(t, req.Entries, 8)
	_, err = r.Verify(t.Context())
	require.NoError(t, err)
	require.NoError(t, r.Close())
	after, err := os.ReadFile(g.cfg.Path)
	require.NoError(t, err)
	require.Equal(t, before, after)
	g.open(t)
}

// A gate that is killed while it makes its first journal has none, and makes it at
// the next start.
func TestAJournalThatWasNeverFinishedIsNone(t *testing.T) {
	t.Parallel()
	for name, statement := range map[string]string{
		"empty":                `PRAGMA user_version = 0`,
		"no table":             `PRAGMA journal_mode = WAL`,
		"the migrator's table": `CREATE TABLE goose_db_version (id INTEGER PRIMARY KEY AUTOINCREMENT, version_id INTEGER NOT NULL, is_applied INTEGER NOT NULL, tstamp TIMESTAMP DEFAULT (datetime('now'))); INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			require.NoError(t, os.WriteFile(g.cfg.Path, nil, 0o600))
			tamper(t, g.cfg.Path, statement)
			_, err := journal.OpenReadOnly(t.Context(), g.cfg.Path)
			require.ErrorIs(t, err, os.ErrNotExist)
			appendN(t, g.open(t), 1)
		})
	}
	g := newGate(t)
	require.NoError(t, os.WriteFile(g.cfg.Path, nil, 0o600))
	tamper(t, g.cfg.Path, `CREATE TABLE other (x)`)
	_, err := journal.OpenReadOnly(t.Context(), g.cfg.Path)
	require.ErrorIs(t, err, journal.ErrCorrupt, "somebody else's file")
}

// Whatever byte changes, a journal opens with all its entries, or with the oldest
// of them when the newest log is hit, or is refused: it never panics and never
// shows an entry that was not made.
func TestFlippedBytesAreRefusedOrHarmless(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	j := g.open(t)
	appendN(t, j, 300)
	want := entries(t, j)
	require.NoError(t, j.Close())
	whole, err := os.ReadFile(g.cfg.Path)
	require.NoError(t, err)

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 3))
	refused := 0
	bad := g.cfg
	bad.WALBytes = 64 << 10
	for i := range 150 {
		at := rnd.IntN(len(whole))
		if i < 50 {
			at = i * 2
		}
		flipped := append([]byte(nil), whole...)
		flipped[at] ^= byte(1 + rnd.IntN(255))
		bad.Path = filepath.Join(t.TempDir(), "journal.db")
		require.NoError(t, os.WriteFile(bad.Path, flipped, 0o600))
		k, err := journal.Open(t.Context(), bad)
		if err != nil {
			require.ErrorIs(t, err, journal.ErrCorrupt, "offset %d", at)
			refused++
			continue
		}
		got := entries(t, k)
		require.Equal(t, want, got[:len(got)-1], "offset %d of %d", at, len(whole))
		require.NoError(t, k.Close())
	}
	require.Greater(t, refused, 50, "the test flips bytes that matter")
}
