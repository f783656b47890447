// Package web is what central's surfaces share: one echo with its limits, log,
// metrics and headers, the pages' layout and assets, and the mapping of errors
// to answers.
//
// Pages are html/template, parsed when a surface is made, so that a template
// with a mistake stops the start and not a visitor. Scripts and styles come from
// files of our own only; the content security policy forbids any other.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/prometheus/client_golang/prometheus"
)

// BodyBytesMax is the largest body of any request; surfaces may allow less.
const BodyBytesMax = 1 << 20

// Config says how an echo is set up.
type Config struct {
	// Logger hears of requests. Defaults to slog.Default().
	Logger *slog.Logger
	// Registry collects the metrics of requests. Required.
	Registry *prometheus.Registry
	// TrustedProxies are the networks of proxies whose X-Forwarded-For is believed.
	// Defaults to none: the address of the connection is the client's.
	TrustedProxies []netip.Prefix
	// Secure says that browsers reach central by https: they are told to stay there.
	Secure bool
	// Ready reports why central cannot serve at this moment, nil where it can.
	// Required.
	Ready func(ctx context.Context) error
}

// New returns an echo without surfaces: /healthz, /readyz, /metrics and the
// shared assets are on it.
func New(cfg Config) (*echo.Echo, error) {
	if cfg.Registry == nil || cfg.Ready == nil {
		return nil, errors.New("new web: a registry and a readiness check are required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	requests, err := newRequestMetrics(cfg.Registry)
	if err != nil {
		return nil, err
	}
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.IPExtractor = clientAddress(cfg.TrustedProxies)
	e.HTTPErrorHandler = errorHandler(cfg.Logger)
	e.Use(requests.middleware, logRequests(cfg.Logger), middleware.RecoverWithConfig(middleware.RecoverConfig{
		LogErrorFunc: func(c echo.Context, err error, stack []byte) error {
			cfg.Logger.Error("panic in a request", "route", c.Path(), "error", err, "stack", string(stack))
			return errPanic
		},
	}), bodyLimit(), headers(cfg.Secure))
	mountProbes(e, cfg)
	mountAssets(e)
	return e, nil
}

// clientAddress finds where a request comes from. A header that anyone can write is
// believed of trusted proxies only: the address that the first of them saw.
func clientAddress(trusted []netip.Prefix) echo.IPExtractor {
	if len(trusted) == 0 {
		return echo.ExtractIPDirect()
	}
	options := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, p := range trusted {
		options = append(options, echo.TrustIPRange(&net.IPNet{IP: p.Masked().Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}))
	}
	return echo.ExtractIPFromXFFHeader(options...)
}

// Address is where a request comes from; the zero address where that is not known.
func Address(c echo.Context) netip.Addr {
	addr, err := netip.ParseAddr(c.RealIP())
	if err != nil {
		return netip.Addr{}
	}
	return addr
}

// errPanic stands for a panic that is in the log already.
var errPanic = errors.New("panic in a request")

// bodyLimit bounds bodies, but for those of the API, which has bounds of its own.
func bodyLimit() echo.MiddlewareFunc {
	return middleware.BodyLimitWithConfig(middleware.BodyLimitConfig{
		Limit:   fmt.Sprintf("%dB", BodyBytesMax),
		Skipper: func(c echo.Context) bool { return strings.HasPrefix(c.Request().URL.Path, "/api/") },
	})
}

// secureFor is how long a browser goes to central by https only (RFC 6797).
const secureFor = 365 * 24 * time.Hour

// headers keeps pages to our own scripts and styles and out of frames.
func headers(secure bool) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if secure {
				c.Response().Header().Set("Strict-Transport-Security", fmt.Sprintf("max-age=%d", int(secureFor.Seconds())))
			}
			setHeaders(c.Response().Header())
			return next(c)
		}
	}
}

// policy is the content security policy of pages whose forms go to the source given.
func policy(forms string) string {
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action " + forms + "; frame-ancestors 'none'"
}

// AllowForms lets the forms of a page be sent to central, which those of other pages cannot.
func AllowForms(h http.Header) { h.Set("Content-Security-Policy", policy("'self'")) }

func setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", policy("'none'"))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
}

// logRequests logs a request when it is over: a fault of ours as an error, what
// was answered as it should be for debugging only. What it returns was handled.
func logRequests(logger *slog.Logger) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			began := time.Now()
			err := next(c)
			if err != nil {
				c.Error(err)
			}
			level := slog.LevelDebug
			switch status := c.Response().Status; {
			case errors.Is(err, errPanic), errors.Is(err, context.Canceled): // logged, or nobody's fault
			case status >= http.StatusInternalServerError && err != nil:
				level = slog.LevelError
			case status >= http.StatusBadRequest && err != nil:
				level = slog.LevelInfo
			}
			attrs := []slog.Attr{
				slog.String("method", c.Request().Method), slog.String("path", shownPath(c)),
				slog.Int("status", c.Response().Status), slog.Int64("bytes", c.Response().Size),
				slog.Duration("took", time.Since(began)), slog.String("from", c.RealIP()),
			}
			if err != nil {
				attrs = append(attrs, slog.Any("error", err))
			}
			logger.LogAttrs(c.Request().Context(), level, "request", attrs...)
			return nil
		}
	}
}

// SecretParam names the part of a path that is a secret, such as the link of a ticket: it
// stays out of the log.
const SecretParam = "link"

// shownPath is the path of a request as the log may have it.
func shownPath(c echo.Context) string {
	if c.Param(SecretParam) != "" {
		return c.Path()
	}
	return c.Request().URL.Path
}

// errorHandler answers for an error: the sentence of an [echo.HTTPError], and
// nothing about any other, whose place is the log.
func errorHandler(logger *slog.Logger) echo.HTTPErrorHandler {
	return func(err error, c echo.Context) {
		if c.Response().Committed {
			return
		}
		status, text := http.StatusInternalServerError, ""
		var known *echo.HTTPError
		if errors.As(err, &known) {
			status = known.Code
			if s, ok := known.Message.(string); ok {
				text = s
			}
		}
		if text == "" {
			text = http.StatusText(status)
		}
		if c.Request().Method == http.MethodHead {
			err = c.NoContent(status)
		} else {
			err = c.String(status, strings.TrimSuffix(text, "\n")+"\n")
		}
		if err != nil {
			logger.Debug("answer for an error", "error", err)
		}
	}
}
