package screen

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gatehouse/gate/engine"
	"gatehouse/gate/node"
	"gatehouse/hardware"
	"gatehouse/syncproto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const evil = `N1"><script>alert(1)</script>/ä`

var (
	n1    = node.LaneConfig{Name: "N1", Zone: "main", Direction: syncproto.In}
	n2    = node.LaneConfig{Name: "N2", Zone: "main", Direction: syncproto.Out}
	wicke = node.LaneConfig{Name: evil, Zone: "<b>main</b>", Direction: syncproto.In}
	start = time.Date(2026, 5, 1, 20, 0, 0, 0, time.UTC)
)

// gate is a node whose status a test sets.
type gate struct {
	mu sync.Mutex
	s  node.Status
}

func (g *gate) Status() node.Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.s
}

func (g *gate) set(change func(*node.Status)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(&g.s)
}

// clockwork is a clock that moves when it is told to.
type clockwork struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clockwork) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clockwork) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

type scanner hardware.State

func (s scanner) Status() hardware.Status { return hardware.Status{State: hardware.State(s)} }

// bench is a screen on a real server.
type bench struct {
	*Screen
	gate   *gate
	clock  *clockwork
	url    string
	client *http.Client
}

func setup(t *testing.T, change func(*Config)) *bench {
	t.Helper()
	b := &bench{clock: &clockwork{t: start}, gate: &gate{s: node.Status{
		Ready: true, Online: true, Age: 3 * time.Second, Tickets: 50000,
		Lanes: []node.LaneStatus{{LaneConfig: n1, Ready: true}, {LaneConfig: n2, Ready: true}, {LaneConfig: wicke, Ready: true}},
	}}}
	cfg := Config{
		Lanes: []Lane{{LaneConfig: n1, Scanner: scanner(hardware.StateUp)}, {LaneConfig: n2}, {LaneConfig: wicke}},
		Gate:  b.gate, GateName: "North <i>", Now: b.clock.now, Location: time.UTC,
	}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	require.NoError(t, err)
	b.Screen = s
	e := echo.New()
	s.Mount(e)
	srv := httptest.NewUnstartedServer(e)
	srv.Config.WriteTimeout = 200 * time.Millisecond // streams must outlive it
	srv.Config.RegisterOnShutdown(s.Close)
	srv.Start()
	b.url, b.client = srv.URL, srv.Client()
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(func() { s.Close(); srv.Close() })
	return b
}

// reply is what came of a request.
type reply struct {
	code    int
	header  http.Header
	cookies []*http.Cookie
	body    string
}

func (b *bench) do(t *testing.T, req *http.Request) reply {
	t.Helper()
	resp, err := b.client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return reply{resp.StatusCode, resp.Header, resp.Cookies(), string(body)}
}

func (b *bench) get(t *testing.T, path string, cookies ...*http.Cookie) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+path, nil)
	require.NoError(t, err)
	for _, c := range cookies {
		req.AddCookie(c)
	}
	return b.do(t, req)
}

func scan(decision string, reason syncproto.Reason) engine.Result {
	return engine.Result{Decision: node.Decision{Decision: decision, Reason: reason, Known: true}, At: start}
}

func TestListLinksToEveryLane(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	got := b.get(t, "/")
	require.Equal(t, http.StatusOK, got.code)
	require.Contains(t, got.body, `href="/lane/N1"`)
	require.Contains(t, got.body, `href="/lane/`+strings.TrimPrefix(laneURL(evil), "/lane/"))
	require.NotContains(t, got.body, "<script>alert")
	require.NotContains(t, got.body, "<i>")
}

func TestListWithoutLanesSaysWhatToDo(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Lanes = nil })
	got := b.get(t, "/")
	require.Contains(t, got.body, "no lanes")
	require.Contains(t, got.body, "--lane")
}

