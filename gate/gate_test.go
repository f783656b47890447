package gate_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/gate"
	"gatehouse/gate/control"
	"gatehouse/gate/identity"
	"gatehouse/gate/lane"
	"gatehouse/gate/node"
	"gatehouse/hardware/hardwaretest"
	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
	"gatehouse/syncproto/syncprototest"
	"gatehouse/syncproto/wire"
)

// patience bounds every wait; reaching it fails the test.
const patience = 20 * time.Second

// venue is a central in memory behind a real socket, whose cable can be pulled.
type venue struct {
	t      *testing.T
	memory *syncprototest.Memory
	server *wire.Server
	addr   string
	rules  syncproto.Rules
	http   *http.Server
	beats  atomic.Int64 // heartbeats answered
}

func newVenue(t *testing.T) *venue {
	m, err := syncprototest.NewMemory(syncprototest.MemoryConfig{Name: "test", Now: time.Now, Rand: rand.Reader})
	require.NoError(t, err)
	rules, err := m.CreateEvent(syncprototest.Rules("Fest"))
	require.NoError(t, err)
	s, err := wire.NewServer(wire.ServerConfig{Service: m.Service(), Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	v := &venue{t: t, memory: m, server: s, rules: rules, addr: "127.0.0.1:0"}
	v.plug()
	t.Cleanup(v.pull)
	return v
}

// plug serves, at the same address as before.
func (v *venue) plug() {
	socket, err := net.Listen("tcp", v.addr)
	require.NoError(v.t, err)
	v.addr = socket.Addr().String()
	v.http = &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		resp := v.server.Serve(r.Context(), &wire.Request{Method: r.Method, Target: r.URL.RequestURI(), Header: r.Header, Body: body})
		for k, values := range resp.Header {
			w.Header()[k] = values
		}
		w.WriteHeader(resp.Status)
		_, _ = w.Write(resp.Body) // the gate sees a torn answer as a failed one
		if r.URL.Path == wire.PathHeartbeat {
			v.beats.Add(1)
		}
	})}
	srv := v.http
	go func() { _ = srv.Serve(socket) }() // ends with pull
}

func (v *venue) pull() { _ = v.http.Close() }

// sell makes a ticket and its code.
func (v *venue) sell(no syncproto.TicketNo) string {
	code, err := credential.Sign(syncprototest.Key("ticket test"), credential.Fields{
		Key: 1, Event: v.rules.Event, Ticket: no, Type: syncprototest.TypeSingle,
	})
	require.NoError(v.t, err)
	return code
}

// list puts a ticket on the roster with the hash of its code.
func (v *venue) list(hashKey []byte, no syncproto.TicketNo, status syncproto.Status) string {
	code := v.sell(no)
	tx, err := v.memory.Begin(v.rules.Event)
	require.NoError(v.t, err)
	tx.Put(syncproto.Ticket{No: no, Rev: time.Now().UnixNano(), Type: syncprototest.TypeSingle, Status: status, Code: credential.NewHasher(hashKey).Sum([]byte(code))})
	require.NoError(v.t, tx.Commit())
	return code
}

// box is a gate with two lanes in, run in this process.
type box struct {
	t     *testing.T
	dir   string
	ports []*hardwaretest.Port
	log   string
	url   string
	stop  func()
}

func (v *venue) enrol(dir string) *identity.Identity {
	token, err := v.memory.NewToken(v.rules.Event, "North", time.Minute)
	require.NoError(v.t, err)
	id, err := identity.Enrol(v.t.Context(), identity.EnrolConfig{
		Dir: dir, Token: token, Central: "http://" + v.addr, App: "test", Rand: rand.Reader,
		Client: gate.EnrolClient(gate.Config{Now: time.Now, Rand: rand.Reader}),
	})
	require.NoError(v.t, err)
	return id
}

func newBox(t *testing.T) *box {
	dir := t.TempDir()
	return &box{
		t: t, dir: filepath.Join(dir, "gate"), log: filepath.Join(dir, "decisions"),
		ports: []*hardwaretest.Port{hardwaretest.NewPort(t), hardwaretest.NewPort(t)},
	}
}

func (b *box) config(ready func(string)) gate.Config {
	log, err := lane.OpenLog(b.log, nil)
	require.NoError(b.t, err)
	cfg := gate.Config{
		Dir: b.dir, Front: gate.FrontConfig{Listen: "127.0.0.1:0"}, Guard: time.Millisecond, Settle: 100 * time.Millisecond,
		Timing:    node.Timing{Wait: time.Second, Heartbeat: time.Second, BackoffBase: 10 * time.Millisecond, BackoffMax: 100 * time.Millisecond},
		ReadyWait: patience, LockWait: patience, Log: log, App: "test", Now: time.Now, Rand: rand.Reader, Jitter: func() float64 { return 0.5 },
		Logger: slog.New(slog.NewTextHandler(b.t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})),
		Ready:  func(url string) error { ready(url); return nil },
	}
	for i, p := range b.ports {
		cfg.Lanes = append(cfg.Lanes, lane.Spec{
			LaneConfig: node.LaneConfig{Name: []string{"N1", "N2"}[i], Zone: syncprototest.ZoneMain, Direction: syncproto.In}, Scanner: p.URL(),
		})
	}
	return cfg
}

