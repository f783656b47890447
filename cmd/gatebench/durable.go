package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Reaches of a durable admission.
const (
	durableRatioMax = 1.3
	sustainedMin    = 20_000 // a second
)

// floorFile and floorRecord are the file that the floor of durability
// overwrites, and how much of it at a time.
const (
	floorFile   = 4 << 20
	floorRecord = 128
)

// A floor is the least that durability costs on a disk: bytes into a file whose
// blocks are all written already, then fdatasync.
type floor struct {
	f    *os.File
	at   int64
	took samples
}

func openFloor(dir string) (*floor, error) {
	f, err := os.Create(filepath.Join(dir, "floor"))
	if err != nil {
		return nil, fmt.Errorf("file for the floor: %w", err)
	}
	if _, err := f.Write(make([]byte, floorFile)); err != nil {
		return nil, errors.Join(fmt.Errorf("file for the floor: %w", err), f.Close())
	}
	return &floor{f: f}, f.Sync()
}

func (f *floor) write() error {
	var record [floorRecord]byte
	start := time.Now()
	if _, err := f.f.WriteAt(record[:], f.at); err != nil {
		return fmt.Errorf("overwrite: %w", err)
	}
	if err := unix.Fdatasync(int(f.f.Fd())); err != nil {
		return fmt.Errorf("fdatasync: %w", err)
	}
	f.took = append(f.took, time.Since(start))
	f.at = (f.at + floorRecord) % floorFile
	return nil
}

func (f *floor) close() error { return f.f.Close() }

// measureDurable admits through an engine, a node and a journal, beside the
// floor in the same folder.
func measureDurable(ctx context.Context, b *bench) (_ []figure, err error) {
	s, err := newScene()
	if err != nil {
		return nil, err
	}
	b.progress.note("signing codes")
	numbers := pick(max(b.small, b.codes), b.codes)
	codes, err := s.codes(numbers)
	if err != nil {
		return nil, err
	}
	loaded, err := s.roster(max(b.small, b.codes), numbers, codes)
	if err != nil {
		return nil, err
	}
	bx, err := s.openBox(ctx, b.dir, loaded)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bx.journal.Close()) }()
	f, err := openFloor(b.dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	b.progress.note("one lane")
	took, used, err := oneLane(ctx, bx, f, codes, b.admitFor)
	if err != nil {
		return nil, err
	}
	const what = "overwrite of 128 B and fdatasync"
	figures := []figure{
		newFigure("scan to durable admit, one lane, p50", micros(took.at(0.5)), "µs", reach{ratioMax: durableRatioMax}).beside(micros(f.took.at(0.5)), what),
		newFigure("scan to durable admit, one lane, p99", micros(took.at(0.99)), "µs", reach{}).beside(micros(f.took.at(0.99)), what),
	}
	b.progress.note(fmt.Sprintf("%d callers", b.callers))
	sustained, err := manyCallers(ctx, b, bx, f, codes[used:])
	return append(figures, sustained), err
}

// oneLane takes turns with the floor, so that a drift of the disk falls on both.
func oneLane(ctx context.Context, bx *box, f *floor, codes [][]byte, most time.Duration) (took samples, used int, err error) {
	for began := time.Now(); time.Since(began) < most && used < len(codes)/4; used++ {
		if err := f.write(); err != nil {
			return nil, 0, err
		}
		start := time.Now()
		if err := bx.admit(ctx, codes[used]); err != nil {
			return nil, 0, err
		}
		took = append(took, time.Since(start))
	}
	return took, used, nil
}

// manyCallers is what a gate takes in when every lane of a large site is busy at
// once. The floor is taken anew before and after.
func manyCallers(ctx context.Context, b *bench, bx *box, f *floor, codes [][]byte) (figure, error) {
	f.took = nil
	if err := floorFor(f, b.admitFor/5); err != nil {
		return figure{}, err
	}
	var next atomic.Int64
	errs := make([]error, b.callers)
	began := time.Now()
	var callers sync.WaitGroup
	for c := range b.callers {
		callers.Go(func() {
			for errs[c] == nil && time.Since(began) < b.admitFor {
				i := int(next.Add(1)) - 1
				if i >= len(codes) {
					return
				}
				errs[c] = bx.admit(ctx, codes[i])
			}
		})
	}
	callers.Wait()
	took := time.Since(began)
	admitted := min(int(next.Load()), len(codes))
	if err := errors.Join(errors.Join(errs...), floorFor(f, b.admitFor/5)); err != nil {
		return figure{}, err
	}
	limit := float64(b.callers) / f.took.at(0.5).Seconds()
	return newFigure(fmt.Sprintf("sustained durable admits, %d callers", b.callers), float64(admitted)/took.Seconds(), "/s", reach{valueMin: sustainedMin}).
		beside(limit, fmt.Sprintf("%d ÷ the floor", b.callers)), nil
}

func floorFor(f *floor, d time.Duration) error {
	for began := time.Now(); time.Since(began) < d; {
		if err := f.write(); err != nil {
			return err
		}
	}
	return nil
}
