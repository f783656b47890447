package replica_test

import (
	"database/sql"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/gate/replica"
	"gatehouse/syncproto"
)

// read opens a file and reads all of it, as a gate does at start.
func read(t *testing.T, path string) (map[string]syncproto.Record, error) {
	t.Helper()
	r, err := replica.Open(t.Context(), replica.Config{Path: path})
	if err != nil {
		return nil, err
	}
	defer func() { require.NoError(t, r.Close()) }()
	if _, err := r.Position(t.Context()); err != nil {
		return nil, err
	}
	return state(t.Context(), r)
}

func sample(t *testing.T, path string, tickets int) map[string]syncproto.Record {
	t.Helper()
	b, err := replica.NewBuild(t.Context(), path)
	require.NoError(t, err)
	recs := everything()
	for i := range tickets {
		recs = append(recs, ticket(i+10, 1))
	}
	for _, rec := range recs {
		require.NoError(t, b.Add(&rec))
	}
	require.NoError(t, b.Commit(t.Context(), replica.Position{Stream: stream, Seq: 9, Cursor: "cursor", ServerMS: 4}))
	want, err := read(t, path)
	require.NoError(t, err)
	require.Len(t, want, len(recs))
	return want
}

// Whatever byte changes: either the file is refused, or all of it is still there
// exactly as it was. A ticket never changes its standing.
func TestFlippedBytesAreRefusedOrHarmless(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := filepath.Join(dir, "good.db")
	want := sample(t, good, 1200)
	whole, err := os.ReadFile(good)
	require.NoError(t, err)

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	var offsets []int
	for at := range 100 { // the file header, byte by byte
		offsets = append(offsets, at)
	}
	for range 250 {
		offsets = append(offsets, rnd.IntN(len(whole)))
	}
	refused := 0
	for _, at := range offsets {
		bad := append([]byte(nil), whole...)
		bad[at] ^= byte(1 + rnd.IntN(255))
		path := filepath.Join(dir, "bad.db")
		for _, suffix := range []string{"-wal", "-shm"} {
			require.NoError(t, os.RemoveAll(path+suffix))
		}
		require.NoError(t, os.WriteFile(path, bad, 0o600))
		got, err := read(t, path)
		if err != nil {
			require.ErrorIs(t, err, replica.ErrCorrupt, "offset %d", at)
			refused++
			continue
		}
		require.Equal(t, want, got, "offset %d of %d", at, len(whole))
	}
	require.Greater(t, refused, len(offsets)/3, "the test flips bytes that matter")
}

func TestTruncatedFilesAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := filepath.Join(dir, "good.db")
	sample(t, good, 400)
	whole, err := os.ReadFile(good)
	require.NoError(t, err)
	for _, keep := range []int{1, 99, 100, 4095, 4096, 8192, len(whole) / 2, len(whole) - 4096, len(whole) - 1} {
		path := filepath.Join(dir, "cut.db")
		for _, suffix := range []string{"-wal", "-shm"} {
			require.NoError(t, os.RemoveAll(path+suffix))
		}
		require.NoError(t, os.WriteFile(path, whole[:keep], 0o600))
		_, err = read(t, path)
		if keep == 1 {
			require.ErrorIs(t, err, replica.ErrEmpty, "to SQLite a file without a header is a new one")
			continue
		}
		require.ErrorIs(t, err, replica.ErrCorrupt, "%d of %d bytes", keep, len(whole))
	}
}

func TestWhatIsNotAReplicaIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"text": "this is not a database, it is a note that somebody left in the wrong folder, long enough to have a header's length",
		"page": string(make([]byte, 4096)),
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		_, err := read(t, path)
		require.ErrorIs(t, err, replica.ErrCorrupt, name)
	}
	_, err := read(t, filepath.Join(dir, "new.db"))
	require.ErrorIs(t, err, replica.ErrEmpty, "a file that was not there is empty, not damaged")
}

// After a kill the newest pages are in the write-ahead log. Damage there takes
// them away from some page on; what is left is a state that once was.
func TestADamagedLogLeavesAnEarlierState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	live := filepath.Join(dir, "live.db")
	r := open(t, live)
	history := []map[string]syncproto.Record{{}}
	for i := range 6 {
		require.NoError(t, r.Apply(t.Context(), page(int64(i), int64(i+1), ticket(1, i), ticket(i+2, i), device(1, i))))
		now, err := state(t.Context(), r)
		require.NoError(t, err)
		history = append(history, now)
	}
	log, err := os.ReadFile(live + "-wal")
	require.NoError(t, err)
	seen := map[int64]bool{}
	for at := 0; at < len(log); at += len(log)/120 + 1 {
		path := filepath.Join(dir, "killed.db")
		require.NoError(t, os.RemoveAll(path+"-shm"))
		copyFile(t, live, path)
		bad := append([]byte(nil), log...)
		bad[at] ^= 0x5a
		require.NoError(t, os.WriteFile(path+"-wal", bad, 0o600))
		k, err := replica.Open(t.Context(), replica.Config{Path: path})
		if err != nil {
			require.ErrorIs(t, err, replica.ErrCorrupt)
			continue
		}
		pos, err := k.Position(t.Context())
		if err != nil {
			require.ErrorIs(t, err, replica.ErrEmpty)
		}
		got, err := state(t.Context(), k)
		require.NoError(t, err)
		require.Equal(t, history[pos.Seq], got, "offset %d", at)
		seen[pos.Seq] = true
		require.NoError(t, k.Close())
	}
	require.Greater(t, len(seen), 2, "the test damages different pages")
}

// The table that counts the migrations is damaged: its steps are not those of any
// version, and the file is made anew like any other that is damaged.
func TestMigrationsThatAreMiscountedAreDamage(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "replica.db")
	r := open(t, path)
	require.NoError(t, r.Apply(t.Context(), page(0, 12, everything()...)))
	require.NoError(t, r.Close())
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `DELETE FROM goose_db_version WHERE version_id = 3`)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	_, err = replica.Open(t.Context(), replica.Config{Path: path})
	require.ErrorIs(t, err, replica.ErrCorrupt)
}