// start runs the gate until stop, and returns when it said that it is ready.
func (b *box) start() {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan string, 1)
	ended := make(chan error, 1)
	cfg := b.config(func(url string) { ready <- url })
	go func() { ended <- gate.Run(ctx, cfg) }()
	var once sync.Once
	b.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				b.t.Errorf("gate: %v", err)
			}
			if err := cfg.Log.Close(); err != nil {
				b.t.Errorf("log: %v", err)
			}
		})
	}
	b.t.Cleanup(b.stop)
	select {
	case b.url = <-ready:
	case err := <-ended:
		ended <- nil
		require.FailNow(b.t, "gate ended", "%v", err)
	case <-time.After(patience):
		require.FailNow(b.t, "gate is not ready")
	}
}

type answer struct {
	Lane, Decision, Reason string
	TicketID               *string `json:"ticket_id"`
}

// scan presents a code and waits for its line in the decision log.
func (b *box) scan(port int, code string) answer {
	b.t.Helper()
	before := len(b.lines())
	b.ports[port].Send(code)
	var out answer
	b.until("an answer", func() bool {
		lines := b.lines()
		if len(lines) == before {
			return false
		}
		return json.Unmarshal([]byte(lines[before]), &out) == nil
	})
	return out
}

func (b *box) lines() []string {
	raw, err := os.ReadFile(b.log)
	require.NoError(b.t, err)
	lines := strings.Split(string(raw), "\n")
	return lines[:len(lines)-1]
}

func (b *box) until(what string, ok func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		require.True(b.t, time.Now().Before(deadline), "waited in vain for %s", what)
		<-tick.C
	}
}

func (b *box) status() control.Status {
	b.t.Helper()
	g, err := gate.Inspect(b.t.Context(), b.dir, time.Now)
	require.NoError(b.t, err)
	st, err := g.Status(b.t.Context())
	require.NoError(b.t, err)
	require.NoError(b.t, g.Close())
	return st
}

func (b *box) journal() []control.Line {
	b.t.Helper()
	g, err := gate.Inspect(b.t.Context(), b.dir, time.Now)
	require.NoError(b.t, err)
	var lines []control.Line
	require.NoError(b.t, g.Journal(b.t.Context(), func(l control.Line) error { lines = append(lines, l); return nil }))
	require.NoError(b.t, g.Close())
	return lines
}

func TestATicketThroughEveryRoom(t *testing.T) {
	v, b := newVenue(t), newBox(t)
	key, err := v.enrol(b.dir).OpenHashKey()
	require.NoError(t, err)
	code := v.list(key, 1, syncproto.StatusPaid)
	b.start()
	require.Equal(t, "admit", b.scan(0, code).Decision)
	twice := b.scan(1, code)
	require.Equal(t, "duplicate", twice.Reason)
	require.NotNil(t, twice.TicketID)
	require.Equal(t, "malformed", b.scan(0, "not a ticket").Reason)
	b.until("central to hold all", func() bool { return b.status().Unsent == 0 })
	st := b.status()
	require.Equal(t, control.Online, st.Central)
	require.Equal(t, int64(3), st.JournalRows, "genesis, admission, denial")
	require.Equal(t, 1, st.Tickets)
	require.Equal(t, 1, v.memory.Attendance(v.rules.Event).Admitted)
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/", "/lane/N1"} {
		resp, err := http.Get(b.url + path)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode, path)
	}
	b.stop()
	require.Equal(t, []syncproto.Kind{syncproto.KindGenesis, syncproto.KindAdmit, syncproto.KindDeny}, kinds(b.journal()), "also while the gate is stopped")
}

func kinds(lines []control.Line) (out []syncproto.Kind) {
	for _, l := range lines {
		out = append(out, l.Kind)
	}
	return out
}

