package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
)

// fleetRate is how many people each gate of a fleet lets in each second.
const fleetRate = 20

// fleetKept is the reach of a fleet that is no slower than what comes.
const fleetKept = 0.99

// measureFleet has many gates let people in at the same time, once without a mesh
// and once with it, all in this process: what the mesh costs is the difference. This
// machine has to do at once what at a venue as many boxes do. Where it is too slow,
// the rate that it kept says so, and what each gate costs is too high.
func measureFleet(ctx context.Context, b *bench) ([]figure, error) {
	s, err := newScene()
	if err != nil {
		return nil, err
	}
	var figures []figure
	for _, n := range b.fleets {
		t, err := s.throng(b, n)
		if err != nil {
			return nil, err
		}
		var loads [2]load
		for i, meshed := range []bool{false, true} {
			b.progress.note(fmt.Sprintf("%d gates, with a mesh: %v", n, meshed))
			if loads[i], err = t.burden(ctx, meshed); err != nil {
				return nil, err
			}
		}
		figures = append(figures, t.figures(&loads[0], &loads[1])...)
	}
	return figures, nil
}

// A throng is as many people as gates are to let in, and the roster that has them.
type throng struct {
	*scene
	b       *bench
	gates   int
	numbers []syncproto.TicketNo
	codes   [][]byte
}

func (s *scene) throng(b *bench, gates int) (_ *throng, err error) {
	b.progress.note("signing codes")
	t := &throng{scene: s, b: b, gates: gates}
	people := int(b.fleetFor.Seconds()*fleetRate) * gates
	t.numbers = pick(people, people)
	t.codes, err = s.codes(t.numbers)
	return t, err
}

// loaded is the roster for one gate.
func (t *throng) loaded() node.Loaded {
	l := node.Loaded{Rules: t.rules, Trust: t.trust, Cursor: "bench", Seq: 1}
	for i, no := range t.numbers {
		l.Roster.Put(&syncproto.Ticket{No: no, Rev: 1, Code: t.hasher.Sum(t.codes[i]), Type: 1, Status: syncproto.StatusPaid})
	}
	return l
}

// A load is what a fleet did and what that took.
type load struct {
	admitted        int
	took            time.Duration // until the last admission
	cpu             time.Duration // of all gates, to that moment
	messages, bytes int64
	known           float64 // share of the entries that every gate had at the last admission
	heap            float64 // live, of a gate
}

// burden opens a fleet, lets people in and closes it.
func (t *throng) burden(ctx context.Context, meshed bool) (l load, err error) {
	dir := filepath.Join(t.b.dir, fmt.Sprintf("fleet-%d-%v", t.gates, meshed))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return l, fmt.Errorf("folder for gates: %w", err)
	}
	before := liveHeap()
	f, err := t.openFleet(ctx, dir, t.gates, meshed, t.loaded)
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, f.close(), os.RemoveAll(dir)) }()
	messages, bytes := f.totals()
	cpu, err := cpuTime()
	if err != nil {
		return l, err
	}
	began := time.Now()
	if l.admitted, err = f.admitAll(ctx, t.codes, t.b.fleetFor); err != nil {
		return l, err
	}
	l.took = time.Since(began)
	if meshed {
		if l.known, err = f.catchUp(ctx); err != nil {
			return l, err
		}
	}
	after, err := cpuTime()
	if err != nil {
		return l, err
	}
	l.cpu = after - cpu
	l.messages, l.bytes = f.totals()
	l.messages, l.bytes = l.messages-messages, l.bytes-bytes
	l.heap = (float64(liveHeap()) - float64(before)) / float64(len(f.gates))
	return l, nil
}

// admitAll has every gate admit its share of the codes, each at its time or, where
// the gate is behind, at once, as many as there is time for.
func (f *fleet) admitAll(ctx context.Context, codes [][]byte, most time.Duration) (admitted int, err error) {
	each := len(codes) / len(f.gates)
	errs, counts := make([]error, len(f.gates)), make([]int, len(f.gates))
	var gates sync.WaitGroup
	began := time.Now()
	for i, g := range f.gates {
		phase := time.Duration(rand.Float64() * float64(time.Second) / fleetRate)
		gates.Go(func() {
			for k, code := range codes[i*each : (i+1)*each] {
				due := began.Add(phase + time.Duration(k)*time.Second/fleetRate)
				if time.Since(began) > most || !pause(ctx, time.Until(due)) {
					errs[i] = ctx.Err()
					return
				}
				if errs[i] = g.admit(ctx, code); errs[i] != nil {
					return
				}
				counts[i]++
			}
		})
	}
	gates.Wait()
	for _, n := range counts {
		admitted += n
	}
	return admitted, errors.Join(errs...)
}

// catchUp waits until every gate has the entries of all others, for they are part
// of the cost, and returns what share of them all gates had at once. A fleet that is
// too slow for the machine is not waited for longer than catchUpMax.
func (f *fleet) catchUp(ctx context.Context) (share float64, err error) {
	all := int64(0)
	for _, g := range f.gates {
		all += int64(g.engine.Status().LastSeq)
	}
	share = 1
	for _, g := range f.gates {
		st := g.engine.Status()
		share = min(share, float64(st.Carried)/float64(all-int64(st.LastSeq)))
	}
	within, cancel := context.WithTimeout(ctx, catchUpMax)
	defer cancel()
	err = f.await(within, "hear of all admissions", func(st *node.Status) bool { return st.Carried >= all-int64(st.LastSeq) })
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = nil
	}
	return share, err
}

// catchUpMax bounds the wait for a fleet that is behind.
const catchUpMax = 30 * time.Second

// figures are those of one gate. What it costs in a second is taken from the cost of
// the admissions that there were: where the machine was too slow for the rate, that
// makes it dearer, because more of the time that passes falls on each.
func (t *throng) figures(plain, meshed *load) []figure {
	name := fmt.Sprintf("%d gates in one process, %d admissions/s each, meshed: ", t.gates, fleetRate)
	const what = "the same without a mesh"
	perGate := func(l *load, v float64) float64 { return v / float64(l.admitted) * fleetRate }
	return []figure{
		newFigure(name+"admissions kept by this machine", float64(meshed.admitted)/meshed.took.Seconds(), "/s", reach{valueMin: fleetKept * float64(t.gates*fleetRate)}).
			beside(float64(plain.admitted)/plain.took.Seconds(), what),
		newFigure(name+"entries that every gate had by the last admission", 100*meshed.known, "%", reach{}),
		newFigure(name+"processor of each gate in a second", perGate(meshed, millis(meshed.cpu)), "ms", reach{}).beside(perGate(plain, millis(plain.cpu)), what),
		newFigure(name+"messages to each gate", perGate(meshed, float64(meshed.messages)), "/s", reach{}),
		newFigure(name+"bytes to each gate", perGate(meshed, float64(meshed.bytes)/1e3), "kB/s", reach{}),
		newFigure(name+"live heap of each gate", meshed.heap/1e6, "MB", reach{}).beside(plain.heap/1e6, what),
	}
}

// cpuTime is what this process has used of the processors.
func cpuTime() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
