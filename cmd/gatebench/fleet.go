package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"gatehouse/gate/carry"
	"gatehouse/gate/engine"
	"gatehouse/gate/journal"
	"gatehouse/gate/node"
	"gatehouse/gate/peer"
	"gatehouse/gate/shelf"
	"gatehouse/syncproto"
)

// A fleet is many gates in this process: each a node, an engine and a journal of
// its own, and with a mesh also a carry store, a socket and a connection to every
// other. There are no lanes, no screens and no central. A gate gives a silent peer up
// later than it does at a venue: where one machine is too slow for all gates, it is
// to be measured in talk, and not in parting and coming back.
type fleet struct {
	gates []*inmate
	stop  context.CancelFunc
	done  sync.WaitGroup
}

// patience is how long gates of a fleet wait for each other.
const patience = time.Minute

// An inmate is one gate of a fleet.
type inmate struct {
	*box
	record   syncproto.DeviceRecord
	key      ed25519.PrivateKey
	socket   *countedSocket
	store    *carry.Store
	shelf    *shelf.Shelf
	mesh     *peer.Mesh
	messages atomic.Int64 // received
}

// openFleet makes n gates with the same roster in a folder of their own, and
// starts them; with a mesh it returns when each is connected to all others.
func (s *scene) openFleet(ctx context.Context, dir string, n int, meshed bool, loaded func() node.Loaded) (_ *fleet, err error) {
	f := &fleet{}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.close())
		}
	}()
	for i := range n {
		g, err := newInmate(i, meshed)
		if err != nil {
			return nil, err
		}
		f.gates = append(f.gates, g)
	}
	for i, g := range f.gates {
		l := loaded()
		for _, o := range f.gates {
			l.Devices = append(l.Devices, o.record)
		}
		if err := g.open(ctx, s, filepath.Join(dir, fmt.Sprint("gate-", i)), l); err != nil {
			return nil, err
		}
	}
	f.start(ctx)
	if !meshed {
		return f, nil
	}
	within, cancel := context.WithTimeout(ctx, fleetMax)
	defer cancel()
	return f, f.await(within, "connect to each other", func(st *node.Status) bool {
		return !slices.ContainsFunc(st.Peers, func(p node.PeerStatus) bool { return !p.Connected })
	})
}

// fleetMax bounds the wait for a fleet to be connected: each gate with each.
const fleetMax = 3 * time.Minute

func newInmate(i int, meshed bool) (*inmate, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make keys: %w", err)
	}
	g := &inmate{key: key, record: syncproto.DeviceRecord{Device: uuid.New(), Rev: 1, Name: fmt.Sprint("G", i+1), Key: public}}
	if !meshed {
		return g, nil
	}
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("socket for peers: %w", err)
	}
	g.socket, g.record.Addrs = &countedSocket{Listener: socket}, []string{socket.Addr().String()}
	return g, nil
}

// open puts the gate together as package gate does.
func (g *inmate) open(ctx context.Context, s *scene, dir string, loaded node.Loaded) (err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("folder of a gate: %w", err)
	}
	j, err := journal.Open(ctx, journal.Config{
		Path: filepath.Join(dir, "journal.db"), Device: g.record.Device, Key: g.key, Now: time.Now, NewID: uuid.New,
	})
	if err != nil {
		return err
	}
	g.box = &box{journal: j}
	mind, err := s.mindOf(node.Config{
		Device: g.record.Device, Incarnation: j.Incarnation(), NextSeq: j.Last().Seq + 1, Last: j.LastT(),
		Mesh: g.socket != nil, MeshTiming: node.MeshTiming{Dead: patience},
		Journal: []node.Watermark{{Incarnation: j.Incarnation(), First: 1, Last: j.Last().Seq}},
	}, loaded)
	if err != nil {
		return err
	}
	send := func(msgs []node.PeerSend) {}
	act := func(node.Output) {}
	if g.socket != nil {
		send = func(msgs []node.PeerSend) { g.mesh.Send(msgs) }
		act = func(out node.Output) { g.mesh.Act(&out) }
	}
	if g.engine, err = engine.New(engine.Config{Node: mind, Journal: j, Stream: s.stream, Now: time.Now, Act: act, Send: send}); err != nil {
		return err
	}
	if g.socket == nil {
		return nil
	}
	if g.store, _, err = carry.Open(ctx, filepath.Join(dir, "carry.db")); err != nil {
		return err
	}
	if g.shelf, err = shelf.Open(filepath.Join(dir, "snapshot")); err != nil {
		return err
	}
	g.mesh, err = peer.New(peer.Config{
		Device: g.record.Device, Key: g.key, Roster: g.engine.Gates(), Feed: g.feed, Journal: j, Store: g.store, Shelf: g.shelf, Socket: g.socket,
		Timing: peer.Timing{Dial: patience, Silence: patience, Write: patience}, Rand: mrand.Float64, Logger: slog.New(slog.DiscardHandler),
	})
	return err
}

// feed counts what peers say on its way to the node.
func (g *inmate) feed(in node.Input) {
	if _, said := in.(node.PeerSaid); said {
		g.messages.Add(1)
	}
	g.engine.Feed(in)
}

func (f *fleet) start(ctx context.Context) {
	ctx, f.stop = context.WithCancel(ctx)
	for _, g := range f.gates {
		f.done.Go(func() { _ = g.engine.Run(ctx) }) // it ends with ctx
		if g.mesh != nil {
			f.done.Go(func() { _ = g.mesh.Run(ctx) })
		}
	}
}

// await waits until the status of every gate is as wanted.
func (f *fleet) await(ctx context.Context, what string, wanted func(*node.Status) bool) error {
	for _, g := range f.gates {
		for st := g.engine.Status(); !wanted(&st); st = g.engine.Status() {
			if !pause(ctx, lookGap) {
				return fmt.Errorf("the gates do not %s: %w", what, ctx.Err())
			}
		}
	}
	return nil
}

// totals are what all gates have received so far.
func (f *fleet) totals() (messages, bytes int64) {
	for _, g := range f.gates {
		messages += g.messages.Load()
		if g.socket != nil {
			bytes += g.socket.bytes.Load()
		}
	}
	return messages, bytes
}

func (f *fleet) close() error {
	if f.stop != nil {
		f.stop()
	}
	f.done.Wait()
	var errs []error
	for _, g := range f.gates {
		if g.socket != nil {
			_ = g.socket.Close() // a mesh that ran has closed it
		}
		if g.store != nil {
			errs = append(errs, g.store.Close())
		}
		if g.shelf != nil {
			errs = append(errs, g.shelf.Close())
		}
		if g.box != nil {
			errs = append(errs, g.journal.Close())
		}
	}
	return errors.Join(errs...)
}

// A countedSocket counts the bytes, both ways, of the connections that it took.
// Each connection of a mesh is taken once.
type countedSocket struct {
	net.Listener
	bytes atomic.Int64
}

// Accept implements net.Listener.
func (s *countedSocket) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countedConn{c, &s.bytes}, nil
}

type countedConn struct {
	net.Conn
	n *atomic.Int64
}

// Read implements net.Conn.
func (c countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// Write implements net.Conn.
func (c countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.n.Add(int64(n))
	return n, err
}