func TestALaneWithMarkupInItsName(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	r := scan(node.Deny, syncproto.ReasonDuplicate)
	r.Of = node.Use{At: start, Gate: "<u>South</u>", Lane: "<s>S1</s>"}
	b.Show(evil, r)
	got := b.get(t, laneURL(evil))
	require.Equal(t, http.StatusOK, got.code)
	require.Contains(t, got.body, "&lt;script&gt;alert(1)&lt;/script&gt;")
	for _, markup := range []string{"<script>alert", "<b>main", "<u>", "<s>", "<i>"} {
		require.NotContains(t, got.body, markup)
	}
	stream := b.open(t, laneURL(evil)+"/stream", "")
	require.Equal(t, stateRefuse, stream.answer(t).State)
}

func TestAnUnknownLane(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for _, path := range []string{"/lane/S1", "/lane/n1", "/lane/%ff", "/lane/%2e%2e", "/lane/N1%00"} {
		got := b.get(t, path)
		require.Equal(t, http.StatusNotFound, got.code, path)
		require.Contains(t, got.body, "All lanes")
		got = b.get(t, path+"/stream")
		require.Equal(t, http.StatusNotFound, got.code, path)
	}
	b.Show("S1", scan(node.Admit, syncproto.ReasonAdmitted)) // left out, and nothing breaks
}

func TestAPageWithoutJavaScriptShowsTheAnswer(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	got := b.get(t, "/lane/N1")
	require.Contains(t, got.body, `data-state="wait"`)
	require.Contains(t, got.body, `<noscript><meta http-equiv="refresh" content="1"></noscript>`)

	b.Show("N1", scan(node.Admit, syncproto.ReasonAdmitted))
	got = b.get(t, "/lane/N1")
	require.Contains(t, got.body, `data-state="admit"`)
	require.Contains(t, got.body, "ADMIT")
	require.Contains(t, got.body, "Welcome. Let the guest through.")
	require.Contains(t, got.body, "20:00:00")

	b.clock.advance(b.cfg.Hold + refresh - time.Millisecond)
	got = b.get(t, "/lane/N1")
	require.Contains(t, got.body, `data-state="admit"`, "a reload may come this late")
	b.clock.advance(time.Millisecond)
	got = b.get(t, "/lane/N1")
	require.Contains(t, got.body, `data-state="wait"`, "an admission leaves by itself")

	b.Show("N1", scan(node.Deny, syncproto.ReasonUnpaid))
	b.clock.advance(24 * time.Hour)
	got = b.get(t, "/lane/N1")
	require.Contains(t, got.body, `data-state="refuse"`, "a refusal stays")
	got = b.get(t, "/lane/N2")
	require.Contains(t, got.body, `data-state="wait"`, "on its own lane only")
	b.Show("N1", scan(node.Admit, syncproto.ReasonAdmitted))
	got = b.get(t, "/lane/N1")
	require.Contains(t, got.body, `data-state="admit"`, "until the next scan")
}

func TestAProblemOfTheDeviceIsOnTheListAndTheLane(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Lanes[0].Scanner = scanner(hardware.StateAbsent) })
	got := b.get(t, "/")
	require.Contains(t, got.body, "scanner is not connected")
	got = b.get(t, "/lane/N1")
	require.Contains(t, got.body, `data-state="problem"`)
	b.Show("N1", scan(node.Deny, syncproto.ReasonUnpaid))
	got = b.get(t, "/lane/N1")
	require.Contains(t, got.body, `data-state="refuse"`)
	require.Contains(t, got.body, `<p id="problem"><b>Device problem.</b>`, "the refusal does not hide it")
}

func TestHeadersForbidEverythingForeign(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	got := b.get(t, "/lane/N1")
	csp := got.header.Get("Content-Security-Policy")
	require.Contains(t, csp, "default-src 'none'")
	require.NotContains(t, csp, "unsafe")
	require.Equal(t, "no-store", got.header.Get("Cache-Control"))
	require.Equal(t, "nosniff", got.header.Get("X-Content-Type-Options"))
	require.NotContains(t, got.body, "style=")
	require.NotContains(t, got.body, " onclick")
	require.Equal(t, strings.Count(got.body, "<script"), strings.Count(got.body, `<script src="/screen/`))
}

