package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Reaches of a bootstrap, in seconds: of the smaller and the larger roster, and
// of a restart with the larger one.
const (
	bootSmallMax = 1
	bootLargeMax = 10
	restartMax   = 2
)

// A bootVenue is the venue as the bootstrap uses it.
type bootVenue struct{ *venue }

// measureBootstrap boots gates from nothing. The first gate of an event has
// central build the snapshot; the next one finds it there.
func measureBootstrap(ctx context.Context, b *bench) ([]figure, error) {
	shared, err := b.venue(ctx)
	if err != nil {
		return nil, err
	}
	v := bootVenue{shared}
	var figures []figure
	for i, n := range b.boots {
		most := float64(bootSmallMax)
		if i > 0 {
			most = bootLargeMax
		}
		got, err := v.measureBoot(ctx, n, most, i == len(b.boots)-1)
		if err != nil {
			return nil, err
		}
		figures = append(figures, got...)
	}
	return figures, nil
}

func (v bootVenue) measureBoot(ctx context.Context, n int, most float64, restart bool) ([]figure, error) {
	e, err := v.event(ctx, fmt.Sprint("boot ", n), n)
	if err != nil {
		return nil, err
	}
	v.b.progress.note(fmt.Sprintf("%d tickets", n))
	codes, err := v.codes(ctx, e, 1)
	if err != nil {
		return nil, err
	}
	ids, err := v.zstdIDs(ctx, e)
	if err != nil {
		return nil, err
	}
	first, _, _, err := v.boot(ctx, e, codes[0].code, false)
	if err != nil {
		return nil, err
	}
	next, wire, again, err := v.boot(ctx, e, codes[0].code, restart)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("bootstrap of %d tickets, ", n)
	figures := []figure{
		newFigure(name+"first gate of the event", first.Seconds(), "s", reach{valueMax: most}),
		newFigure(name+"next gate", next.Seconds(), "s", reach{valueMax: most}),
		newFigure(name+"bytes on the wire", float64(wire)/1e6, "MB", reach{}).beside(float64(ids)/1e6, "zstd of the 16-byte code hashes alone"),
	}
	if restart {
		figures = append(figures, newFigure(fmt.Sprintf("restart with %d tickets to first decision", n), again.Seconds(), "s", reach{valueMax: restartMax}))
	}
	return figures, nil
}

// boot takes an empty gate to its first decision, and then, if asked to, starts
// it again.
func (v bootVenue) boot(ctx context.Context, e *event, code []byte, restart bool) (took time.Duration, wire int64, again time.Duration, err error) {
	a, err := v.enrol(ctx, e)
	if err != nil {
		return 0, 0, 0, err
	}
	defer func() { err = errors.Join(err, a.close(), os.RemoveAll(filepath.Clean(a.dir))) }()
	if err := a.run(nil); err != nil {
		return 0, 0, 0, err
	}
	if took, err = a.firstDecision(ctx, code); err != nil {
		return 0, 0, 0, err
	}
	wire = a.relay.bytes.Load()
	if !restart {
		return took, wire, 0, nil
	}
	if err := a.stop(); err != nil {
		return 0, 0, 0, err
	}
	if err := a.run(nil); err != nil {
		return 0, 0, 0, err
	}
	again, err = a.firstDecision(ctx, code)
	return took, wire, again, err
}

// zstdIDs is the size of what no roster can do without: the hash by which a gate
// knows each code.
func (v bootVenue) zstdIDs(ctx context.Context, e *event) (int, error) {
	rows, err := v.pool.Query(ctx, `
		SELECT code_hash
		FROM ticket
		WHERE event_id = $1
		ORDER BY number`, e.no)
	if err != nil {
		return 0, fmt.Errorf("read code hashes: %w", err)
	}
	defer rows.Close()
	var all []byte
	for rows.Next() {
		var hash []byte
		if err := rows.Scan(&hash); err != nil {
			return 0, fmt.Errorf("read code hashes: %w", err)
		}
		all = append(all, hash...)
	}
	if err := rows.Err(); err != nil {
		return 0, fmt.Errorf("read code hashes: %w", err)
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		return 0, fmt.Errorf("compress code hashes: %w", err)
	}
	return len(enc.EncodeAll(all, nil)), nil
}
