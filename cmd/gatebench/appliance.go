package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"gatehouse/cmd/program"
	"gatehouse/gate/control"
	"gatehouse/gate/node"
	"gatehouse/hardware/ptyport"
)

// An appliance is a real gate with one lane on a pseudo-terminal.
type appliance struct {
	v      *venue
	dir    string
	flags  []string // of gate run, beside those that every gate has
	relay  *relay
	port   *ptyport.Port
	server *program.Server
	asked  *control.Client
}

// enrol makes a new gate of an event, with a line of its own to central.
func (v *venue) enrol(ctx context.Context, e *event) (_ *appliance, err error) {
	v.gates++
	name := fmt.Sprintf("G%d", v.gates)
	a := &appliance{v: v, dir: filepath.Join(v.b.dir, name)}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if a.relay, err = newRelay(strings.TrimPrefix(v.central.URL, "http://")); err != nil {
		return nil, err
	}
	if a.port, err = ptyport.New(a.dir + ".tty"); err != nil {
		return nil, err
	}
	token, err := v.command(ctx, "gate", "token", "--event", e.id(), "--name", name)
	if err != nil {
		return nil, err
	}
	_, err = program.Output(ctx, v.program("gate"), "enrol", "--data", a.dir, "--central", a.relay.url(), "--token", token)
	return a, err
}

// run starts the gate; decisions gets each line of its decision log.
func (a *appliance) run(decisions func(string)) (err error) {
	a.relay.reset()
	args := append([]string{
		"run", "--data", a.dir, "--listen", "127.0.0.1:0", "--log-decisions", "-",
		"--lane", "name=N1,zone=main,direction=in,scanner=serial:" + a.port.Path() + "?baud=115200",
	}, a.flags...)
	a.server, err = program.Start(a.dir+".log", decisions, a.v.program("gate"), args...)
	return err
}

// firstDecision waits until the gate would admit a code, and returns how long
// that took from its start.
func (a *appliance) firstDecision(ctx context.Context, code []byte) (time.Duration, error) {
	deadline := time.Now().Add(firstMax)
	for time.Now().Before(deadline) {
		verdict, err := a.verify(ctx, code)
		if err == nil && verdict.Decision == node.Admit && verdict.Known {
			return time.Since(a.server.Started), nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-a.server.Done():
			return 0, a.server.Await(ctx)
		case <-time.After(time.Millisecond):
		}
	}
	return 0, fmt.Errorf("the gate admitted nobody within %v; its log is %s", firstMax, a.server.Log)
}

// firstMax bounds the wait for a first decision.
const firstMax = 2 * time.Minute

// verify asks the running gate what it would answer.
func (a *appliance) verify(ctx context.Context, code []byte) (control.Verdict, error) {
	if a.asked == nil {
		client, err := control.Dial(a.dir)
		if err != nil {
			return control.Verdict{}, err
		}
		a.asked = client
	}
	return a.asked.Verify(ctx, code)
}

// stop ends the gate; run starts it again.
func (a *appliance) stop() error {
	var errs []error
	if a.asked != nil {
		errs = append(errs, a.asked.Close())
	}
	if a.server != nil {
		errs = append(errs, a.server.Stop())
	}
	a.asked, a.server = nil, nil
	return errors.Join(errs...)
}

func (a *appliance) close() error {
	err := a.stop()
	if a.port != nil {
		err = errors.Join(err, a.port.Close())
	}
	if a.relay != nil {
		a.relay.close()
	}
	return err
}
