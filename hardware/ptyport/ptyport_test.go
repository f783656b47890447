package ptyport_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/hardware/ptyport"
)

func newPort(t *testing.T) *ptyport.Port {
	port, err := ptyport.New(filepath.Join(t.TempDir(), "tty"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, port.Close()) })
	return port
}

func TestBytesPassUntouchedAndWaitForAReader(t *testing.T) {
	t.Parallel()
	port := newPort(t)
	const sent = "\x00\x03\x1a abc\r\n\t\xff"
	n, err := port.Write([]byte(sent))
	require.NoError(t, err)
	require.Equal(t, len(sent), n)

	tty, err := os.Open(port.Path())
	require.NoError(t, err)
	defer tty.Close()
	got := make([]byte, 64)
	n, err = tty.Read(got)
	require.NoError(t, err)
	require.Equal(t, sent, string(got[:n]))
}

func TestUnplugHangsUpAndReplugMakesANewTTY(t *testing.T) {
	t.Parallel()
	port := newPort(t)
	tty, err := os.Open(port.Path())
	require.NoError(t, err)
	defer tty.Close()

	require.NoError(t, port.Unplug())
	require.NoError(t, port.Unplug(), "pulling a pulled cable")
	_, err = os.Lstat(port.Path())
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = tty.Read(make([]byte, 1))
	require.Error(t, err)
	_, err = port.Write([]byte("x"))
	require.ErrorIs(t, err, ptyport.ErrUnplugged)

	require.NoError(t, port.Replug())
	require.NoError(t, port.Replug(), "plugging in a plugged cable")
	resolved, err := filepath.EvalSymlinks(port.Path())
	require.NoError(t, err)
	require.NotEqual(t, tty.Name(), resolved)
	_, err = port.Write([]byte("x"))
	require.NoError(t, err)
}

func TestNewKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tty")
	require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600))
	_, err := ptyport.New(path)
	require.ErrorContains(t, err, "exists already")
	kept, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "precious", string(kept))

	_, err = ptyport.New(filepath.Join(t.TempDir(), "no", "folder"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestWriteDoesNotWaitForEverForAReader(t *testing.T) {
	t.Parallel()
	port := newPort(t)
	block := make([]byte, 4096)
	for {
		// The kernel buffers some; a tty that nobody reads fills up.
		if _, err := port.Write(block); err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			return
		}
	}
}
