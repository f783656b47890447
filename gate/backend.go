package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"gatehouse/gate/carry"
	"gatehouse/gate/control"
	"gatehouse/gate/engine"
	"gatehouse/gate/identity"
	"gatehouse/gate/journal"
	"gatehouse/gate/node"
	"gatehouse/gate/replica"
	"gatehouse/gate/vault"
	"gatehouse/syncproto"
)

// backend answers the control socket of a running gate.
type backend struct{ g *Gate }

func (b backend) Status(ctx context.Context) (control.Status, error) { return b.g.status(ctx) }

func (b backend) Verify(_ context.Context, code []byte) (control.Verdict, error) {
	return control.VerdictOf(b.g.current.Load().engine.Verify("", "", code)), nil
}

// checkPoll is how often a comparison that was asked for is looked at.
const checkPoll = 20 * time.Millisecond

func (b backend) Check(ctx context.Context) (control.Check, error) {
	e := b.g.current.Load().engine
	e.Feed(node.CheckNow{})
	asked := e.Status().Check.Asked
	tick := time.NewTicker(checkPoll)
	defer tick.Stop()
	for {
		if c := e.Status().Check; c.Served >= asked {
			return control.CheckOf(c), nil
		}
		select {
		case <-tick.C:
		case <-e.Broken():
			return control.Check{}, fmt.Errorf("the gate cannot record admissions at the moment: %w", e.Err())
		case <-ctx.Done():
			return control.Check{}, ctx.Err()
		}
	}
}

func (b backend) Journal(ctx context.Context, fn func(control.Line) error) error {
	return lines(ctx, &b.g.current.Load().chains.past, b.g.id.Get().Stream, fn)
}

func (b backend) Peers(context.Context) ([]control.Peer, error) {
	return control.PeersOf(b.g.current.Load().engine.Status()), nil
}

func lines(ctx context.Context, p *past, stream uuid.UUID, fn func(control.Line) error) error {
	return p.Entries(ctx, func(e *syncproto.Entry) error { return fn(control.LineOf(e, stream)) })
}

// Inspect looks at the data directory of a gate: through the gate where one is
// running, else in its files. Close it when done.
func Inspect(ctx context.Context, dir string, now func() time.Time) (Inspection, error) {
	if err := ensureDir(dir); err != nil {
		return nil, err
	}
	client, err := control.Dial(dir)
	switch {
	case err == nil:
		return client, nil
	case !errors.Is(err, control.ErrNotRunning):
		return nil, err
	}
	id, err := identity.Load(dir)
	if err != nil {
		return nil, err
	}
	o := &stopped{dir: dir, id: id, now: now}
	o.past.journal, err = journal.OpenReadOnly(ctx, filepath.Join(dir, journalFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if o.past.aside, err = openAside(ctx, dir, id, slog.New(slog.DiscardHandler)); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

// Inspection is a gate to look at.
type Inspection interface {
	control.Backend
	Close() error
}

// stopped answers from the files of a gate that is not running.
type stopped struct {
	dir  string
	id   *identity.Identity
	past past
	now  func() time.Time
}

// Close implements Inspection.
func (o *stopped) Close() error {
	err := closeAside(o.past.aside)
	if o.past.journal != nil {
		err = errors.Join(err, o.past.journal.Close())
	}
	return err
}

// Status implements control.Backend.
func (o *stopped) Status(ctx context.Context) (control.Status, error) {
	mind, err := o.mind(ctx)
	if err != nil {
		return control.Status{}, err
	}
	st := mind.Status(o.now())
	out := control.StatusOf(st, nil)
	out.Gate, out.Event, out.Central, out.LastSeq = o.id.Name, o.id.Event, control.Offline, 0
	out.SellsNot = control.ErrNotRunning.Error()
	out.Vault = o.vault(ctx)
	marks, err := o.past.marks(ctx)
	if err != nil {
		return out, err
	}
	out.JournalRows, out.Unsent = o.past.rows(), o.past.unsent()
	if len(marks) > 0 {
		out.LastSeq = marks[len(marks)-1].Last
	}
	return out, nil
}

// vault says whether there are names on the disk. A replica that cannot be read has
// none that anybody will see: the gate makes a new one.
func (o *stopped) vault(ctx context.Context) string {
	cfg := replica.Config{Path: filepath.Join(o.dir, replicaFile)}
	if _, err := os.Stat(cfg.Path); err != nil {
		return vault.None
	}
	state, err := vaultOf(ctx, cfg)
	if err != nil {
		return vault.None
	}
	return state
}

// Verify implements control.Backend.
func (o *stopped) Verify(ctx context.Context, code []byte) (control.Verdict, error) {
	mind, err := o.mind(ctx)
	if err != nil {
		return control.Verdict{}, err
	}
	start := o.now()
	r := engine.Result{Decision: mind.Verify(start, "", "", code)}
	r.Decide = o.now().Sub(start)
	if r.Ticket != 0 {
		r.TicketID = syncproto.TicketID(o.id.Stream, r.Ticket)
	}
	return control.VerdictOf(r), nil
}

// Check implements control.Backend.
func (o *stopped) Check(context.Context) (control.Check, error) {
	return control.Check{}, control.ErrNotRunning
}

// Journal implements control.Backend.
func (o *stopped) Journal(ctx context.Context, fn func(control.Line) error) error {
	return lines(ctx, &o.past, o.id.Stream, fn)
}

// Peers implements control.Backend.
func (o *stopped) Peers(ctx context.Context) ([]control.Peer, error) {
	mind, err := o.mind(ctx)
	if err != nil {
		return nil, err
	}
	return control.PeersOf(mind.Status(o.now())), nil
}

// mind makes a node as the gate would at start, for an incarnation that never
// opens.
func (o *stopped) mind(ctx context.Context) (*node.Node, error) {
	hashKey, err := o.id.OpenHashKey()
	if err != nil {
		return nil, err
	}
	mind, err := node.New(node.Config{
		Device: o.id.Device, Event: o.id.Event, Stream: o.id.Stream, Pinned: o.id.Pinned, Trust: &o.id.Trust, HashKey: hashKey,
		Incarnation: uuid.Max, NextSeq: 1, Withdrawn: o.id.Withdrawn, Jitter: func() float64 { return 0 },
	})
	if err != nil {
		return nil, err
	}
	if err := o.past.Entries(ctx, func(e *syncproto.Entry) error { mind.Own(e); return nil }); err != nil {
		return nil, err
	}
	rep, loaded, err := loadReplica(ctx, replica.Config{Path: filepath.Join(o.dir, replicaFile)})
	if err != nil {
		return nil, err
	}
	if loaded != nil {
		mind.Restore(o.now(), *loaded)
		if err := rep.Close(); err != nil {
			return nil, err
		}
	}
	return mind, o.remember(ctx, mind)
}

// remember tells the node what is kept for other gates.
func (o *stopped) remember(ctx context.Context, mind *node.Node) error {
	store, err := carry.Look(ctx, filepath.Join(o.dir, carryFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = store.Each(ctx, func(req *syncproto.PushRequest) error { mind.Hear(req); return nil })
	return errors.Join(err, store.Close())
}
