package engine

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
)

// Desk is where tickets are sold.
func (e *Engine) Desk() Desk { return Desk{e} }

// Desk sells for a node that others step. It is safe for concurrent use.
type Desk struct{ e *Engine }

// Sell sells a ticket of a type, and returns when its code may be shown. A refused
// sale says so in Sale.Refused; an error means that the journal failed.
func (d Desk) Sell(ctx context.Context, typ string) (node.Sale, syncproto.Ref, error) {
	out, entry, err := d.commit(ctx, node.Sell{Type: typ})
	return out.Sale, entry.Ref(), err
}

// Return gives back what is not sold of a lease, and reports whether there was
// anything. It returns when it is durable that none of it will be sold.
func (d Desk) Return(ctx context.Context, lease uuid.UUID) (bool, error) {
	out, _, err := d.commit(ctx, node.Return{Lease: lease})
	return out.Journal, err
}

// commit takes a step that makes an entry, or none, and waits for the disk.
func (d Desk) commit(ctx context.Context, in node.Input) (node.Output, syncproto.Entry, error) {
	e := d.e
	var entry syncproto.Entry
	out, pending, err := e.step(e.cfg.Now(), in, nil)
	if err == nil && out.Journal {
		entry, err = pending.Wait(context.WithoutCancel(ctx))
	}
	if err != nil {
		e.fail(err)
		return node.Output{}, entry, fmt.Errorf("record in the journal: %w", err)
	}
	if out.Journal {
		e.Feed(node.Durable{Seq: entry.Seq})
	}
	e.act(out)
	return out, entry, nil
}
