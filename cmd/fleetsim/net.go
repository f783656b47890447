package main

import (
	"bytes"
	"net/http"
	"time"

	"gatehouse/syncproto/wire"
)

// line is the network between a box and the centrals.
type line struct {
	drop, double, corrupt float64
	lag                   time.Duration
	noUp, noDown          bool // a cable that carries one way only, or none
}

// trouble reports whether the line is not as it should be.
func (l *line) trouble() bool { return *l != (line{}) }

// travel is how long a message is on its way. Two messages may overtake each other.
func travel(w *world, l *line) time.Duration {
	d := w.between(time.Millisecond, 12*time.Millisecond)
	if l.lag > 0 {
		d += w.between(0, l.lag)
	}
	return d
}

// request carries a request of a box to some central and its answer back. answered
// is called once, with nil where the connection was refused or broke, or never,
// where a message was lost.
func request(b *box, p *packet, answered func(*parcel)) {
	w, l := b.w, &b.line
	if l.noUp || w.hit("lost request", l.drop) {
		return
	}
	if w.hit("damaged request", l.corrupt) {
		if p.signed == nil {
			return // without a signature to tell, it is as good as lost
		}
		p = &packet{signed: damaged(w, p.signed)}
	}
	c := w.centrals[w.rng.IntN(len(w.centrals))]
	once := func(r *parcel) {
		if l.noDown || w.hit("lost answer", l.drop) {
			return
		}
		if r != nil && w.hit("damaged answer", l.corrupt) {
			if r.signed == nil {
				return
			}
			r = &parcel{signed: &wire.Response{Status: r.signed.Status, Header: r.signed.Header, Body: flipped(w, r.signed.Body)}}
		}
		w.after(travel(w, l), func() { answered(r) })
	}
	w.after(travel(w, l), func() { c.arrive(p, once) })
	if w.hit("doubled request", l.double) {
		w.after(travel(w, l)+w.between(0, 3*time.Second), func() { c.arrive(p, func(*parcel) {}) })
	}
}

func damaged(w *world, req *wire.Request) *wire.Request {
	out := &wire.Request{Method: req.Method, Target: req.Target, Header: req.Header.Clone(), Body: req.Body}
	switch {
	case len(req.Body) > 0 && w.rng.IntN(2) == 0:
		out.Body = flipped(w, req.Body)
	case w.rng.IntN(2) == 0:
		out.Target = string(flipped(w, []byte(req.Target)))
	default:
		for _, name := range []string{"Authorization", wire.HeaderProto} {
			out.Header[http.CanonicalHeaderKey(name)] = []string{string(flipped(w, []byte(req.Header.Get(name))))}
		}
	}
	return out
}

// flipped is b with one bit changed.
func flipped(w *world, b []byte) []byte {
	out := bytes.Clone(b)
	if len(out) > 0 {
		out[w.rng.IntN(len(out))] ^= 1 << w.rng.IntN(8)
	}
	return out
}
