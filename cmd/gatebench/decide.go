package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
)

// Reaches of a decision.
const (
	knownRatioMax   = 3
	knownP99Max     = 10 // microseconds
	unknownRatioMax = 1.2
)

// measureDecide times the step of the node that answers a scan: hash, roster,
// rules, reservation and the entry to be journalled.
func measureDecide(_ context.Context, b *bench) ([]figure, error) {
	s, err := newScene()
	if err != nil {
		return nil, err
	}
	var figures []figure
	for _, n := range []int{b.small, b.large} {
		b.progress.note(fmt.Sprintf("known tickets, roster of %d", n))
		known, err := measureKnown(s, n, min(b.decisions, n))
		if err != nil {
			return nil, err
		}
		figures = append(figures, known...)
	}
	b.progress.note("unknown tickets")
	unknown, err := measureUnknown(s, b.small, b.decisions)
	return append(figures, unknown), err
}

// decider is a probe that has the node decide codes[i], each once.
func decider(mind *node.Node, codes [][]byte) (p *probe, wrong *int) {
	wrong = new(int)
	return &probe{call: func(i int) {
		out := mind.Step(time.Now(), node.Scan{Text: codes[i]})
		if out.Decision.Decision != node.Admit {
			*wrong++
		}
	}}, wrong
}

func measureKnown(s *scene, n, decisions int) ([]figure, error) {
	numbers := pick(n, decisions)
	codes, err := s.codes(numbers)
	if err != nil {
		return nil, err
	}
	loaded, err := s.roster(n, numbers, codes)
	if err != nil {
		return nil, err
	}
	mind, err := s.mind(uuid.New(), uuid.New(), 1, loaded)
	if err != nil {
		return nil, err
	}
	plain := make(map[syncproto.CodeHash]syncproto.TicketNo, n)
	for i, c := range codes {
		plain[s.hasher.Sum(c)] = numbers[i]
	}
	for i := len(plain); i < n; i++ {
		plain[syncproto.CodeHash(uuid.New())] = syncproto.TicketNo(i)
	}
	missed := 0
	limit := &probe{call: func(i int) {
		if _, ok := plain[s.hasher.Sum(codes[i])]; !ok {
			missed++
		}
	}}
	decide, wrong := decider(mind, codes)
	sampleTogether(decisions, decide, limit)
	if *wrong+missed > 0 {
		return nil, fmt.Errorf("%d known tickets were refused and %d not found in the map", *wrong, missed)
	}
	name := fmt.Sprintf("decide a known ticket, roster of %d, ", n)
	const what = "HMAC-SHA256 and a map look-up"
	return []figure{
		newFigure(name+"p50", decide.p50(), "µs", reach{ratioMax: knownRatioMax}).beside(limit.p50(), what),
		newFigure(name+"p99", decide.p99(), "µs", reach{valueMax: knownP99Max}).beside(limit.p99(), what),
	}, nil
}

func measureUnknown(s *scene, n, decisions int) (figure, error) {
	decisions = min(decisions, 4000) // each takes a hundred times as long as a known one
	numbers := make([]syncproto.TicketNo, decisions)
	for i := range numbers {
		numbers[i] = syncproto.TicketNo(n + i + 1)
	}
	codes, err := s.codes(numbers)
	if err != nil {
		return figure{}, err
	}
	loaded, err := s.roster(n, nil, nil)
	if err != nil {
		return figure{}, err
	}
	mind, err := s.mind(uuid.New(), uuid.New(), 1, loaded)
	if err != nil {
		return figure{}, err
	}
	public := s.trust.Keys[0].Public
	messages, signatures := make([][]byte, decisions), make([][]byte, decisions)
	for i, n := range numbers {
		// As many bytes as a code signs.
		messages[i] = fmt.Appendf(nil, "gatehouse/code/v1%021d", n)
		signatures[i] = ed25519.Sign(s.key, messages[i])
	}
	failed := 0
	limit := &probe{call: func(i int) {
		if !ed25519.Verify(public, messages[i], signatures[i]) {
			failed++
		}
	}}
	decide, wrong := decider(mind, codes)
	sampleTogether(decisions, decide, limit)
	if *wrong+failed > 0 {
		return figure{}, fmt.Errorf("%d genuine tickets were refused and %d signatures did not verify", *wrong, failed)
	}
	return newFigure("decide a genuine ticket that is not on the roster, p50", decide.p50(), "µs", reach{ratioMax: unknownRatioMax}).
		beside(limit.p50(), "ed25519.Verify"), nil
}
