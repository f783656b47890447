package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gatehouse/gate/control"
	"gatehouse/gate/node"
)

// Times that a mesh is given to come about, and to notice that central is away.
const (
	meshMax = time.Minute
	lookGap = 20 * time.Millisecond
)

// A mesh is real gates of one event that hear each other, each with a lane on a
// pseudo-terminal. Their lines to central are cut.
type mesh struct {
	event   *event
	gates   []*appliance
	answers []chan answer // of each gate's decision log
}

// mesh opens n gates of an event, waits until each has the roster and hears all
// others, and then takes central away.
func (v *venue) mesh(ctx context.Context, e *event, n int, code []byte) (_ *mesh, err error) {
	m := &mesh{event: e}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close())
		}
	}()
	for range n {
		a, err := v.enrol(ctx, e)
		if err != nil {
			return nil, err
		}
		a.flags = []string{"--peer-listen", "127.0.0.1:0"}
		answers := make(chan answer, 16)
		m.gates, m.answers = append(m.gates, a), append(m.answers, answers)
		if err := a.run(func(line string) { answers <- answer{time.Now(), line} }); err != nil {
			return nil, err
		}
	}
	for _, a := range m.gates {
		if err := a.server.Await(ctx); err != nil {
			return nil, err
		}
		if _, err := a.firstDecision(ctx, code); err != nil {
			return nil, err
		}
	}
	if err := m.await(ctx, "hear each other", m.together); err != nil {
		return nil, err
	}
	for _, a := range m.gates {
		a.relay.close()
	}
	return m, m.await(ctx, "notice that central is away", m.alone)
}

func (m *mesh) await(ctx context.Context, what string, done func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, meshMax)
	defer cancel()
	for {
		ok, err := done(ctx)
		if err != nil || ok {
			return err
		}
		if !pause(ctx, lookGap) {
			return fmt.Errorf("the gates do not %s: %w", what, ctx.Err())
		}
	}
}

// together tells whether every gate hears every other.
func (m *mesh) together(ctx context.Context) (bool, error) {
	for _, a := range m.gates {
		peers, err := a.asked.Peers(ctx)
		if err != nil {
			return false, err
		}
		heard := 0
		for _, p := range peers {
			if p.Heard {
				heard++
			}
		}
		if heard != len(m.gates)-1 {
			return false, nil
		}
	}
	return true, nil
}

// alone tells whether every gate says that central is away.
func (m *mesh) alone(ctx context.Context) (bool, error) {
	for _, a := range m.gates {
		s, err := a.asked.Status(ctx)
		if err != nil || s.Central != control.Offline {
			return false, err
		}
	}
	return true, nil
}

func (m *mesh) close() error {
	var errs []error
	for _, a := range m.gates {
		errs = append(errs, a.close())
	}
	return errors.Join(errs...)
}

// A logged is what a line of the decision log says, and when it appeared.
type logged struct {
	at       time.Time
	Decision string `json:"decision"`
	Reason   string `json:"reason"`
	Durable  int64  `json:"durable_us"`
}

// scan ends a code whose other bytes the gate's tty has already, and waits for
// the answer. last is when its last byte was written.
func (m *mesh) scan(ctx context.Context, gate int) (last time.Time, got logged, err error) {
	last = time.Now()
	if _, err := m.gates[gate].port.Write([]byte("\r")); err != nil {
		return last, got, err
	}
	select {
	case a := <-m.answers[gate]:
		got.at = a.at
		if err := json.Unmarshal([]byte(a.line), &got); err != nil {
			return last, got, fmt.Errorf("read the decision log: %w", err)
		}
		return last, got, nil
	case <-time.After(answerMax):
		return last, got, fmt.Errorf("no answer to a scan within %v; the gate's log is %s", answerMax, m.gates[gate].server.Log)
	case <-ctx.Done():
		return last, got, ctx.Err()
	}
}

// admit has a gate read a whole code, which it has to admit.
func (m *mesh) admit(ctx context.Context, gate int, code []byte) (last time.Time, got logged, err error) {
	if _, err := m.gates[gate].port.Write(code); err != nil {
		return last, got, err
	}
	if !pause(ctx, scanGap/2) {
		return last, got, ctx.Err()
	}
	last, got, err = m.scan(ctx, gate)
	if err == nil && got.Decision != node.Admit {
		err = fmt.Errorf("a scan that should admit was answered %s (%s)", got.Decision, got.Reason)
	}
	return last, got, err
}
