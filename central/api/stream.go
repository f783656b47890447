package api

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"gatehouse/central/api/live"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

// Limits of live streams; package live has the others.
const (
	// LiveWriteMax is how long a client may take for one message.
	LiveWriteMax = 10 * time.Second
	// liveFullRetry is when to try again where there are too many.
	liveFullRetry = 30 // seconds
)

// livePath is the route of the operation.
const livePath = Prefix + "/events/:id/live"

// liveOps are the operations of those who watch an event.
type liveOps struct{ s *Server }

// GetEventLive implements StrictServerInterface.
func (o liveOps) GetEventLive(ctx context.Context, r GetEventLiveRequestObject) (GetEventLiveResponseObject, error) {
	who, event := staff.FromContext(ctx), syncproto.EventNo(r.Id)
	of := live.Topic{Event: event, Counts: who.May(staff.AttendanceRead, event), Drafts: who.May(staff.EventWrite, event)}
	stream, err := o.s.cfg.Live.Join(ctx, of, site(who.Origin.Address))
	if err != nil {
		return nil, err
	}
	return liveAnswer{ctx: ctx, stream: stream, has: orElse(r.Params.LastEventID, ""), writeMax: o.s.cfg.LiveWriteMax}, nil
}

// ofLive says why there is no stream.
func ofLive(err error) *Refusal {
	var r *Refusal
	switch {
	case errors.Is(err, live.ErrGone):
		return refuse(http.StatusNotFound, CodeNotFound, "There is no such event.")
	case errors.Is(err, live.ErrTooMany):
		r = refuse(http.StatusTooManyRequests, CodeRateLimited, "%s.", sentence(err.Error()))
	case errors.Is(err, live.ErrFull), errors.Is(err, live.ErrClosed):
		r = refuse(http.StatusServiceUnavailable, CodeBusy, "%s.", sentence(err.Error()))
	default:
		return nil
	}
	r.Header = retryAfter(liveFullRetry)
	return r
}

// liveAnswer sends a stream's messages until either side has enough of it.
type liveAnswer struct {
	ctx      context.Context //nolint:containedctx // the generated interface hands it over nowhere else
	stream   *live.Stream
	has      string // id of the message that the client has
	writeMax time.Duration
}

// VisitGetEventLiveResponse implements GetEventLiveResponseObject. It returns nil where the
// client has gone, or did not take a message in time: what was begun cannot be refused.
func (a liveAnswer) VisitGetEventLiveResponse(w http.ResponseWriter) error {
	h := w.Header()
	h.Set(echo.HeaderContentType, "text/event-stream")
	h.Set(echo.HeaderCacheControl, "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would keep messages until it has a page of them
	control := http.NewResponseController(w)
	if conn, _, err := control.Hijack(); err == nil {
		a.takeOver(conn, h)
		return nil
	}
	// Of HTTP/2 a connection carries other requests too.
	defer a.stream.Leave()
	w.WriteHeader(http.StatusOK)
	pump(a.stream, a.first(), a.ctx.Done(), func(text []byte) error {
		if err := control.SetWriteDeadline(time.Now().Add(a.writeMax)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
		return control.Flush()
	})
	return nil
}

// first is what a client is told before anything else: when to come again, and the state,
// unless he has it.
func (a liveAnswer) first() []byte {
	text := []byte("retry: " + strconv.FormatInt(a.stream.Again().Milliseconds(), 10) + "\n\n")
	if m := <-a.stream.Next(); m.ID != a.has {
		text = append(text, m.Text...)
	}
	return text
}

// takeOver goes on with the connection alone. A stream that waits in the handler keeps
// net/http's buffers, and the stack of all that the request came through: three times as
// much as all the rest of it.
func (a liveAnswer) takeOver(conn net.Conn, h http.Header) {
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	h.Set("Connection", "close") // ends the answer, which has no length (RFC 9112, 6.3)
	var head bytes.Buffer
	head.WriteString("HTTP/1.1 200 OK\r\n")
	_ = h.Write(&head) // a buffer takes everything
	head.WriteString("\r\n")
	head.Write(a.first())
	stream, writeMax, gone := a.stream, a.writeMax, make(chan struct{})
	_ = conn.SetDeadline(time.Time{}) // the server's is for requests; where it stays, the stream ends early
	go func() {
		defer close(gone)
		_, _ = conn.Read(make([]byte, 1)) // a client has nothing to say, so this is his end
	}()
	go func() {
		defer stream.Leave()
		defer conn.Close() //nolint:errcheck // nobody is there to hear of it
		pump(stream, head.Bytes(), gone, func(text []byte) error {
			if err := conn.SetWriteDeadline(time.Now().Add(writeMax)); err != nil {
				return err
			}
			_, err := conn.Write(text)
			return err
		})
	}()
}

// pump sends what a stream has until it is over, its client is gone, or does not take it.
func pump(s *live.Stream, first []byte, gone <-chan struct{}, send func([]byte) error) {
	err := send(first)
	for err == nil {
		select {
		case m := <-s.Next():
			err = send(m.Text)
		case <-s.Done():
			return
		case <-gone:
			return
		}
	}
}
