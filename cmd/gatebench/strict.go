package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"gatehouse/syncproto"
)

// strictWait is what the strict event has its gates wait for each other at most,
// in milliseconds.
const strictWait = 200

// strict scans the same number of tickets at two meshes in turns: one whose event
// waits for the word of every gate before anybody is let in, and one whose event
// does not. The difference of the percentiles is what waiting adds. What it buys is
// seen at a second gate, whose tty gets the ticket's last byte in the moment in
// which the first one's answer is in its decision log: no guest is that quick.
func (v meshVenue) strict(ctx context.Context, waits, not *doors, l *line) ([]figure, error) {
	l.roundTrip = nil
	for range v.b.meshScans {
		if err := l.send(); err != nil {
			return nil, err
		}
		gates := rand.Perm(v.b.meshGates)
		for _, d := range []*doors{waits, not} {
			if err := d.scan(ctx, gates[0], gates[1], d.next()); err != nil {
				return nil, err
			}
		}
	}
	name := fmt.Sprintf("claim_wait_ms %d: added to scan to durable admit, %d gates, central away, ", strictWait, v.b.meshGates)
	const what = "a claim and its answer through TLS over loopback"
	added := func(q float64) float64 { return millis(waits.took.at(q) - not.took.at(q)) }
	share := func(wait int, d *doors, r reach) figure {
		return newFigure(fmt.Sprintf("claim_wait_ms %d: of %d tickets read by a second gate as the first one answered, refused", wait, len(d.took)), d.share(), "%", r)
	}
	return []figure{
		newFigure(name+"p50", added(0.5), "ms", reach{}).beside(millis(l.roundTrip.at(0.5)), what),
		newFigure(name+"p99", added(0.99), "ms", reach{}).beside(millis(l.roundTrip.at(0.99)), what),
		share(strictWait, waits, reach{valueMin: 100}),
		share(0, not, reach{}),
	}, nil
}

// doors are a mesh, what its gates took for their scans, and how many tickets they
// refused a moment later.
type doors struct {
	name    string
	waitMS  int
	mesh    *mesh
	codes   []issued
	took    samples
	refused int
}

func (d *doors) share() float64 { return 100 * float64(d.refused) / float64(len(d.took)) }

func (d *doors) open(ctx context.Context, v meshVenue) error {
	v.b.progress.note(fmt.Sprintf("opening %d gates", v.b.meshGates))
	n := 2*v.b.meshScans + 1
	e, err := v.eventOf(ctx, d.name, n, fmt.Sprintf("{partition: open, claim_wait_ms: %d}", d.waitMS))
	if err != nil {
		return err
	}
	if d.codes, err = v.codes(ctx, e, n); err != nil {
		return err
	}
	d.mesh, err = v.mesh(ctx, e, v.b.meshGates, d.next())
	return err
}

// next is the code of a ticket that nobody has used.
func (d *doors) next() []byte {
	code := d.codes[0].code
	d.codes = d.codes[1:]
	return code
}

// scan has one gate admit a ticket, and then a second one read it.
func (d *doors) scan(ctx context.Context, first, second int, code []byte) error {
	if _, err := d.mesh.gates[second].port.Write(code); err != nil {
		return err
	}
	_, got, err := d.mesh.admit(ctx, first, code)
	if err != nil {
		return err
	}
	d.took = append(d.took, time.Duration(got.Durable)*time.Microsecond)
	_, again, err := d.mesh.scan(ctx, second)
	if again.Reason == string(syncproto.ReasonDuplicate) {
		d.refused++
	}
	return err
}
