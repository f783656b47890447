package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Intervals at which a gate is looked at.
const (
	followEvery = 20 * time.Millisecond
	statusEvery = time.Second
)

// A gate is one `gate run` with its lanes, seen from outside: its commands and
// its decision log.
type gate struct {
	name  string
	bin   string // the gate program
	data  string
	lanes []*lane
	*server

	mu     sync.Mutex
	status gateStatus
}

// gateStatus is what the demo reads of `gate status --json`.
type gateStatus struct {
	Tickets    int      `json:"tickets"`
	Central    string   `json:"central"`
	Unsent     int      `json:"unsent"`
	CursorAgeS *float64 `json:"cursor_age_s"` // nil before the first roster
	Heard      int      `json:"heard"`        // gates that it hears, itself included
}

// caughtUp tells whether the gate and central know of each other what there is
// to know, give or take what happened in the last moment.
func (s gateStatus) caughtUp() bool {
	return s.Central == "online" && s.Unsent <= 5 && s.CursorAgeS != nil && *s.CursorAgeS < 2
}

// hears tells whether the gate hears the other one.
func (s gateStatus) hears() bool { return s.Heard == bothGates }

// decision is a line of the decision log.
type decision struct {
	Lane      string `json:"lane"`
	Decision  string `json:"decision"`
	Reason    string `json:"reason"`
	TicketID  string `json:"ticket_id"` // null reads as ""
	DecideUS  int64  `json:"decide_us"`
	DurableUS int64  `json:"durable_us"`
}

func (g *gate) decisionLog() string { return filepath.Join(g.data, "decisions.ndjson") }

// start enrols the gate and runs it.
func (g *gate) start(ctx context.Context, central, token, logDir string) error {
	if _, err := output(ctx, nil, g.bin, "enrol", "--data", g.data, "--central", central, "--token", token); err != nil {
		return err
	}
	args := []string{"run", "--data", g.data, "--listen", "127.0.0.1:0", "--log-decisions", g.decisionLog(), "--peer-listen", "127.0.0.1:0"}
	for _, l := range g.lanes {
		args = append(args, "--lane", l.flag())
	}
	var err error
	g.server, err = serve(ctx, "gate "+g.name, filepath.Join(logDir, "gate-"+g.name+".log"), g.bin, args...)
	return err
}

// ask runs `gate status`.
func (g *gate) ask(ctx context.Context) (gateStatus, error) {
	out, err := output(ctx, nil, g.bin, "status", "--data", g.data, "--json")
	if err != nil {
		return gateStatus{}, err
	}
	var s gateStatus
	if err := json.Unmarshal(out, &s); err != nil {
		return gateStatus{}, fmt.Errorf("read the status of gate %s: %w", g.name, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.status = s
	return s, nil
}

// seen is the newest status.
func (g *gate) seen() gateStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.status
}

// watch keeps the status fresh until ctx ends.
func (g *gate) watch(ctx context.Context) error {
	for pause(ctx, statusEvery) {
		if _, err := g.ask(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// follow calls fn for every line of the decision log until ctx ends.
func (g *gate) follow(ctx context.Context, fn func(decision)) error {
	f, err := os.Open(g.decisionLog())
	if err != nil {
		return fmt.Errorf("follow the decisions of gate %s: %w", g.name, err)
	}
	defer f.Close() //nolint:errcheck // only read
	var rest []byte
	var wrong error
	for wrong == nil && pause(ctx, followEvery) {
		b, err := io.ReadAll(f)
		if err != nil {
			return fmt.Errorf("follow the decisions of gate %s: %w", g.name, err)
		}
		rest = lines(append(rest, b...), func(line []byte) {
			var d decision
			if err := json.Unmarshal(line, &d); err != nil {
				wrong = fmt.Errorf("line %q in the decision log of gate %s: %w", line, g.name, err)
				return
			}
			fn(d)
		})
	}
	return wrong
}

// tally reads the gate's own records: the decision log, the journal and the
// status.
func (g *gate) tally(ctx context.Context) (tally, error) {
	t := tally{gate: g.name}
	log, err := os.ReadFile(g.decisionLog())
	if err != nil {
		return t, fmt.Errorf("decisions of gate %s: %w", g.name, err)
	}
	if err := decode(log, t.decided); err != nil {
		return t, fmt.Errorf("decisions of gate %s: %w", g.name, err)
	}
	journal, err := output(ctx, nil, g.bin, "journal", "--data", g.data)
	if err != nil {
		return t, err
	}
	if err := decode(journal, t.journalled); err != nil {
		return t, fmt.Errorf("journal of gate %s: %w", g.name, err)
	}
	s, err := g.ask(ctx)
	t.unsent = s.Unsent
	return t, err
}

// decode calls fn for every JSON value in b.
func decode[T any](b []byte, fn func(T)) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	for {
		var v T
		err := dec.Decode(&v)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read JSON lines: %w", err)
		}
		fn(v)
	}
}
