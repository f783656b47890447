package identity

import (
	"sync"
	"sync/atomic"
)

// File is the identity of a running gate and its file. Open makes one. Its methods
// are safe for concurrent use.
type File struct {
	dir    string
	now    atomic.Pointer[Identity] // never changed in place
	saving sync.Mutex               // one Change at a time
}

// Open loads the identity of a data directory; ErrNotEnrolled when there is none.
func Open(dir string) (*File, error) {
	id, err := Load(dir)
	if err != nil {
		return nil, err
	}
	f := &File{dir: dir}
	f.now.Store(id)
	return f, nil
}

// Get is the identity as the disk has it, to be read only.
func (f *File) Get() *Identity { return f.now.Load() }

// Change saves what change makes of a copy, and uses it if it could be saved: a
// value that a restart would take back is not used at all. Change must replace
// what it alters, and not write through a pointer or into a slice.
func (f *File) Change(change func(*Identity)) error {
	f.saving.Lock()
	defer f.saving.Unlock()
	next := *f.Get()
	change(&next)
	if err := next.Save(f.dir); err != nil {
		return err
	}
	f.now.Store(&next)
	return nil
}
