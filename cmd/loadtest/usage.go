package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// How often memory is looked at, and what a tick of /proc is: USER_HZ is 100 wherever Linux
// runs Go.
const (
	sampleEvery = time.Second
	ticks       = 100
)

// part is a program, or several that belong together, and what it takes.
type part struct {
	name string
	pids func() []int
	// ended is the time of those that have ended, where somebody waits for them.
	began float64
	cpu   float64 // seconds, since begin
	most  int64   // bytes, at the most
}

// usage is what every part takes while it runs.
type usage struct {
	mu    sync.Mutex
	parts []*part
	since time.Time
	took  time.Duration
	busy  float64 // seconds that the processors had anything to do
	stop  context.CancelFunc
	done  sync.WaitGroup
}

// begin looks at the parts until end.
func begin(ctx context.Context, parts []*part) *usage {
	u := &usage{parts: parts, since: time.Now(), busy: -busy()}
	ctx, u.stop = context.WithCancel(ctx)
	for _, p := range parts {
		p.began = p.seconds()
	}
	u.done.Go(func() {
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			u.look()
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return u
}

func (u *usage) look() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, p := range u.parts {
		p.most = max(p.most, p.memory())
		p.cpu = max(p.cpu, p.seconds()-p.began)
	}
}

func (u *usage) end() {
	u.look()
	u.took = time.Since(u.since)
	u.busy += busy()
	u.stop()
	u.done.Wait()
}

// others is how many processors were kept busy by what is no part of the test: figures of a
// machine that does other things too are of both.
func (u *usage) others() float64 {
	rest := u.busy
	for _, p := range u.parts {
		rest -= p.cpu
	}
	return max(rest/u.took.Seconds(), 0)
}

// busy is how long all processors together were not idle since the machine was started.
func busy() float64 {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	var sum float64
	for i, f := range strings.Fields(line) {
		// proc(5): cpu user nice system idle iowait irq softirq steal
		if n, err := strconv.ParseFloat(f, 64); err == nil && i != 4 && i != 5 && i <= 8 {
			sum += n / ticks
		}
	}
	return sum
}

// seconds is the processor time of a part, its ended children included.
func (p *part) seconds() float64 {
	var sum float64
	for _, pid := range p.pids() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has ended
		}
		// proc(5): the name may have blanks, and ends with the last bracket; then the state is field 3.
		_, rest, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')'):]), " ")
		for _, f := range strings.Fields(rest)[11:15] { // utime, stime, cutime, cstime
			n, err := strconv.ParseFloat(f, 64)
			if err == nil {
				sum += n / ticks
			}
		}
	}
	return sum
}

// memory is what a part has in memory; what its processes share counts once.
func (p *part) memory() int64 {
	var sum int64
	for _, pid := range p.pids() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
				n, err := strconv.ParseInt(f[1], 10, 64)
				if err == nil {
					sum += n << 10
				}
			}
		}
	}
	return sum
}

// only is one process.
func only(pid int) func() []int { return func() []int { return []int{pid} } }

// below are the processes that descend from one, without it.
func below(pid int) func() []int {
	return func() []int {
		children := map[int][]int{}
		all, err := filepath.Glob("/proc/[0-9]*/stat")
		if err != nil {
			return nil
		}
		for _, path := range all {
			b, err := os.ReadFile(path)
			if err != nil {
				continue
			}
			f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
			parent, err := strconv.Atoi(f[1])
			child, err2 := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err == nil && err2 == nil {
				children[parent] = append(children[parent], child)
			}
		}
		var out []int
		for queue := children[pid]; len(queue) > 0; queue = queue[1:] {
			out = append(out, queue[0])
			queue = append(queue, children[queue[0]]...)
		}
		return out
	}
}

// exchanges are those of central with its database, as its metrics have them.
type exchanges struct{ seconds, count, statements float64 }

// queries reads them.
func queries(ctx context.Context, url string) (exchanges, error) {
	var e exchanges
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", http.NoBody)
	if err != nil {
		return e, fmt.Errorf("metrics of central: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return e, fmt.Errorf("metrics of central: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	want := map[string]*float64{
		"gatehouse_database_seconds_sum": &e.seconds, "gatehouse_database_seconds_count": &e.count, "gatehouse_database_statements_total": &e.statements,
	}
	in := bufio.NewScanner(res.Body)
	for in.Scan() {
		name, value, _ := strings.Cut(in.Text(), " ")
		if at := want[name]; at != nil {
			if *at, err = strconv.ParseFloat(value, 64); err != nil {
				return e, fmt.Errorf("metric %s: %w", name, err)
			}
		}
	}
	return e, in.Err()
}

func (e exchanges) since(before exchanges) exchanges {
	return exchanges{e.seconds - before.seconds, e.count - before.count, e.statements - before.statements}
}
