package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gatehouse/gate/engine"
	"gatehouse/gate/node"
	"gatehouse/hardware"
	"gatehouse/syncproto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate is a backend whose answers a test sets.
type gate struct {
	status  Status
	err     error
	check   Check
	lines   []Line
	peers   []Peer
	journal error // after the lines
	hold    chan struct{}
	codes   chan []byte
	found   Found
	texts   chan string // queries and passphrases
}

func (g *gate) Find(_ context.Context, query string) (Found, error) {
	g.texts <- query
	return g.found, g.err
}

func (g *gate) Unlock(_ context.Context, passphrase string) error {
	g.texts <- passphrase
	return g.err
}

func (g *gate) Lock(context.Context) error { return g.err }

func (g *gate) Status(context.Context) (Status, error) { return g.status, g.err }

func (g *gate) Verify(_ context.Context, code []byte) (Verdict, error) {
	g.codes <- bytes.Clone(code)
	return Verdict{Decision: node.Deny, Reason: syncproto.ReasonMalformed, DecideUS: 7}, g.err
}

func (g *gate) Peers(context.Context) ([]Peer, error) { return g.peers, g.err }
func (g *gate) Check(context.Context) (Check, error)  { return g.check, g.err }

func (g *gate) Journal(ctx context.Context, fn func(Line) error) error {
	for _, l := range g.lines {
		if err := fn(l); err != nil {
			return err
		}
	}
	if g.hold != nil {
		close(g.hold)
		<-ctx.Done()
		return ctx.Err()
	}
	return g.journal
}

// serve runs a gate's socket in dir until the test ends or stop is called.
func serve(t *testing.T, dir string, g *gate) (c *Client, stop func()) {
	t.Helper()
	g.codes, g.texts = make(chan []byte, 1), make(chan string, 1)
	l, err := Listen(dir)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx, g) }()
	stop = func() {
		cancel()
		if done != nil {
			require.NoError(t, <-done)
			done = nil
		}
	}
	t.Cleanup(stop)
	c, err = Dial(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c, stop
}

func TestStatusReachesAGateInAVeryDeepDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 120), strings.Repeat("e", 120))
	require.NoError(t, os.MkdirAll(dir, 0o700))
	age := 1.5
	want := Status{Gate: "North", Event: 7, Tickets: 3, Central: Online, CursorAgeS: &age, Lanes: []Lane{{Name: "N1"}}}
	c, _ := serve(t, dir, &gate{status: want})
	got, err := c.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.FileExists(t, filepath.Join(dir, socketName))
}

func TestSocketIsForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	serve(t, dir, &gate{})
	info, err := os.Lstat(filepath.Join(dir, socketName))
	require.NoError(t, err)
	require.Equal(t, os.ModeSocket|0o600, info.Mode())
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := Dial(dir)
	require.ErrorIs(t, err, ErrNotRunning, "no socket at all")

	leaveStaleSocket(t, dir)
	_, err = Dial(dir)
	require.ErrorIs(t, err, ErrNotRunning, "a socket that a killed gate left behind")

	_, err = Dial(filepath.Join(dir, "nowhere"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NotErrorIs(t, err, ErrNotRunning)

	c, stop := serve(t, dir, &gate{})
	stop()
	_, err = c.Status(t.Context())
	require.ErrorIs(t, err, ErrNotRunning, "the gate stopped since")
	require.NoFileExists(t, filepath.Join(dir, socketName))
}

// leaveStaleSocket does what a SIGKILL does: the file stays, nobody listens.
func leaveStaleSocket(t *testing.T, dir string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: filepath.Join(dir, socketName)}))
	require.NoError(t, syscall.Close(fd))
}

func TestAGateTakesOverAStaleSocket(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	leaveStaleSocket(t, dir)
	c, _ := serve(t, dir, &gate{status: Status{Gate: "after the crash"}})
	s, err := c.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, "after the crash", s.Gate)
}

func TestWhatIsNoSocketIsNotRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, socketName)
	require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))
	require.ErrorContains(t, Serve(t.Context(), dir, &gate{}), "move it away")
	require.FileExists(t, path)
}

func TestVerifyCarriesAnyBytes(t *testing.T) {
	t.Parallel()
	g := &gate{}
	c, _ := serve(t, t.TempDir(), g)
	for _, code := range [][]byte{[]byte("GH1ABC"), {}, {0, 0xff, '\n', '"'}, bytes.Repeat([]byte{0xfe}, CodeBytesMax)} {
		v, err := c.Verify(t.Context(), code)
		require.NoError(t, err)
		require.Equal(t, Verdict{Decision: "deny", Reason: syncproto.ReasonMalformed, DecideUS: 7}, v)
		require.Equal(t, code, append([]byte{}, <-g.codes...))
	}
	_, err := c.Verify(t.Context(), make([]byte, CodeBytesMax+1))
	require.ErrorIs(t, err, ErrTooLarge)
}

func TestServerBoundsWhatItIsSent(t *testing.T) {
	t.Parallel()
	g := &gate{}
	c, _ := serve(t, t.TempDir(), g)
	post := func(body string) int {
		resp, err := c.http.Post("http://gate/verify", "application/json", strings.NewReader(body))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	require.Equal(t, http.StatusRequestEntityTooLarge, post(`{"code":"`+strings.Repeat("A", bodyBytesMax)+`"}`))
	require.Equal(t, http.StatusRequestEntityTooLarge, post(`{"code":"`+strings.Repeat("AAAA", (CodeBytesMax+3)/3+1)+`"}`))
	require.Equal(t, http.StatusBadRequest, post(`{"code":`))
	require.Equal(t, http.StatusBadRequest, post(`{"code":"not base64!"}`))
	require.Empty(t, g.codes, "nothing of that reached the gate")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://gate/verify", nil)
	require.NoError(t, err)
	resp, err := c.http.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
}

func TestAFailureOfTheGateIsToldToTheClient(t *testing.T) {
	t.Parallel()
	c, _ := serve(t, t.TempDir(), &gate{err: errors.New("the replica is being rebuilt")})
	_, err := c.Status(t.Context())
	require.EqualError(t, err, "the gate answered: the replica is being rebuilt")
}

func lines(n int) []Line {
	inc, id := uuid.New(), uuid.New()
	out := make([]Line, n)
	for i := range out {
		out[i] = Line{Incarnation: inc, Seq: uint64(i + 1), At: "2026-05-01T20:00:00.000Z", Lane: "N1", Kind: syncproto.KindAdmit, Reason: syncproto.ReasonAdmitted}
		if i > 0 {
			out[i].TicketID = &id
		}
	}
	return out
}

func TestJournalStreamsInOrder(t *testing.T) {
	t.Parallel()
	want := lines(5000)
	c, _ := serve(t, t.TempDir(), &gate{lines: want})
	var got []Line
	require.NoError(t, c.Journal(t.Context(), func(l Line) error { got = append(got, l); return nil }))
	require.Equal(t, want, got)

	halt := errors.New("enough")
	seen := 0
	require.ErrorIs(t, c.Journal(t.Context(), func(Line) error { seen++; return halt }), halt)
	require.Equal(t, 1, seen)
}

func TestAJournalThatBreaksOffIsNotTakenForWhole(t *testing.T) {
	t.Parallel()
	c, _ := serve(t, t.TempDir(), &gate{lines: lines(3), journal: errors.New("row 4 is\ndamaged")})
	n := 0
	err := c.Journal(t.Context(), func(Line) error { n++; return nil })
	require.EqualError(t, err, "journal of the gate: row 4 is\ndamaged")
	require.Equal(t, 3, n)
}

func TestStoppingEndsAStreamUnderWay(t *testing.T) {
	t.Parallel()
	g := &gate{hold: make(chan struct{})}
	c, stop := serve(t, t.TempDir(), g)
	result := make(chan error, 1)
	go func() { result <- c.Journal(t.Context(), func(Line) error { return nil }) }()
	<-g.hold
	stop()
	require.Error(t, <-result)
}

func TestKeysThatScriptsRelyOn(t *testing.T) {
	t.Parallel()
	keys := func(v any) []string {
		b, err := json.Marshal(v)
		require.NoError(t, err)
		var m map[string]any
		require.NoError(t, json.Unmarshal(b, &m))
		out := make([]string, 0, len(m))
		for k := range m {
			out = append(out, k)
		}
		return out
	}
	require.Subset(t, keys(Status{}), []string{"gate", "event", "tickets", "central", "unsent", "journal_rows", "last_seq", "cursor_age_s"})
	require.ElementsMatch(t, []string{"decision", "reason", "ticket_id", "known", "decide_us"}, keys(Verdict{}))
	require.ElementsMatch(t, []string{"incarnation", "seq", "at", "lane", "kind", "reason", "ticket_id"}, keys(Line{}))

	b, err := json.Marshal(StatusOf(node.Status{Age: -1}, nil))
	require.NoError(t, err)
	require.Contains(t, string(b), `"cursor_age_s":null`)
	require.Contains(t, string(b), `"central":"offline"`)
	require.Contains(t, string(b), `"lanes":[]`)
}

func TestTranslations(t *testing.T) {
	t.Parallel()
	read := time.Date(2026, 5, 1, 22, 0, 0, 0, time.FixedZone("", 7200))
	n1 := node.LaneConfig{Name: "N1", Zone: "main", Direction: syncproto.In}
	s := StatusOf(node.Status{
		Online: true, Age: 2500 * time.Millisecond, Tickets: 9, Unsent: 4, LastSeq: 11, Counts: node.Counts{Admitted: 5},
		Lanes: []node.LaneStatus{{LaneConfig: n1, Ready: true}, {LaneConfig: node.LaneConfig{Name: "N2"}}},
	}, map[string]hardware.Status{"N1": {State: hardware.StateUp, LastReadAt: read, Dropped: hardware.Dropped{Long: 2}}})
	require.InDelta(t, 2.5, *s.CursorAgeS, 1e-9)
	require.Equal(t, Online, s.Central)
	require.Equal(t, int64(5), s.Admitted)
	require.Equal(t, "up", s.Lanes[0].Scanner.State)
	require.Equal(t, uint64(2), s.Lanes[0].Scanner.Dropped.Long)
	require.True(t, s.Lanes[0].Scanner.LastReadAt.Equal(read))
	require.Nil(t, s.Lanes[1].Scanner)

	stream := uuid.New()
	e := syncproto.Entry{Seq: 3, At: read.UnixMilli() + 7, OffsetMS: -7, Kind: syncproto.KindAdmit, Ticket: 42, Lane: "N1", Reason: syncproto.ReasonAdmitted}
	l := LineOf(&e, stream)
	require.Equal(t, "2026-05-01T20:00:00.000Z", l.At)
	require.Equal(t, syncproto.TicketID(stream, 42), *l.TicketID)
	require.Nil(t, LineOf(&syncproto.Entry{Kind: syncproto.KindGenesis}, stream).TicketID)

	id := uuid.New()
	require.Equal(t, &id, VerdictOf(engine.Result{TicketID: id}).TicketID)
	v := VerdictOf(engine.Result{Decision: node.Decision{Decision: node.Deny}, Decide: 1500 * time.Nanosecond})
	require.Nil(t, v.TicketID)
	require.Equal(t, int64(1), v.DecideUS)
}

func TestManyClientsAtOnce(t *testing.T) {
	t.Parallel()
	c, _ := serve(t, t.TempDir(), &gate{status: Status{Gate: "North"}})
	errs := make(chan error, 50)
	for i := range cap(errs) {
		go func() {
			s, err := c.Status(t.Context())
			if err == nil && s.Gate != "North" {
				err = fmt.Errorf("client %d got %q", i, s.Gate)
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
}
