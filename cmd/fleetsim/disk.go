package main

import "math/rand/v2"

// file is a file on a box's disk that grows by whole records, each written behind
// a checksum that covers what is before it, as SQLite's write-ahead log does: a
// reader takes what is whole, up to the first record that is not.
type file[T any] struct {
	records []record[T]
	synced  int // how many of them an fsync has covered
}

type record[T any] struct {
	value T
	torn  bool
}

func (f *file[T]) write(v T) { f.records = append(f.records, record[T]{value: v}) }

func (f *file[T]) sync() { f.synced = len(f.records) }

// cut is a power cut, or what a failed fsync leaves: of what was not synced any
// part may be there, one record in pieces.
func (f *file[T]) cut(r *rand.Rand) {
	for i := f.synced; i < len(f.records); i++ {
		if r.IntN(2) == 0 {
			f.records[i].torn = true
		}
	}
	f.records = f.records[:f.whole()]
	f.synced = len(f.records)
}

// whole is how many records a reader finds from the beginning on.
func (f *file[T]) whole() int {
	for i := range f.records {
		if f.records[i].torn {
			return i
		}
	}
	return len(f.records)
}

func (f *file[T]) read() []T {
	out := make([]T, f.whole())
	for i := range out {
		out[i] = f.records[i].value
	}
	return out
}

// image copies a file as a backup of the medium does: what is on it, not what is in
// memory. Records never change in place but by flips, which copy.
func (f *file[T]) image() file[T] {
	return file[T]{records: append([]record[T](nil), f.records[:f.synced]...), synced: f.synced}
}

// medium is how a box's disk is at present.
type medium struct {
	full   bool
	broken bool // fsync answers EIO
	slow   bool // fsync takes seconds
}
