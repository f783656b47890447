package screen

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// retryMS is how long a browser waits before it opens a lost stream again.
const retryMS = 500

// stream sends a lane's answers and the gate's state as server-sent events
// (HTML Living Standard, section 9.2).
func (s *Screen) stream(c echo.Context) error {
	l := s.lane(c)
	if l == nil {
		return c.String(http.StatusNotFound, "no such lane")
	}
	if !s.seats.take() {
		c.Response().Header().Set("Retry-After", "5")
		return c.String(http.StatusServiceUnavailable, "too many pages are open; close one")
	}
	defer s.seats.leave()
	w, missed := l.board.watch(seen(s.boot, c.Request().Header.Get("Last-Event-ID")))
	defer l.board.leave(w)
	h := c.Response().Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	out := &events{rc: http.NewResponseController(c.Response()), w: c.Response(), wait: s.cfg.WriteWait}
	fmt.Fprintf(&out.buf, "retry: %d\n\n", retryMS)
	for i := range missed {
		s.putAnswer(out, missed[i])
	}
	s.putPanel(out, l)
	if err := out.flush(); err != nil {
		return nil // the page is gone, which is no error of ours
	}
	s.pump(c.Request().Context(), l, w, out)
	return nil
}

// pump sends until the page, the gate or the stream's life ends.
func (s *Screen) pump(ctx context.Context, l *lane, w *watcher, out *events) {
	panel, beat := time.NewTicker(s.cfg.PanelEvery), time.NewTicker(s.cfg.Heartbeat)
	defer panel.Stop()
	defer beat.Stop()
	life := time.NewTimer(s.cfg.StreamLife)
	defer life.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.closed.Done():
			return
		case <-life.C:
			return
		case a, ok := <-w.queue:
			if !ok {
				return // cut off: too far behind
			}
			s.putAnswer(out, a)
			s.putPanel(out, l)
		case <-panel.C:
			s.putPanel(out, l)
		case <-beat.C:
			out.buf.WriteString(": beat\n\n")
		}
		if out.flush() != nil {
			return
		}
	}
}

// seen reads the id of the last answer a page had, if it is of this start of
// the gate.
func seen(boot, id string) (uint64, bool) {
	prefix, seq, ok := strings.Cut(id, "-")
	n, err := strconv.ParseUint(seq, 10, 64)
	return n, ok && err == nil && prefix == boot
}

func (s *Screen) putAnswer(out *events, a answer) {
	a.AgeMS = max(0, s.cfg.Now().Sub(a.shown).Milliseconds())
	fmt.Fprintf(&out.buf, "id: %s-%d\n", s.boot, a.seq)
	out.put("answer", a)
}

func (s *Screen) putPanel(out *events, l *lane) {
	p := panelOf(s.cfg.Gate.Status(), l.Lane)
	p.Boot = s.boot
	out.put("panel", p)
}

// events collects what is sent in one write.
type events struct {
	buf  bytes.Buffer
	rc   *http.ResponseController
	w    http.ResponseWriter
	wait time.Duration
}

// put adds an event. JSON has no line breaks, so it is one data line.
func (e *events) put(name string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types of strings and numbers always encode
	}
	fmt.Fprintf(&e.buf, "event: %s\ndata: %s\n\n", name, data)
}

// flush writes within its own time: the server's write time-out is for answers
// that end.
func (e *events) flush() error {
	if err := e.rc.SetWriteDeadline(time.Now().Add(e.wait)); err != nil {
		return fmt.Errorf("lift write deadline: %w", err)
	}
	if _, err := e.w.Write(e.buf.Bytes()); err != nil {
		return err
	}
	e.buf.Reset()
	return e.rc.Flush()
}
