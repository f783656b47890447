package api

import (
	"context"
	"errors"
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
	defer a.stream.Leave()
	h := w.Header()
	h.Set(echo.HeaderContentType, "text/event-stream")
	h.Set(echo.HeaderCacheControl, "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would keep messages until it has a page of them
	w.WriteHeader(http.StatusOK)
	out := liveWriter{w: w, control: http.NewResponseController(w), most: a.writeMax}
	first := "retry: " + strconv.FormatInt(a.stream.Again().Milliseconds(), 10) + "\n\n"
	if m := <-a.stream.Next(); m.ID != a.has {
		first += string(m.Text)
	}
	if out.write([]byte(first)) != nil {
		return nil
	}
	for {
		select {
		case m := <-a.stream.Next():
			if out.write(m.Text) != nil {
				return nil
			}
		case <-a.stream.Done():
			return nil
		case <-a.ctx.Done():
			return nil
		}
	}
}

// liveWriter sends a message at once, or gives up.
type liveWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	most    time.Duration
}

// write has a deadline of its own: the server's is for requests that are over soon.
func (o *liveWriter) write(text []byte) error {
	if err := o.control.SetWriteDeadline(time.Now().Add(o.most)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := o.w.Write(text); err != nil {
		return err
	}
	return o.control.Flush()
}
