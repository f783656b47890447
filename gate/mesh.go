package gate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/google/uuid"

	"gatehouse/gate/carry"
	"gatehouse/gate/engine"
	"gatehouse/gate/journal"
	"gatehouse/gate/node"
	"gatehouse/gate/peer"
	"gatehouse/gate/shelf"
	"gatehouse/syncproto"
)

// carryFile holds entries of other gates, beside the journal.
const carryFile = "carry.db"

// PeerConfig says how a gate talks to the other gates of its event. The zero
// value does not.
type PeerConfig struct {
	// Listen is host:port where peers connect; empty to connect to others only.
	Listen string
	// Static are addresses of peers, host:port, beside those of the roster.
	Static []string
	// Multicast looks for peers in the neighbourhood and shows this gate to them.
	Multicast bool
	Timing    peer.Timing
	Mesh      node.MeshTiming
}

func (c *PeerConfig) on() bool { return c.Listen != "" || len(c.Static) > 0 }

// Check refuses addresses that are none. Where nobody can be reached, as at port
// 0, is no address of a peer.
func (c *PeerConfig) Check() error {
	if c.Listen != "" {
		if _, _, err := splitAddr(c.Listen); err != nil {
			return fmt.Errorf("address to listen for peers %q: write HOST:PORT, as 0.0.0.0:7443", c.Listen)
		}
	}
	for _, addr := range c.Static {
		if host, port, err := splitAddr(addr); err != nil || port == 0 || host == "" {
			return fmt.Errorf("address of a peer %q: write HOST:PORT, as 192.168.1.20:7443", addr)
		}
	}
	return nil
}

func splitAddr(addr string) (host string, port uint64, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.ParseUint(text, 10, 16)
	return host, port, err
}

// meshwork is what a session has for its peers. Without a mesh it is empty.
type meshwork struct {
	gate   *Gate
	store  *carry.Store
	shelf  *shelf.Shelf
	mesh   *peer.Mesh
	socket net.Listener
	addrs  []string
}

// open binds the socket and opens what is kept for other gates; nothing where
// there is no mesh and never was one.
func (w *meshwork) open(ctx context.Context) error {
	g := w.gate
	path := filepath.Join(g.cfg.Dir, carryFile)
	if _, err := os.Stat(path); !g.cfg.Peer.on() && errors.Is(err, os.ErrNotExist) {
		return nil
	}
	store, damage, err := carry.Open(ctx, path)
	if damage != nil {
		g.cfg.Logger.Error("what was kept for other gates is damaged and was put aside; they have it themselves", "damage", damage, "moved_to", path+".damaged")
	}
	if err != nil {
		return fmt.Errorf("%w: %w", journal.ErrDisk, err)
	}
	w.store = store
	if w.shelf, err = shelf.Open(filepath.Join(g.cfg.Dir, chunkDir)); err != nil {
		return err
	}
	return w.listen()
}

// listen binds the socket for peers. A port that was picked once is kept when the
// session is built anew: peers know it.
func (w *meshwork) listen() error {
	g := w.gate
	if g.cfg.Peer.Listen == "" {
		return nil
	}
	socket, err := net.Listen("tcp", g.cfg.Peer.Listen)
	if err != nil {
		return fmt.Errorf("peers: %w; choose another --peer-listen address", err)
	}
	w.socket, w.addrs = socket, peer.Addrs(socket.Addr())
	if host, _, err := net.SplitHostPort(g.cfg.Peer.Listen); err == nil {
		g.cfg.Peer.Listen = net.JoinHostPort(host, strconv.Itoa(socket.Addr().(*net.TCPAddr).Port))
	}
	return nil
}

// configure tells a node that is to be made of the mesh and of what is kept: of
// each incarnation, what is in one piece.
func (w *meshwork) configure(ctx context.Context, cfg *node.Config) error {
	cfg.Mesh, cfg.MeshTiming, cfg.PeerAddrs = w.gate.cfg.Peer.on(), w.gate.cfg.Peer.Mesh, w.addrs
	if w.store == nil {
		return nil
	}
	parts, err := w.store.Parts(ctx)
	if err != nil {
		return err
	}
	for _, p := range parts {
		cfg.Carried = append(cfg.Carried, node.Carried(p))
	}
	return nil
}

// remember tells the node what is kept for other gates.
func (w *meshwork) remember(ctx context.Context, mind *node.Node) error {
	if w.store == nil {
		return nil
	}
	return w.store.Each(ctx, func(req *syncproto.PushRequest) error {
		mind.Hear(req)
		return nil
	})
}

// join makes the mesh round a session's engine.
func (w *meshwork) join(e *engine.Engine, own peer.Entries) error {
	g := w.gate
	if !g.cfg.Peer.on() {
		return nil
	}
	cfg := peer.Config{
		Device: g.id.Get().Device, Key: g.id.Get().Key(), Roster: e.Gates(), Feed: e.Feed, Journal: own, Store: w.store, Shelf: w.shelf, Socket: w.socket,
		Static: g.cfg.Peer.Static, Timing: g.cfg.Peer.Timing, Rand: g.cfg.Jitter, Logger: g.cfg.Logger,
	}
	if g.cfg.Peer.Multicast {
		cfg.Hints = peer.Multicast(g.id.Get().Stream, w.addrs)
	}
	var err error
	w.mesh, err = peer.New(cfg)
	return err
}

// send gives messages to the mesh, where there is one.
func (w *meshwork) send(msgs []node.PeerSend) {
	if w.mesh != nil {
		w.mesh.Send(msgs)
	}
}

// fetch asks a peer for what central signed.
func (w *meshwork) fetch(ctx context.Context, from uuid.UUID, f syncproto.Fetch) ([]byte, error) {
	if w.mesh == nil {
		return nil, errors.New("this gate has no mesh")
	}
	return w.mesh.Fetch(ctx, from, f)
}

// act does what a step asks of the mesh, and tells staff what it found.
func (w *meshwork) act(out *node.Output) {
	if w.mesh != nil {
		w.mesh.Act(out)
	}
	for _, a := range out.Alarms {
		w.gate.cfg.Logger.Error("a ticket let two people in", "ticket", a.Ticket, "lane", a.Here.Lane, "at", a.Here.At,
			"other_gate", a.There.Gate, "other_lane", a.There.Lane, "other_at", a.There.At)
		w.gate.front.screen.Alarm(a)
	}
}

// close closes the socket, which a mesh that ran has closed already, and the
// store.
func (w *meshwork) close() error {
	var err error
	if w.socket != nil {
		if err = w.socket.Close(); errors.Is(err, net.ErrClosed) {
			err = nil
		}
	}
	if w.store != nil {
		err = errors.Join(err, w.store.Close())
	}
	if w.shelf != nil {
		err = errors.Join(err, w.shelf.Close())
	}
	return err
}
