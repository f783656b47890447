package central

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"gatehouse/central/fleet"
	"gatehouse/central/gateapi"
	"gatehouse/central/pgtest"
	"gatehouse/central/programme"
	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// patience bounds every wait.
const patience = time.Minute

func open(t *testing.T, url string) *Central {
	t.Helper()
	c, err := Open(t.Context(), Config{DatabaseURL: url, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func TestCopiesOpenOneEmptyDatabaseAtATime(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	var (
		wg       sync.WaitGroup
		centrals = make([]*Central, 4)
	)
	for i := range centrals {
		wg.Go(func() {
			var err error
			if centrals[i], err = Open(t.Context(), Config{DatabaseURL: url, Logger: slog.New(slog.DiscardHandler)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var first uuid.UUID
	for _, c := range centrals {
		require.NotNil(t, c)
		defer c.Close()
		signer, err := c.Keys.Signer(t.Context())
		require.NoError(t, err)
		if first == uuid.Nil {
			first = signer.Central
		}
		require.Equal(t, first, signer.Central)
	}
}

// serving is a central that serves.
type serving struct {
	*Central
	url    string
	stop   context.CancelFunc
	served chan error
}

func serve(t *testing.T, change ...func(*ServeConfig)) *serving {
	t.Helper()
	return serveOn(t, pgtest.URL(t), change...)
}

// serveOn is serve on a database that may have other copies of central.
func serveOn(t *testing.T, url string, change ...func(*ServeConfig)) *serving {
	t.Helper()
	s := &serving{Central: open(t, url), served: make(chan error, 1)}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.url = "http://" + listener.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	s.stop = cancel
	ready := make(chan struct{})
	go func() {
		cfg := ServeConfig{Listener: listener, PublicURL: s.url, OnReady: func() { close(ready) }}
		for _, fn := range change {
			fn(&cfg)
		}
		s.served <- s.Serve(ctx, cfg)
	}()
	t.Cleanup(func() { cancel(); http.DefaultClient.CloseIdleConnections() })
	select {
	case <-ready:
	case err := <-s.served:
		require.Fail(t, "central does not serve", "%v", err)
	}
	return s
}

func (s *serving) get(t *testing.T, path string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(body)
}

// do carries a message of the protocol.
func (s *serving) do(ctx context.Context, req *wire.Request) (*wire.Response, error) {
	r, err := http.NewRequestWithContext(ctx, req.Method, s.url+req.Target, strings.NewReader(string(req.Body)))
	if err != nil {
		return nil, err
	}
	r.Header = req.Header.Clone()
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return &wire.Response{Status: answer.StatusCode, Header: answer.Header, Body: body}, err
}

// enrol makes a gate of a new event and returns its client.
func (s *serving) enrol(t *testing.T) (*wire.Client, syncproto.EnrolReply) {
	t.Helper()
	spec, err := programme.Parse(strings.NewReader("name: Fair\nticket_types: [{key: day}]"))
	require.NoError(t, err)
	event, err := s.Programme.Create(t.Context(), spec)
	require.NoError(t, err)
	token, err := s.Fleet.NewToken(t.Context(), event.No, "North", time.Minute)
	require.NoError(t, err)
	require.Equal(t, s.url, token.URL)
	public, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	_, box, err := syncproto.NewBoxKey()
	require.NoError(t, err)
	var reply syncproto.EnrolReply
	client := func() *wire.Client {
		c, err := wire.NewClient(wire.ClientConfig{
			Do: s.do, Device: reply.Device, Key: key, Central: reply.Trust.Central, Rand: rand.Reader, Now: time.Now,
			Trust: func() *syncproto.TrustBundle { return &reply.Trust },
		})
		require.NoError(t, err)
		return c
	}
	reply, err = client().Enrol(t.Context(), syncproto.EnrolRequest{Token: token.Secret, DeviceKey: public, BoxKey: box, App: "test"}, token.Root)
	require.NoError(t, err)
	return client(), reply
}

func TestServeAnswersOnEverySurface(t *testing.T) {
	t.Parallel()
	s := serve(t)
	client, reply := s.enrol(t)
	_, err := client.Heartbeat(t.Context(), syncproto.HeartbeatRequest{Unsent: 5})
	require.NoError(t, err)
	for path, want := range map[string]string{
		"/": "Fair", "/events/1": "North", "/healthz": "ok", "/readyz": "ready",
		"/metrics": `gatehouse_worker_up{worker="roster"} 1`,
	} {
		status, body := s.get(t, path)
		require.Equal(t, http.StatusOK, status, body)
		require.Contains(t, body, want)
	}
	_, metrics := s.get(t, "/metrics")
	require.Contains(t, metrics, `gatehouse_http_request_seconds_count{method="POST",route="/v1/heartbeat",status="200"} 1`)
	require.Contains(t, metrics, `gatehouse_pushes_total{result="stored"} 0`)
	require.Contains(t, metrics, "gatehouse_roster_unsealed_rows ")
	require.NotEqual(t, uuid.Nil, reply.Device)
	s.stop()
	require.NoError(t, <-s.served)
}

func TestAQuarantineIsSeenAndEnded(t *testing.T) {
	t.Parallel()
	s := serve(t)
	client, reply := s.enrol(t)
	seen := func(metric string, page bool) {
		t.Helper()
		_, metrics := s.get(t, "/metrics")
		require.Contains(t, metrics, "gatehouse_gates_quarantined "+metric+"\n")
		_, body := s.get(t, "/events/1")
		require.Equal(t, page, strings.Contains(body, "quarantined"))
		beat, err := client.Heartbeat(t.Context(), syncproto.HeartbeatRequest{})
		require.NoError(t, err)
		require.Equal(t, page, beat.Quarantined)
	}
	seen("0", false)
	require.NoError(t, s.Fleet.Quarantine(t.Context(), reply.Device, "a test says so"))
	seen("1", true)
	n, err := s.Release(t.Context(), reply.Event, fleet.Which{Name: reply.Name}, "the copy is off")
	require.NoError(t, err)
	require.Zero(t, n)
	seen("0", false)
}

func TestGatesBeginAnewAfterARestore(t *testing.T) {
	t.Parallel()
	s := serve(t)
	client, reply := s.enrol(t)
	page, err := client.Changes(t.Context(), syncproto.ChangesRequest{Stream: reply.Stream})
	require.NoError(t, err)
	require.NoError(t, s.NewEpoch(t.Context()))
	_, err = client.Changes(t.Context(), syncproto.ChangesRequest{Stream: reply.Stream, Cursor: page.Next})
	refusal := syncproto.AsError(err)
	require.NotNil(t, refusal, "%v", err)
	require.Equal(t, []string{string(syncproto.CodeResync), syncproto.ResyncEpoch}, []string{string(refusal.Code), refusal.Reason})
	_, err = client.Manifest(t.Context(), reply.Stream)
	require.NoError(t, err)
}

func TestStopLetsParkedReadersGo(t *testing.T) {
	t.Parallel()
	s := serve(t)
	client, reply := s.enrol(t)
	require.NoError(t, s.Publish(t.Context(), reply.Event))
	page, err := client.Changes(t.Context(), syncproto.ChangesRequest{Stream: reply.Stream})
	require.NoError(t, err)
	for page.To < page.Head {
		page, err = client.Changes(t.Context(), syncproto.ChangesRequest{Stream: reply.Stream, Cursor: page.Next})
		require.NoError(t, err)
	}
	parked := make(chan error, 1)
	go func() {
		_, err := client.Changes(t.Context(), syncproto.ChangesRequest{Stream: reply.Stream, Cursor: page.Next, WaitMS: int(syncproto.WaitMax.Milliseconds())})
		parked <- err
	}()
	require.Eventually(t, func() bool {
		_, metrics := s.get(t, "/metrics")
		return strings.Contains(metrics, "gatehouse_http_requests_active 2\n") // this one, and the parked one
	}, patience, 5*time.Millisecond)
	began := time.Now()
	s.stop()
	require.NoError(t, <-s.served)
	require.Less(t, time.Since(began), stopTimeout, "nobody had to be cut off")
	if err := <-parked; err != nil {
		require.NotNil(t, syncproto.AsError(err), "it was answered: %v", err)
	}
}

func TestReadyTellsWhatIsMissing(t *testing.T) {
	t.Parallel()
	c, err := Open(t.Context(), Config{DatabaseURL: pgtest.URL(t), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	w := &worker{name: "roster"}
	require.ErrorContains(t, c.ready(t.Context(), []*worker{w}), "worker roster is not running")
	w.up.Store(true)
	require.NoError(t, c.ready(t.Context(), []*worker{w}))
	c.Close()
	require.EqualError(t, c.ready(t.Context(), []*worker{w}), "the database does not answer")
}

func TestServeThatCannotListenSaysSo(t *testing.T) {
	t.Parallel()
	c := open(t, pgtest.URL(t))
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	require.ErrorIs(t, c.Serve(t.Context(), ServeConfig{Listener: listener}), net.ErrClosed)
}

func TestWorkerIsStartedAgainWhateverEndsIt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan int)
	runs := 0
	w := &worker{name: "busy", run: func(ctx context.Context) error {
		runs++
		started <- runs
		switch runs {
		case 1:
			return errors.New("no luck")
		case 2:
			panic("bad luck")
		case 3:
			return nil
		}
		<-ctx.Done()
		return nil
	}}
	ended := make(chan struct{})
	go func() { defer close(ended); w.supervise(ctx, slog.New(slog.DiscardHandler)) }()
	for want := 1; want <= 4; want++ {
		require.Equal(t, want, <-started)
	}
	require.True(t, w.up.Load())
	cancel()
	<-ended
	require.False(t, w.up.Load())
}

// journals answer every push alike.
type journals struct {
	gateapi.Journals
	err error
}

func (j *journals) Push(context.Context, uuid.UUID, syncproto.PushRequest) (syncproto.PushReply, error) {
	return syncproto.PushReply{}, j.err
}

func TestPushesAreCountedByResult(t *testing.T) {
	t.Parallel()
	j := &journals{}
	registry := prometheus.NewPedanticRegistry()
	m, err := newMetered(j, registry)
	require.NoError(t, err)
	push := func(err error, entries int) {
		j.err = err
		_, got := m.Push(t.Context(), uuid.New(), syncproto.PushRequest{Entries: make([]syncproto.Entry, entries)})
		require.Equal(t, err, got)
	}
	push(nil, 3)
	push(nil, 4)
	push(syncproto.Errorf(syncproto.CodeFork, "Fork."), 100)
	push(errors.New("disk full"), 100)
	got := map[string]float64{}
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			if metric.GetCounter() == nil {
				continue
			}
			name := f.GetName()
			for _, label := range metric.GetLabel() {
				name += " " + label.GetValue()
			}
			got[name] = metric.GetCounter().GetValue()
		}
	}
	require.Equal(t, map[string]float64{
		"gatehouse_push_entries_total": 7, "gatehouse_pushes_total stored": 2, "gatehouse_pushes_total refused": 1, "gatehouse_pushes_total failed": 1,
	}, got)
}
