package shelf_test

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/gate/shelf"
	"gatehouse/syncproto"
)

func open(t *testing.T, dir string) *shelf.Shelf {
	t.Helper()
	s, err := shelf.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() }) // some tests close it themselves
	return s
}

func page(from, to int64, text string) *syncproto.Page {
	return &syncproto.Page{From: from, To: to, Raw: []byte(text)}
}

// manifest puts a snapshot of one chunk at seq on the shelf.
func manifest(t *testing.T, s *shelf.Shelf, seq int64, chunk string) syncproto.Hash {
	t.Helper()
	hash := syncproto.Hash(sha256.Sum256([]byte(chunk)))
	require.NoError(t, os.WriteFile(filepath.Join(s.Dir(), shelf.ChunkName(hash)), []byte(chunk), 0o600))
	require.NoError(t, s.Stock(&syncproto.Manifest{Seq: seq, Chunks: []syncproto.Chunk{{Hash: hash}}}))
	return hash
}

func fetchPage(t *testing.T, s *shelf.Shelf, after int64) string {
	t.Helper()
	body, err := s.Fetch(syncproto.Fetch{After: after})
	if err != nil {
		require.ErrorIs(t, err, shelf.ErrNone)
		return ""
	}
	return string(body)
}

func TestASnapshotAndThePagesAfterItAreFoundAgain(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	require.False(t, s.Whole(0))
	hash := manifest(t, s, 10, "chunk")
	require.True(t, s.Whole(10))
	require.False(t, s.Whole(11))
	require.NoError(t, s.Add(page(10, 12, "ten")))
	require.NoError(t, s.Add(page(12, 12, "empty")))
	require.NoError(t, s.Add(page(12, 20, "twelve")))
	require.NoError(t, s.Close())

	s = open(t, dir)
	require.True(t, s.Whole(20))
	body, err := s.Fetch(syncproto.Fetch{Chunk: hash})
	require.NoError(t, err)
	require.Equal(t, "chunk", string(body))
	body, err = s.Fetch(syncproto.Fetch{Manifest: true})
	require.NoError(t, err)
	require.Contains(t, string(body), `"seq":10`)
	require.Equal(t, "ten", fetchPage(t, s, 10))
	require.Equal(t, "ten", fetchPage(t, s, 11), "a page may begin before")
	require.Equal(t, "twelve", fetchPage(t, s, 12))
	require.Empty(t, fetchPage(t, s, 20))
	require.Empty(t, fetchPage(t, s, 9))
}

func TestATornPageIsCutOff(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	require.NoError(t, s.Add(page(1, 2, "one")))
	require.NoError(t, s.Add(page(2, 3, "two")))
	require.NoError(t, s.Close())
	path := filepath.Join(dir, "pages.log")
	info, err := os.Stat(path)
	require.NoError(t, err)
	for size := info.Size() - 1; size > 0; size-- {
		require.NoError(t, os.Truncate(path, size))
		s = open(t, dir)
		require.Empty(t, fetchPage(t, s, 2))
		require.NoError(t, s.Close())
	}
	s = open(t, dir)
	require.NoError(t, s.Add(page(1, 2, "again")))
	require.Equal(t, "again", fetchPage(t, s, 1))
}

func TestAGapMakesEarlierPagesUseless(t *testing.T) {
	s := open(t, t.TempDir())
	manifest(t, s, 1, "chunk")
	require.NoError(t, s.Add(page(1, 5, "one")))
	require.NoError(t, s.Add(page(7, 9, "seven")))
	require.Empty(t, fetchPage(t, s, 1))
	require.Equal(t, "seven", fetchPage(t, s, 7))
	require.False(t, s.Whole(9), "nobody can get from the snapshot to the pages")
}

func TestANewerSnapshotTakesThePlaceOfTheOld(t *testing.T) {
	s := open(t, t.TempDir())
	old := manifest(t, s, 1, "old")
	require.NoError(t, s.Add(page(1, 5, "one")))
	require.NoError(t, s.Add(page(5, 9, "five")))
	manifest(t, s, 6, "new")
	_, err := s.Fetch(syncproto.Fetch{Chunk: old})
	require.ErrorIs(t, err, shelf.ErrNone)
	require.Empty(t, fetchPage(t, s, 1))
	require.Equal(t, "five", fetchPage(t, s, 6), "it covers what is after the snapshot")
	require.True(t, s.Whole(9))
	require.NoError(t, s.Add(page(9, 10, "nine")))
	require.Equal(t, "nine", fetchPage(t, s, 9))
}

func TestADamagedChunkIsNotGivenOut(t *testing.T) {
	s := open(t, t.TempDir())
	hash := manifest(t, s, 1, "chunk")
	require.NoError(t, os.WriteFile(filepath.Join(s.Dir(), shelf.ChunkName(hash)), []byte("chUnk"), 0o600))
	_, err := s.Fetch(syncproto.Fetch{Chunk: hash})
	require.ErrorIs(t, err, shelf.ErrNone)
}

func TestPagesBeyondTheLimitMakeANewSnapshotDue(t *testing.T) {
	s := open(t, t.TempDir())
	manifest(t, s, 1, "chunk")
	s.SetMost(60)
	require.NoError(t, s.Add(page(1, 2, "one")))
	require.NoError(t, s.Add(page(2, 3, "two")))
	require.True(t, s.Whole(3))
	require.NoError(t, s.Add(page(3, 4, "three")))
	require.False(t, s.Whole(4), "a newer snapshot is due")
	require.Equal(t, "one", fetchPage(t, s, 1), "what is there is still lent")
	require.NoError(t, s.Add(page(4, 5, "four")))
	require.Empty(t, fetchPage(t, s, 1), "it does not grow for ever")
	require.Equal(t, "four", fetchPage(t, s, 4))
	manifest(t, s, 5, "new")
	require.True(t, s.Whole(5))
}
