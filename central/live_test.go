package central

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/central/api/live"
	"gatehouse/central/checkin"
	"gatehouse/central/pgtest"
	"gatehouse/central/programme"
	"gatehouse/central/registration"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

// watcher reads a live stream.
type watcher struct {
	t    *testing.T
	body io.ReadCloser
	text *bufio.Scanner
}

func (s *serving) watch(t *testing.T, event syncproto.EventNo, token string) *watcher {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("%s/api/v1/events/%d/live", s.url, event), http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.StatusCode)
	t.Cleanup(func() { _ = answer.Body.Close() }) // it may have ended
	return &watcher{t: t, body: answer.Body, text: bufio.NewScanner(answer.Body)}
}

// until reads states until one is as wanted; false where the stream ended before.
func (w *watcher) until(ok func(live.State) bool) bool {
	w.t.Helper()
	for w.text.Scan() {
		text, is := strings.CutPrefix(w.text.Text(), "data: ")
		var state live.State
		if !is {
			continue
		}
		require.NoError(w.t, json.Unmarshal([]byte(text), &state))
		if ok(state) {
			return true
		}
	}
	return false
}

// openFair makes an event that is live, and an account that may read its attendance.
func (s *serving) openFair(t *testing.T) (syncproto.EventNo, string) {
	t.Helper()
	spec, err := programme.Parse(strings.NewReader("name: Fair\nticket_types: [{key: day}]"))
	require.NoError(t, err)
	event, err := s.Programme.Create(t.Context(), spec)
	require.NoError(t, err)
	const password = "correct horse battery staple"
	_, err = s.Staff.Accounts.Create(t.Context(), staff.CommandLine(), staff.NewAccount{
		Email: "boss@example.com", Name: "Boss", Role: staff.Admin, Password: password,
	})
	require.NoError(t, err)
	tokens, err := s.Staff.SignIns.Tokens(t.Context(), staff.Credentials{Email: "boss@example.com", Password: password})
	require.NoError(t, err)
	return event.No, tokens.Access
}

// What happens by one copy of central is seen in the streams of all, and no stream keeps
// central from stopping.
func TestAnAdmissionIsSeenLiveAtEveryCopy(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	one, two := serveOn(t, url), serveOn(t, url)
	event, token := one.openFair(t)
	here, there := one.watch(t, event, token), two.watch(t, event, token)
	got, err := one.Registration.Register(t.Context(), registration.Request{Event: event, Type: "day", Name: "Ada", Email: "ada@example.com"})
	require.NoError(t, err)
	_, err = two.Desk.CheckIn(t.Context(), []checkin.CheckIn{{Code: got.Code}}, "test", "")
	require.NoError(t, err)
	inside := func(s live.State) bool { return s.Attendance.Tickets == 1 && s.Attendance.Inside == 1 }
	require.True(t, here.until(inside))
	require.True(t, there.until(inside))
	_, metrics := one.get(t, "/metrics")
	require.Contains(t, metrics, "gatehouse_live_streams 1")
	one.stop()
	require.False(t, here.until(func(live.State) bool { return false }), "the stream ends")
	require.NoError(t, <-one.served)
	two.stop()
	require.NoError(t, <-two.served)
}

func TestThereAreOnlySoManyLiveStreams(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		limit  func(*ServeConfig)
		status int
		code   string
	}{
		{func(cfg *ServeConfig) { cfg.LiveMax = 1 }, http.StatusServiceUnavailable, "busy"},
		{func(cfg *ServeConfig) { cfg.LiveAddressMax = 1 }, http.StatusTooManyRequests, "rate_limited"},
	} {
		s := serve(t, c.limit)
		event, token := s.openFair(t)
		w := s.watch(t, event, token)
		status, body := s.get(t, fmt.Sprintf("/api/v1/events/%d/live", event))
		require.Equal(t, c.status, status)
		require.Contains(t, body, `"code":"`+c.code+`"`)
		require.NoError(t, w.body.Close())
		require.Eventually(t, func() bool {
			_, metrics := s.get(t, "/metrics")
			return strings.Contains(metrics, "gatehouse_live_streams 0")
		}, patience, 10*time.Millisecond)
		s.watch(t, event, token)
		s.stop()
		require.NoError(t, <-s.served)
	}
}

// Requests have an end; a stream has one of its own.
func TestALiveStreamOutlivesTheLimitsOfRequests(t *testing.T) {
	t.Parallel()
	const limit = 300 * time.Millisecond
	s := serve(t, func(cfg *ServeConfig) {
		cfg.Timeouts = Timeouts{Header: limit, Body: limit, Answer: limit, Idle: limit}
	})
	event, token := s.openFair(t)
	w := s.watch(t, event, token)
	for range 2 {
		dribble(t, s.url, "POST /api/v1/attendees/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 65536\r\n\r\n{") // until it is cut off
	}
	_, err := s.Registration.Register(t.Context(), registration.Request{Event: event, Type: "day", Name: "Ada", Email: "ada@example.com"})
	require.NoError(t, err)
	require.True(t, w.until(func(s live.State) bool { return s.Attendance.Tickets == 1 }))
}
