package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"
)

// Code names what is wrong, for programs. The list only grows.
type Code string

// The codes.
const (
	CodeBadRequest      Code = "bad_request"     // not what the document asks for
	CodeInvalid         Code = "invalid"         // a field is not acceptable
	CodeUnauthenticated Code = "unauthenticated" // nobody is signed in, or not any more
	CodeCredentials     Code = "bad_credentials" // e-mail address, password or code are wrong
	CodeFactorRequired  Code = "factor_required" // the second factor is missing
	CodeLocked          Code = "locked"          // too many wrong tries
	CodeForbidden       Code = "forbidden"       // the account may not do that
	CodeNotFound        Code = "not_found"       // there is no such thing
	CodeMethod          Code = "method_not_allowed"
	CodeConflict        Code = "conflict"         // it contradicts what is there
	CodeStale           Code = "stale"            // changed since it was read
	CodeIllegalStep     Code = "illegal_step"     // the workflow has no such step
	CodeInUse           Code = "in_use"           // something depends on it
	CodeSessionConflict Code = "session_conflict" // a stage or a performer is taken
	CodeSoldOut         Code = "sold_out"         // not as many tickets are left
	CodeNotOnSale       Code = "not_on_sale"      // not now, or not of this event
	CodePaymentRequired Code = "payment_required" // the ticket type costs something
	CodeKeyReused       Code = "key_reused"       // an Idempotency-Key came with another request
	CodeTooLarge        Code = "too_large"
	CodeMediaType       Code = "unsupported_media_type"
	CodeRateLimited     Code = "rate_limited"
	CodeBusy            Code = "busy"     // try again in a moment
	CodeInternal        Code = "internal" // a fault of central's own
)

// Refusal is an answer that says no. It is an error; its message is for people.
type Refusal struct {
	Status  int
	Code    Code
	Message string
	Fields  map[string]string
	Header  http.Header // beside the body; may be nil
}

// Error implements error.
func (r *Refusal) Error() string { return r.Message }

func refuse(status int, code Code, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// field names what is wrong with a part of the request.
func (r *Refusal) field(name, what string) *Refusal {
	r.add(name, what)
	return r
}

func (r *Refusal) add(name, what string) {
	if r.Fields == nil {
		r.Fields = map[string]string{}
	}
	r.Fields[name] = what
}

// problem is the body of a refusal.
func (r *Refusal) problem() Problem {
	p := Problem{Message: r.Message}
	p.Error.Code = string(r.Code)
	if len(r.Fields) > 0 {
		p.Error.Fields = &r.Fields
	}
	return p
}

// envelope turns every error of a request into a refusal in its envelope. What is
// nobody's mistake but central's is logged, and its message says nothing of it.
func envelope(logger *slog.Logger, translate func(error) *Refusal) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			err := next(c)
			if err == nil || c.Response().Committed {
				return err
			}
			r := refusalOf(err, translate)
			if r.Status >= http.StatusInternalServerError && !errors.Is(err, context.Canceled) {
				logger.Error("request failed", "operation", c.Path(), "method", c.Request().Method, "error", err)
			}
			for name, values := range r.Header {
				c.Response().Header()[name] = values
			}
			return c.JSON(r.Status, r.problem())
		}
	}
}

// refusalOf finds out what an error means to the caller.
func refusalOf(err error, translate func(error) *Refusal) *Refusal {
	if r := (*Refusal)(nil); errors.As(err, &r) {
		return r
	}
	if r := translate(err); r != nil {
		return r
	}
	if he := (*echo.HTTPError)(nil); errors.As(err, &he) {
		return ofHTTP(he)
	}
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return refuse(http.StatusRequestEntityTooLarge, CodeTooLarge, "The request is larger than %d bytes.", tooLarge.Limit)
	}
	return refuse(http.StatusInternalServerError, CodeInternal, "Something went wrong at central. Try again; if it stays so, tell the organiser.")
}

func ofHTTP(e *echo.HTTPError) *Refusal {
	switch e.Code {
	case http.StatusNotFound:
		return refuse(e.Code, CodeNotFound, "There is nothing at this path.")
	case http.StatusMethodNotAllowed:
		return refuse(e.Code, CodeMethod, "This path does not take that method.")
	case http.StatusRequestEntityTooLarge:
		return refuse(e.Code, CodeTooLarge, "The request is too large.")
	case http.StatusUnsupportedMediaType:
		return refuse(e.Code, CodeMediaType, "The body has to be application/json.")
	case http.StatusServiceUnavailable:
		return refuse(e.Code, CodeBusy, "Central cannot answer at this moment.")
	}
	if e.Code >= http.StatusInternalServerError {
		return refuse(http.StatusInternalServerError, CodeInternal, "Something went wrong at central. Try again; if it stays so, tell the organiser.")
	}
	return refuse(http.StatusBadRequest, CodeBadRequest, "The request is not as it should be: %v.", e.Message)
}

// retryAfter is a header of a refusal that says when to come again.
func retryAfter(seconds int) http.Header {
	return http.Header{"Retry-After": {strconv.Itoa(max(seconds, 1))}}
}