func TestWithoutCentralLanesGoOn(t *testing.T) {
	v, b := newVenue(t), newBox(t)
	key, err := v.enrol(b.dir).OpenHashKey()
	require.NoError(t, err)
	first, second := v.list(key, 1, syncproto.StatusPaid), v.list(key, 2, syncproto.StatusPaid)
	b.start()
	require.Equal(t, "admit", b.scan(0, first).Decision)
	v.pull()
	require.Equal(t, "admit", b.scan(0, second).Decision)
	require.Equal(t, "admit", b.scan(0, v.sell(99)).Decision, "genuine, sold after the last sync")
	b.until("the gate to notice", func() bool { return b.status().Central == control.Offline })
	b.stop()
	b.start() // a reboot with the cable out
	require.Equal(t, "duplicate", b.scan(1, first).Reason)
	require.Equal(t, "duplicate", b.scan(1, v.sell(99)).Reason)
	v.plug()
	b.until("the backlog to drain", func() bool { st := b.status(); return st.Central == control.Online && st.Unsent == 0 })
	require.Equal(t, 3, v.memory.Attendance(v.rules.Event).Admitted)
}

func TestAGateWithoutRosterWaitsForCentral(t *testing.T) {
	v, b := newVenue(t), newBox(t)
	key, err := v.enrol(b.dir).OpenHashKey()
	require.NoError(t, err)
	code := v.list(key, 1, syncproto.StatusPaid)
	v.pull()
	b.start()
	require.Equal(t, "not_ready", b.scan(0, code).Reason)
	v.plug()
	b.until("the roster", func() bool { return b.status().Ready })
	require.Equal(t, "admit", b.scan(0, code).Decision)
}

func TestARevocationReachesAConnectedGateAndSurvivesARebootstrap(t *testing.T) {
	v, b := newVenue(t), newBox(t)
	key, err := v.enrol(b.dir).OpenHashKey()
	require.NoError(t, err)
	code := v.list(key, 1, syncproto.StatusPaid)
	b.start()
	v.list(key, 1, syncproto.StatusRevoked)
	head := syncprototest.Head(v.memory, v.rules.Event) // the gate's own genesis may have a position too
	b.until("the revocation", func() bool { return b.status().Seq >= head })
	require.Equal(t, "revoked", b.scan(0, code).Reason)
	b.stop()
	require.NoError(t, os.Remove(filepath.Join(b.dir, "replica.db")))
	b.start()
	require.Equal(t, "revoked", b.scan(0, code).Reason)
	b.stop()
	damaged := filepath.Join(b.dir, "replica.db")
	raw, err := os.ReadFile(damaged)
	require.NoError(t, err)
	for i := 100; i < len(raw); i += 97 {
		raw[i] ^= 0xff
	}
	require.NoError(t, os.WriteFile(damaged, raw, 0o600))
	b.start()
	require.Equal(t, "revoked", b.scan(0, code).Reason, "a damaged replica is rebuilt from central")
}

func TestADamagedJournalIsMovedAsideAndRemembered(t *testing.T) {
	v, b := newVenue(t), newBox(t)
	key, err := v.enrol(b.dir).OpenHashKey()
	require.NoError(t, err)
	codes := make([]string, 60)
	for i := range codes {
		codes[i] = v.list(key, syncproto.TicketNo(i+1), syncproto.StatusPaid)
	}
	b.start()
	v.pull() // nobody else knows what happens now
	for _, code := range codes {
		require.Equal(t, "admit", b.scan(0, code).Decision)
	}
	b.stop()
	path := filepath.Join(b.dir, "journal.db")
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, 1, bytes.Count(raw, []byte(`"n":60,`)), "the last entry is in the file once")
	require.NoError(t, os.Remove(path+"-wal"), "it would mend the file")
	require.NoError(t, os.Remove(path+"-shm"))
	require.NoError(t, os.WriteFile(path, bytes.Replace(raw, []byte(`"n":60,`), []byte(`"n":61,`), 1), 0o600))
	b.start()
	require.Equal(t, "duplicate", b.scan(1, codes[0]).Reason, "what can be read still counts")
	require.Equal(t, "admit", b.scan(1, v.sell(500)).Decision, "and the lane goes on")
	aside, err := filepath.Glob(path + ".damaged-*")
	require.NoError(t, err)
	require.NotEmpty(t, aside, "the evidence is kept")
	b.stop()
	b.start()
	require.Equal(t, "duplicate", b.scan(0, codes[0]).Reason, "also at the next start")

	v.plug()
	b.until("central to hold all that can be read", func() bool { st := b.status(); return st.Central == control.Online && st.Unsent == 0 })
	require.Equal(t, 60, v.memory.Attendance(v.rules.Event).Admitted, "59 of the damaged journal, one since")
	rows := b.status().JournalRows
	require.Len(t, b.journal(), int(rows), "what can be read is a part of the journal")
	b.stop()
	require.Len(t, b.journal(), int(rows), "also while the gate is stopped")
}

