package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/labstack/echo/v4"

	"gatehouse/central/replay"
	"gatehouse/central/staff"
)

// idempotencyKey is the header whose key has a request done once.
const idempotencyKey = "Idempotency-Key"

// takesKey reports whether the document has an operation take a key that is looked
// after here. Check-ins are remembered where they are made, in their own transaction.
func (s *Server) takesKey(c echo.Context) (operation string, ok bool) {
	route := s.operations[c.Request().Method+" "+c.Path()]
	if route == nil || s.accesses[route.Operation.OperationID].need == staff.CheckinWrite {
		return "", false
	}
	for _, p := range route.Operation.Parameters {
		if p.Value.Name == idempotencyKey {
			return route.Operation.OperationID, true
		}
	}
	return "", false
}

// once has a request with a key done once, and answers it the same again.
func (s *Server) once(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		key := c.Request().Header.Get(idempotencyKey)
		operation, ok := s.takesKey(c)
		if key == "" || !ok {
			return next(c)
		}
		body, err := io.ReadAll(c.Request().Body)
		if err != nil {
			return err
		}
		req := replay.Request{
			Who: keyOwner(staff.FromContext(c.Request().Context())), What: operation, Key: key,
			Content: append([]byte(c.Request().URL.Path+"\n"+c.Request().Header.Get("If-Match")+"\n"), body...),
		}
		answer, err := s.cfg.Replay.Once(c.Request().Context(), req, func(context.Context) (replay.Answer, error) {
			c.Request().Body = io.NopCloser(bytes.NewReader(body))
			return record(c, next)
		})
		if err != nil {
			return err
		}
		if answer.ETag != "" {
			c.Response().Header().Set("ETag", answer.ETag)
		}
		return c.Blob(answer.Status, echo.MIMEApplicationJSON, answer.Body)
	}
}

// keyOwner is whose keys they are: an account's or an API key's, or those of visitors
// at one address, who also have to send the very same request.
func keyOwner(who staff.Principal) string {
	if who.Kind == "" {
		return "visitor " + site(who.Origin.Address)
	}
	return fmt.Sprintf("%s %s", who.Kind, who.ID)
}

// recorder keeps what a handler answers.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

// record runs a handler and returns its answer, a refusal included. A fault of
// central's own stays an error.
func record(c echo.Context, next echo.HandlerFunc) (replay.Answer, error) {
	res, rec := c.Response(), &recorder{header: http.Header{}, status: http.StatusOK}
	out := res.Writer
	res.Writer = rec
	err := next(c)
	res.Writer, res.Committed, res.Size, res.Status = out, false, 0, http.StatusOK
	if err == nil {
		return replay.Answer{Status: rec.status, ETag: rec.header.Get("ETag"), Body: rec.body.Bytes()}, nil
	}
	r := refusalOf(err, translate)
	if r.Status >= http.StatusInternalServerError || len(r.Header) > 0 && r.Header.Get("Etag") == "" {
		return replay.Answer{}, err // to be sent again, at once or later
	}
	body, marshalErr := json.Marshal(r.problem())
	return replay.Answer{Status: r.Status, ETag: r.Header.Get("Etag"), Body: body}, marshalErr
}

func ofReplay(err error) *Refusal {
	switch {
	case errors.Is(err, replay.ErrReused):
		return refuse(http.StatusUnprocessableEntity, CodeKeyReused, "%s", sentence(replay.ErrReused.Error()))
	case errors.Is(err, replay.ErrUnderWay), errors.Is(err, replay.ErrBrokenOff):
		r := refuse(http.StatusConflict, CodeConflict, "%s", sentence(root(err).Error()))
		if errors.Is(err, replay.ErrUnderWay) {
			r.Header = retryAfter(1)
		}
		return r
	}
	return nil
}
