package vault

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"gatehouse/syncproto"
)

// purposeRestart keeps what is sealed here from being taken for what central seals.
const purposeRestart = "gatehouse/vault-restart/v1"

// keptMax bounds the file.
const keptMax = 4 << 10

// Keep carries the vault key over a restart of the program: a file that only this
// user may read, on a file system that lives in memory, sealed to the gate's box key.
// It is gone when the power is; who wants the key has to have the running box and
// what is on its disk. A nil Keep keeps nothing.
type Keep struct {
	path            string
	private, public []byte // box key
}

// NewKeep keeps the key of a device in dir, which must be on a memory file system
// (tmpfs or ramfs). private and public are the device's box key.
func NewKeep(dir string, device uuid.UUID, private, public []byte) (*Keep, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return nil, fmt.Errorf("directory for the vault key %s: %w; give another with --vault-dir", dir, err)
	}
	if st.Type != unix.TMPFS_MAGIC && st.Type != unix.RAMFS_MAGIC {
		return nil, fmt.Errorf("%s is not on a memory file system, and the vault key must not reach a disk; give a directory on a tmpfs with --vault-dir, or --vault-restart none", dir)
	}
	return &Keep{path: filepath.Join(dir, "gatehouse-"+device.String()+".vault"), private: private, public: public}, nil
}

func (k *Keep) save(key []byte) error {
	if k == nil {
		return nil
	}
	sealed, err := syncproto.SealTo(k.public, purposeRestart, key)
	if err != nil {
		return err
	}
	// A new file takes the place of whatever has the name, and is not followed through
	// a link that somebody left there.
	return renameio.WriteFile(k.path, sealed, 0o600, renameio.WithTempDir(filepath.Dir(k.path)))
}

// load is the key that another run left; nil where there is none. A file of somebody
// else is an error: anybody may write into a folder for temporary files.
func (k *Keep) load() (key []byte, err error) {
	if k == nil {
		return nil, nil
	}
	f, err := os.OpenFile(k.path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("kept vault key: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("kept vault key: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) != os.Geteuid() || info.Mode() != 0o600 || info.Size() > keptMax {
		return nil, fmt.Errorf("%s is not a file that this gate wrote; remove it", k.path)
	}
	sealed := make([]byte, info.Size())
	if _, err := f.ReadAt(sealed, 0); err != nil {
		return nil, fmt.Errorf("kept vault key: %w", err)
	}
	return syncproto.OpenSealed(k.private, purposeRestart, sealed)
}

func (k *Keep) forget() error {
	if k == nil {
		return nil
	}
	if err := os.Remove(k.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the vault key: %w", err)
	}
	return nil
}
