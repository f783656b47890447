package identity

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func enrolled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	id := Identity{DeviceSeed: make([]byte, 32), Device: uuid.New(), Ratchet: "first"}
	require.NoError(t, id.Save(dir))
	return dir
}

func TestWhatCannotBeSavedIsNotUsed(t *testing.T) {
	dir := enrolled(t)
	f, err := Open(dir)
	require.NoError(t, err)
	before := f.Get()
	require.NoError(t, os.RemoveAll(dir))

	require.Error(t, f.Change(func(id *Identity) { id.Ratchet = "second" }))
	require.Same(t, before, f.Get())
	require.Equal(t, "first", f.Get().Ratchet)
}

// Readers see one value or the other, whole, while it changes.
func TestAnIdentityIsReadWhileItChanges(t *testing.T) {
	dir := enrolled(t)
	f, err := Open(dir)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				id := f.Get()
				if id.Ratchet != "first" && id.Ratchet != id.Withdrawn {
					t.Errorf("read half of a change: %q, %q", id.Ratchet, id.Withdrawn)
				}
			}
		})
		wg.Go(func() {
			for range 10 {
				v := uuid.NewString()
				if err := f.Change(func(id *Identity) { id.Ratchet, id.Withdrawn = v, v }); err != nil {
					t.Errorf("change: %v", err)
				}
			}
		})
	}
	wg.Wait()
	again, err := Load(dir)
	require.NoError(t, err)
	require.Equal(t, f.Get().Ratchet, again.Ratchet)
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Len(t, left, 1, "no temporary files are left")
}
