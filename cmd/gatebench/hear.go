package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"gatehouse/syncproto"
)

// meshP99Max is the reach from an admission at one gate to the refusal at another,
// in milliseconds.
const meshP99Max = 20

// A meshVenue is the venue as the mesh uses it.
type meshVenue struct{ *venue }

// measureMesh opens two meshes, of which one has its gates wait for each other, and
// takes central away.
func measureMesh(ctx context.Context, b *bench) (_ []figure, err error) {
	shared, err := b.venue(ctx)
	if err != nil {
		return nil, err
	}
	v := meshVenue{shared}
	l, err := openLine()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	waits, not := &doors{name: "strict", waitMS: strictWait}, &doors{name: "optimistic"}
	for _, d := range []*doors{waits, not} {
		if err := d.open(ctx, v); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, d.mesh.close()) }()
	}
	b.progress.note("scanning")
	h := hearing{mesh: not.mesh, line: l}
	for range b.meshScans {
		if err := h.ticket(ctx, not.next()); err != nil {
			return nil, err
		}
	}
	figures, err := v.strict(ctx, waits, not, l)
	return append(h.figures(), figures...), err
}

// A hearing is when gates were found to know of each other's admissions: a gate is
// asked again and again, from before the scan at another one, whether it would admit
// the ticket. The time from the scan's last byte to the first refusal has the whole
// scan in it, and so cannot come out too short because the word goes ahead of the
// answer.
type hearing struct {
	mesh  *mesh
	line  *line
	known samples
}

// ticket has one gate admit a ticket that another is asked about.
func (h *hearing) ticket(ctx context.Context, code []byte) error {
	if err := h.line.send(); err != nil {
		return err
	}
	order := rand.Perm(len(h.mesh.gates))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	known := make(chan refusal, 1)
	go func() { known <- h.mesh.gates[order[1]].watch(ctx, code) }()
	last, _, err := h.mesh.admit(ctx, order[0], code)
	if err != nil {
		return err
	}
	first := <-known
	h.known = append(h.known, first.at.Sub(last))
	return first.err
}

// A refusal is when a gate first refused.
type refusal struct {
	at  time.Time
	err error
}

// watch asks a gate about a code until it would refuse it.
func (a *appliance) watch(ctx context.Context, code []byte) refusal {
	ctx, cancel := context.WithTimeout(ctx, refusalWait)
	defer cancel()
	for {
		verdict, err := a.verify(ctx, code)
		at := time.Now()
		if err != nil || verdict.Reason == syncproto.ReasonDuplicate {
			return refusal{at, err}
		}
		if !pause(ctx, askEvery) {
			return refusal{at, fmt.Errorf("wait for the refusal: %w", ctx.Err())}
		}
	}
}

func (h *hearing) figures() []figure {
	const what = "a claim through TLS over loopback, one way"
	name := fmt.Sprintf("last byte at one gate to refused at another, asked all the time, %d gates, central away, ", len(h.mesh.gates))
	l := &h.line.oneWay
	return []figure{
		newFigure(name+"p50", millis(h.known.at(0.5)), "ms", reach{}).beside(millis(l.at(0.5)), what),
		newFigure(name+"p99", millis(h.known.at(0.99)), "ms", reach{valueMax: meshP99Max}).beside(millis(l.at(0.99)), what),
	}
}
