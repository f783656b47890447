package privatepg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// nobodyID is the uid and gid used as root on a machine with no user postgres.
const nobodyID = 65534

// owner is the user that Postgres runs as. Postgres refuses to run as root.
type owner struct {
	uid, gid uint32
	drop     bool // this process is root and has to become that user
}

// ownerOf returns who runs the cluster of cfg: this user, or as root whoever
// owns the cluster already, else the user postgres, else nobody.
func ownerOf(cfg Config) owner {
	if os.Getuid() != 0 {
		return owner{uid: uint32(os.Getuid()), gid: uint32(os.Getgid())}
	}
	if info, err := os.Stat(cfg.data()); err == nil {
		if st := statOf(info); st.Uid != 0 {
			return owner{uid: st.Uid, gid: st.Gid, drop: true}
		}
	}
	if account, err := user.Lookup("postgres"); err == nil {
		uid, uidErr := strconv.ParseUint(account.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(account.Gid, 10, 32)
		if uidErr == nil && gidErr == nil {
			return owner{uid: uint32(uid), gid: uint32(gid), drop: true}
		}
	}
	return owner{uid: nobodyID, gid: nobodyID, drop: true}
}

// credential is what a child process has to be started with.
func (o owner) credential() *syscall.Credential {
	if !o.drop {
		return nil
	}
	return &syscall.Credential{Uid: o.uid, Gid: o.gid} // Groups nil drops root's groups.
}

// chown gives the file or folder at path to the owner, without what is in it.
func (o owner) chown(path string) error {
	if !o.drop {
		return nil
	}
	return os.Chown(path, int(o.uid), int(o.gid))
}

// chownAll gives a folder and all in it to the owner. It is for a cluster that
// was restored from a backup by root and that nobody could run otherwise.
func (o owner) chownAll(root string) error {
	if !o.drop {
		return nil
	}
	return filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(o.uid), int(o.gid))
	})
}

// enters reports whether the owner may pass through the folder, judged by its
// mode bits as the kernel would for a process without supplementary groups.
func (o owner) enters(info fs.FileInfo) bool {
	st, mode := statOf(info), info.Mode().Perm()
	switch {
	case st.Uid == o.uid:
		return mode&0o100 != 0
	case st.Gid == o.gid:
		return mode&0o010 != 0
	default:
		return mode&0o001 != 0
	}
}

// checkReach makes sure that the owner can pass through every folder of path
// that exists. The folders from own downwards are this program's, and are
// opened to passers-by (not to readers) if this user owns them; the folders
// above are somebody else's and are never changed.
func (o owner) checkReach(path, own string) error {
	if !o.drop {
		return nil
	}
	ours := false
	for _, folder := range elements(path) {
		ours = ours || folder == own
		info, err := os.Stat(folder)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("check %s: %w", folder, err)
		}
		if o.enters(info) {
			continue
		}
		if ours && int(statOf(info).Uid) == os.Getuid() {
			if err := os.Chmod(folder, info.Mode().Perm()|0o011); err != nil {
				return fmt.Errorf("open %s to the Postgres user: %w", folder, err)
			}
			continue
		}
		return fmt.Errorf("the folder %s cannot be entered by the user %s, which Postgres runs as: "+
			"run `chmod o+x %s`, or choose a --data folder outside of it", folder, o.name(), folder)
	}
	return nil
}

// name is the owner's account name, or its number if it has none.
func (o owner) name() string {
	id := strconv.FormatUint(uint64(o.uid), 10)
	if account, err := user.LookupId(id); err == nil {
		return account.Username
	}
	return id
}

// elements lists an absolute path's folders from the root down to itself.
func elements(path string) []string {
	if path == filepath.Dir(path) {
		return []string{path}
	}
	return append(elements(filepath.Dir(path)), path)
}

// realPath returns path absolute and with the symbolic links of its existing
// part resolved, for the mode bits that count are those of the real folders.
func realPath(path string) (string, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("resolve %s: %w", path, err)
	}
	real, err := filepath.EvalSymlinks(absolute)
	if err == nil {
		return real, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("resolve %s: %w", path, err)
	}
	parent, err := realPath(filepath.Dir(absolute))
	if err != nil {
		return "", err
	}
	return filepath.Join(parent, filepath.Base(absolute)), nil
}

// statOf is the Unix view of a file's status.
func statOf(info fs.FileInfo) *syscall.Stat_t {
	return info.Sys().(*syscall.Stat_t) // On Unix os.Stat always fills this in.
}