func TestAssetsAreKeptForEverUnderTheirHash(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for _, name := range []string{"lane.js", "screen.css", "icon.svg"} {
		u, err := b.assets.url(name)
		require.NoError(t, err)
		got := b.get(t, u)
		require.Equal(t, http.StatusOK, got.code)
		require.Contains(t, got.header.Get("Cache-Control"), "immutable")
		require.NotEmpty(t, got.body)
		require.NotContains(t, got.header.Get("Content-Type"), "octet-stream")
	}
	for _, path := range []string{"/screen/000000000000/lane.js", "/screen/x/..%2flane.html", "/screen/x/lane.html"} {
		got := b.get(t, path)
		require.Equal(t, http.StatusNotFound, got.code)
	}
	_, err := b.assets.url("absent.js")
	require.Error(t, err)
}

func TestEveryTemplateWithZeroAndFullData(t *testing.T) {
	t.Parallel()
	a, err := newAssets()
	require.NoError(t, err)
	v, err := newViews(a)
	require.NoError(t, err)
	full := view{State: stateRefuse, Word: "REFUSED", Sentence: "<i>", Details: []string{"<i>", "b"}, At: "20:00:00"}
	for name, run := range map[string]func(io.Writer) error{
		"lanes zero": func(w io.Writer) error { return v.lanes.Execute(w, lanesPage{}) },
		"lanes full": func(w io.Writer) error {
			return v.lanes.Execute(w, lanesPage{Gate: "<i>", Lanes: []laneLink{{"<i>", "<i>", "Way in", "/lane/%3Ci%3E", "<i>"}}, Findings: "<i>"})
		},
		"lane zero": func(w io.Writer) error { return v.lane.Execute(w, lanePage{}) },
		"lane full": func(w io.Writer) error {
			return v.lane.Execute(w, lanePage{
				Gate: "<i>", Lane: "<i>", Zone: "<i>", Direction: "Way in", Stream: "/lane/%3Ci%3E/stream", Boot: "b", WatchdogMS: 5000, RefreshS: 1,
				View: full, Panel: panel{"1", true, "3 s", "2", "3", "2 of 2", "<i>", "<i>", "<i>", "b", full},
			})
		},
		"findings zero": func(w io.Writer) error { return v.findings.Execute(w, findingsPage{}) },
		"findings full": func(w io.Writer) error {
			return v.findings.Execute(w, findingsPage{"<i>", 2, []findingView{{1, "<i>", true, "<i>", []string{"<i>"}}}})
		},
		"sign-in zero": func(w io.Writer) error { return v.signIn.Execute(w, signInPage{}) },
		"sign-in full": func(w io.Writer) error { return v.signIn.Execute(w, signInPage{"<i>", `"><i>`, "<i>"}) },
		"message zero": func(w io.Writer) error { return v.message.Execute(w, messagePage{}) },
		"message full": func(w io.Writer) error { return v.message.Execute(w, messagePage{"<i>", "<i>", "<i>"}) },
	} {
		var out strings.Builder
		require.NoError(t, run(&out), name)
		require.Contains(t, out.String(), "</html>", name)
		require.NotContains(t, out.String(), "<i>", name)
		require.NotContains(t, out.String(), "ZgotmplZ", name)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	good := func() Config {
		return Config{Gate: &gate{}, GateName: "North", Now: func() time.Time { return start }, Lanes: []Lane{{LaneConfig: n1}}}
	}
	_, err := New(good())
	require.NoError(t, err)
	for name, spoil := range map[string]func(*Config){
		"no gate":       func(c *Config) { c.Gate = nil },
		"no gate name":  func(c *Config) { c.GateName = "" },
		"no clock":      func(c *Config) { c.Now = nil },
		"two of a name": func(c *Config) { c.Lanes = append(c.Lanes, c.Lanes[0]) },
		"no lane name":  func(c *Config) { c.Lanes[0].Name = "" },
		"dots":          func(c *Config) { c.Lanes[0].Name = ".." },
		"no randomness": func(c *Config) { c.Rand = strings.NewReader("") },
	} {
		c := good()
		spoil(&c)
		_, err := New(c)
		require.Error(t, err, name)
	}
}