// The value for the next hello cannot be kept, so that a restart takes the gate back
// to the one before, again and again: that is no copied disk.
func TestAGateThatCannotKeepItsSessionIsNotTakenForACopy(t *testing.T) {
	v, b := newVenue(t), newBox(t)
	key, err := v.enrol(b.dir).OpenHashKey()
	require.NoError(t, err)
	b.start()
	b.until("the first roster", func() bool { return b.running().Ready })
	file := filepath.Join(b.dir, "identity.json")
	kept, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.Remove(file))
	require.NoError(t, os.Mkdir(file, 0o700)) // a file cannot take its place
	for n := range 3 {
		require.NoError(t, v.memory.NewEpoch()) // every gate has to say hello anew
		v.list(key, syncproto.TicketNo(n+1), syncproto.StatusPaid)
		b.until("the new roster", func() bool { return b.running().Tickets == n+1 })
	}
	b.stop()
	require.NoError(t, os.Remove(file))
	require.NoError(t, os.WriteFile(file, kept, 0o600))
	b.start()
	beats := v.beats.Load()
	b.until("two heartbeats", func() bool { return v.beats.Load() >= beats+2 })
	require.False(t, b.running().Quarantined)
}

// running is the status of a gate that runs, whatever is in its folder.
func (b *box) running() control.Status {
	b.t.Helper()
	c, err := control.Dial(b.dir)
	require.NoError(b.t, err)
	st, err := c.Status(b.t.Context())
	require.NoError(b.t, err)
	require.NoError(b.t, c.Close())
	return st
}

func TestOneProcessAtATime(t *testing.T) {
	v, b := newVenue(t), newBox(t)
	v.enrol(b.dir)
	b.start()
	cfg := b.config(func(string) {})
	cfg.LockWait = 0
	require.ErrorContains(t, gate.Run(t.Context(), cfg), "already running")
	require.NoError(t, cfg.Log.Close())
}

func TestOnlyAnEnrolledBoxRuns(t *testing.T) {
	v, b := newVenue(t), newBox(t)
	cfg := b.config(func(string) {})
	require.ErrorIs(t, gate.Run(t.Context(), cfg), identity.ErrNotEnrolled)
	require.NoError(t, cfg.Log.Close())
	v.enrol(b.dir)
	token, err := v.memory.NewToken(v.rules.Event, "Again", time.Minute)
	require.NoError(t, err)
	_, err = identity.Enrol(t.Context(), identity.EnrolConfig{
		Dir: b.dir, Token: token, Central: "http://" + v.addr, Rand: rand.Reader,
		Client: gate.EnrolClient(gate.Config{Now: time.Now, Rand: rand.Reader}),
	})
	require.ErrorContains(t, err, "already is gate")
}

func TestATokenOfAnotherCentralIsNotTrusted(t *testing.T) {
	v, b := newVenue(t), newBox(t)
	token, err := v.memory.NewToken(v.rules.Event, "North", time.Minute)
	require.NoError(t, err)
	token.Root = syncproto.Fingerprint(ed25519.PublicKey(make([]byte, 32)))
	_, err = identity.Enrol(t.Context(), identity.EnrolConfig{
		Dir: b.dir, Token: token, Central: "http://" + v.addr, Rand: rand.Reader,
		Client: gate.EnrolClient(gate.Config{Now: time.Now, Rand: rand.Reader}),
	})
	require.ErrorIs(t, err, syncproto.ErrUntrusted)
	_, err = identity.Load(b.dir)
	require.ErrorIs(t, err, identity.ErrNotEnrolled)
}

func TestFrontRefusesToBeReachableByAccident(t *testing.T) {
	for _, c := range []struct {
		front gate.FrontConfig
		want  string
	}{
		{gate.FrontConfig{Listen: "127.0.0.1:0"}, ""},
		{gate.FrontConfig{Listen: "localhost:80"}, ""},
		{gate.FrontConfig{Listen: "[::1]:80"}, ""},
		{gate.FrontConfig{Listen: "8090"}, "HOST:PORT"},
		{gate.FrontConfig{Listen: ":8090"}, "--insecure-http"},
		{gate.FrontConfig{Listen: "0.0.0.0:8090", InsecureHTTP: true}, "--pin-file"},
		{gate.FrontConfig{Listen: "0.0.0.0:8090", InsecureHTTP: true, PIN: "4711"}, ""},
		{gate.FrontConfig{Listen: "10.0.0.1:8090", TLSCert: "c", TLSKey: "k", PIN: "4711"}, ""},
		{gate.FrontConfig{Listen: "127.0.0.1:0", TLSCert: "c"}, "go together"},
	} {
		err := c.front.Check()
		if c.want == "" {
			require.NoError(t, err, c.front.Listen)
			continue
		}
		require.ErrorContains(t, err, c.want)
	}
}
