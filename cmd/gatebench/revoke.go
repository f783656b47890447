package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"gatehouse/central"
	"gatehouse/syncproto"
)

// revokeP99Max is the reach from a revocation to the first refusal, in
// milliseconds.
const revokeP99Max = 250

// Times of the revocations: the quiet between two, so that the gate has gone
// back to waiting, how often the gate is asked, and how long at most.
const (
	revokeGap   = 30 * time.Millisecond
	askEvery    = 500 * time.Microsecond
	refusalWait = 30 * time.Second
)

// measureRevoke withdraws tickets as `central ticket revoke` does, from another
// process than the central that serves, and asks a connected gate until it
// refuses them.
func measureRevoke(ctx context.Context, b *bench) (_ []figure, err error) {
	v, err := b.venue(ctx)
	if err != nil {
		return nil, err
	}
	e, err := v.event(ctx, busy, b.event)
	if err != nil {
		return nil, err
	}
	// The first tickets of the event were used up by the tty.
	tickets, err := v.codes(ctx, e, b.scans+2+b.revocations)
	if err != nil {
		return nil, err
	}
	features, err := central.Open(ctx, central.Config{DatabaseURL: v.url, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	defer features.Close()
	a, err := v.enrol(ctx, e)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	if err := a.run(nil); err != nil {
		return nil, err
	}
	if _, err := a.firstDecision(ctx, tickets[b.scans+1].code); err != nil {
		return nil, err
	}
	b.progress.note("revoking")
	var took samples
	for _, t := range tickets[b.scans+2:] {
		if !pause(ctx, revokeGap) {
			return nil, ctx.Err()
		}
		start := time.Now()
		if err := features.Tickets.Revoke(ctx, e.no, t.reference, "benchmark"); err != nil {
			return nil, err
		}
		if err := features.Publish(ctx, e.no); err != nil {
			return nil, err
		}
		if err := a.refused(ctx, t.code); err != nil {
			return nil, err
		}
		took = append(took, time.Since(start))
	}
	const name = "revoke at central to refused at a connected gate, "
	return []figure{
		newFigure(name+"p50", millis(took.at(0.5)), "ms", reach{}),
		newFigure(name+"p99", millis(took.at(0.99)), "ms", reach{valueMax: revokeP99Max}),
	}, nil
}

// refused asks until the gate says that the ticket of a code was withdrawn.
func (a *appliance) refused(ctx context.Context, code []byte) error {
	ctx, cancel := context.WithTimeout(ctx, refusalWait)
	defer cancel()
	for {
		verdict, err := a.verify(ctx, code)
		if err != nil {
			return fmt.Errorf("wait for the refusal: %w", err)
		}
		if verdict.Reason == syncproto.ReasonRevoked {
			return nil
		}
		if !pause(ctx, askEvery) {
			return fmt.Errorf("wait for the refusal: %w", ctx.Err())
		}
	}
}
