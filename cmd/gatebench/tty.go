package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"gatehouse/gate/node"
)

// ttyP99Max is the reach from the last byte to the logged decision, in
// milliseconds.
const ttyP99Max = 20

// busy is the event that the tty and the revocations share.
const busy = "busy"

// Pace of the scans, and of the changes that central sends meanwhile.
const (
	scanGap     = 15 * time.Millisecond
	changeEvery = 50 * time.Millisecond
	changeRows  = 20
)

// measureTTY presents codes to a real gate as a scanner does, while central
// changes tickets and takes in the journal.
func measureTTY(ctx context.Context, b *bench) (_ []figure, err error) {
	v, err := b.venue(ctx)
	if err != nil {
		return nil, err
	}
	e, err := v.event(ctx, busy, b.event)
	if err != nil {
		return nil, err
	}
	codes, err := v.codes(ctx, e, b.scans+1)
	if err != nil {
		return nil, err
	}
	a, err := v.enrol(ctx, e)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	answers := make(chan answer, 16)
	if err := a.run(func(line string) { answers <- answer{time.Now(), line} }); err != nil {
		return nil, err
	}
	if err := a.server.Await(ctx); err != nil {
		return nil, err
	}
	if _, err := a.firstDecision(ctx, codes[b.scans].code); err != nil {
		return nil, err
	}
	f, err := openFloor(b.dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	b.progress.note("scanning")
	took, durable, err := v.scanAll(ctx, a, e, codes[:b.scans], answers, f)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("last byte on the tty to decision logged, %d tickets, sync running, ", e.tickets)
	const what = "scan to durable as the gate logged it"
	return []figure{
		newFigure(name+"p50", millis(took.at(0.5)), "ms", reach{}).beside(millis(durable.at(0.5)), what),
		newFigure(name+"p99", millis(took.at(0.99)), "ms", reach{valueMax: ttyP99Max}).beside(millis(durable.at(0.99)), what),
		newFigure("overwrite of 128 B and fdatasync between those scans, p99", millis(f.took.at(0.99)), "ms", reach{}),
	}, nil
}

// An answer is a line of the decision log, and when it appeared.
type answer struct {
	at   time.Time
	line string
}

// scanAll presents the codes one after the other. Before each, the floor of the
// disk is taken, to tell a slow gate from a slow disk.
func (v *venue) scanAll(ctx context.Context, a *appliance, e *event, codes []issued, answers <-chan answer, f *floor) (took, durable samples, err error) {
	ctx, stop := context.WithCancel(ctx)
	changed := make(chan error, 1)
	go func() { changed <- v.keepChanging(ctx, e) }()
	defer func() {
		stop()
		err = errors.Join(err, <-changed)
	}()
	for _, t := range codes {
		if _, err := a.port.Write(t.code); err != nil {
			return nil, nil, err
		}
		// As much quiet before the one as before the other: a disk that stalls
		// meanwhile hits them alike.
		if !pause(ctx, scanGap/2) {
			return nil, nil, ctx.Err()
		}
		if err := f.write(); err != nil {
			return nil, nil, err
		}
		if !pause(ctx, scanGap/2) {
			return nil, nil, ctx.Err()
		}
		last := time.Now()
		if _, err := a.port.Write([]byte("\r")); err != nil {
			return nil, nil, err
		}
		select {
		case got := <-answers:
			var d struct {
				Decision string `json:"decision"`
				Reason   string `json:"reason"`
				Durable  int64  `json:"durable_us"`
			}
			if err := json.Unmarshal([]byte(got.line), &d); err != nil || d.Decision != node.Admit {
				return nil, nil, errors.Join(fmt.Errorf("a scan that should admit was answered %s", got.line), err)
			}
			took = append(took, got.at.Sub(last))
			durable = append(durable, time.Duration(d.Durable)*time.Microsecond)
		case <-time.After(answerMax):
			return nil, nil, fmt.Errorf("no answer to a scan within %v; the gate's log is %s", answerMax, filepath.Base(a.server.Log))
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	return took, durable, nil
}

// answerMax bounds the wait for one answer.
const answerMax = 10 * time.Second

// keepChanging has central change a few tickets again and again, so that pages
// flow to the gate.
func (v *venue) keepChanging(ctx context.Context, e *event) error {
	for i := 0; pause(ctx, changeEvery); i++ {
		from := e.tickets/2 + i*changeRows%(e.tickets/4)
		_, err := v.pool.Exec(ctx, `
			UPDATE ticket
			SET notes = $1
			WHERE event_id = $2 AND number BETWEEN $3 AND $4`, fmt.Sprint("change ", i), e.no, from, from+changeRows-1)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("change tickets: %w", err)
		}
	}
	return nil
}

// pause waits; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
