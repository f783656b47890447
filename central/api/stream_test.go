package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/central/api"
	"gatehouse/central/api/live"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

// told is the one message of an answer: its id, and the state, which has to be one that the
// document has.
func (a answer) told() (id string, state map[string]any) {
	a.t.Helper()
	require.Equal(a.t, 200, a.Status, a.Body)
	require.Equal(a.t, "text/event-stream", a.Header.Get("Content-Type"))
	require.Equal(a.t, "no-store", a.Header.Get("Cache-Control"))
	require.Equal(a.t, "no", a.Header.Get("X-Accel-Buffering"))
	require.Empty(a.t, a.Header.Get("Content-Encoding"))
	_, rest, ok := strings.Cut(a.Body, "\nid: ")
	require.True(a.t, ok, a.Body)
	id, rest, ok = strings.Cut(rest, "\ndata: ")
	require.True(a.t, ok, a.Body)
	var body any
	require.NoError(a.t, json.Unmarshal([]byte(rest), &body))
	doc, err := api.Document(a.t.Context())
	require.NoError(a.t, err)
	require.NoError(a.t, doc.Components.Schemas["LiveState"].Value.VisitJSON(body))
	return id, body.(map[string]any)
}

func TestALiveStreamTellsAnybodyWhetherThereAreTickets(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id, path := w.fair(w.as(staff.Admin))
	tag, state := w.anybody().do("GET", path+"/live", nil, "Accept-Encoding", "gzip, zstd").told()
	require.Equal(t, map[string]any{"event_id": float64(id), "status": "published", "rev": state["rev"], "ticket_types": []any{
		map[string]any{"key": "day", "sold_out": false}, map[string]any{"key": "vip", "sold_out": false},
	}}, state)
	same := w.anybody().do("GET", path+"/live", nil, "Last-Event-ID", tag)
	require.NotContains(t, same.Body, "data:", "who has it is not told again")
	require.Contains(t, same.Body, "retry: ")
	for range 2 {
		w.anybody().do("POST", "/attendees/register", wants(id, "day")).ok(201, "")
	}
	next, state := w.anybody().do("GET", path+"/live", nil, "Last-Event-ID", tag).told()
	require.NotEqual(t, tag, next)
	require.Equal(t, map[string]any{"key": "day", "sold_out": true}, state["ticket_types"].([]any)[0])
}

func TestALiveStreamTellsTheCountsToThoseWhoMayReadThem(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	id, path := w.fair(boss)
	code := w.anybody().do("POST", "/attendees/register", wants(id, "day")).ok(201, "data.ticket.code")
	boss.do("POST", path+"/status", map[string]any{"status": "live"}).ok(200, "")
	boss.do("POST", "/attendees/checkin", map[string]any{"code": code}).ok(200, "")
	boss.do("POST", "/attendees/checkin", map[string]any{"code": code}).ok(200, "")
	gates := w.as(staff.GateStaff, syncproto.EventNo(id))
	other, _ := w.fair(boss)
	_, state := gates.do("GET", path+"/live", nil).told()
	require.Equal(t, map[string]any{
		"tickets": 1.0, "admitted": 1.0, "inside": 1.0, "zones": map[string]any{}, "denied": 1.0, "denied_by_reason": map[string]any{"duplicate": 1.0},
	}, state["attendance"])
	require.InDelta(t, 1, state["ticket_types"].([]any)[0].(map[string]any)["left"], 0)
	for name, c := range map[string]client{"staff of another event": w.as(staff.GateStaff, syncproto.EventNo(other)), "an attendee": w.as(staff.Attendee)} {
		_, state := c.do("GET", path+"/live", nil).told()
		require.NotContains(t, state, "attendance", name)
	}
}

func TestALiveStreamOfADraftIsForThoseWhoPlanIt(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	path := fmt.Sprintf("/events/%v/live", boss.do("POST", "/events", map[string]any{"title": "Draft"}).ok(201, "data.id"))
	_, state := boss.do("GET", path, nil).told()
	require.Equal(t, "draft", state["status"])
	w.anybody().do("GET", path, nil).refused(404, api.CodeNotFound)
	w.anybody().do("GET", "/events/999/live", nil).refused(404, api.CodeNotFound)
}

// steady is an event of which nothing changes.
type steady struct{}

func (steady) Marks(context.Context, []syncproto.EventNo) (map[syncproto.EventNo]string, error) {
	return map[syncproto.EventNo]string{}, nil
}

func (steady) State(context.Context, live.Topic) (live.State, error) { return live.State{}, nil }

// pipes is a listener whose connections hold nothing that was not read.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// A client who does not take what he is sent is dropped, and his place is free again.
func TestAClientWhoDoesNotReadIsDropped(t *testing.T) {
	t.Parallel()
	hub, err := live.New(live.Config{Source: steady{}})
	require.NoError(t, err)
	w := setup(t, func(cfg *api.Config) { cfg.Live, cfg.LiveWriteMax = hub, 50*time.Millisecond })
	listener := make(pipes)
	server := &http.Server{Handler: w.handler, ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	here, there := net.Pipe()
	listener <- there
	_, err = io.WriteString(here, "GET /api/v1/events/1/live HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return hub.Streams() == 1 }, time.Minute, time.Millisecond)
	require.Eventually(t, func() bool { return hub.Streams() == 0 }, time.Minute, time.Millisecond)
	close(listener)
	require.NoError(t, errors.Join(server.Close(), here.Close()))
	serving.Wait()
}

// Of HTTP/1 a stream has the connection for itself, of HTTP/2 it shares it.
func TestALiveStreamIsToldOverEitherHTTP(t *testing.T) {
	t.Parallel()
	for _, major := range []int{1, 2} {
		hub, err := live.New(live.Config{Source: steady{}})
		require.NoError(t, err)
		w := setup(t, func(cfg *api.Config) { cfg.Live = hub })
		server := httptest.NewUnstartedServer(w.handler)
		server.EnableHTTP2 = major == 2
		server.StartTLS()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/api/v1/events/1/live", http.NoBody)
		require.NoError(t, err)
		res, err := server.Client().Do(req)
		require.NoError(t, err)
		require.Equal(t, major, res.ProtoMajor)
		require.Equal(t, http.StatusOK, res.StatusCode)
		require.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
		require.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"))
		require.NotEmpty(t, res.Header.Get("Date"))
		first := make([]byte, 7)
		_, err = io.ReadFull(res.Body, first)
		require.NoError(t, err)
		require.Equal(t, "retry: ", string(first))
		require.Equal(t, 1, hub.Streams())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, hub.Run(ctx), "it ends the stream")
		_, err = io.ReadAll(res.Body)
		require.NoError(t, errors.Join(err, res.Body.Close()))
		require.Zero(t, hub.Streams())
		server.Close()
	}
}
