package web

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// mountProbes puts what machines ask about central on e.
func mountProbes(e *echo.Echo, cfg Config) {
	e.GET("/healthz", func(c echo.Context) error { return c.String(http.StatusOK, "ok\n") })
	e.GET("/readyz", func(c echo.Context) error {
		if err := cfg.Ready(c.Request().Context()); err != nil {
			return echo.NewHTTPError(http.StatusServiceUnavailable, err.Error()).SetInternal(err)
		}
		return c.String(http.StatusOK, "ready\n")
	})
	e.GET("/metrics", echo.WrapHandler(promhttp.HandlerFor(cfg.Registry, promhttp.HandlerOpts{})))
}

// requestMetrics counts and times requests by route, never by path: a path is
// whatever a client likes to send.
type requestMetrics struct {
	seconds *prometheus.HistogramVec
	active  prometheus.Gauge
}

func newRequestMetrics(registry *prometheus.Registry) (*requestMetrics, error) {
	m := &requestMetrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gatehouse_http_request_seconds", Help: "Time that requests took, by route; a long poll waits for up to 25 s.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"method", "route", "status"}),
		active: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatehouse_http_requests_active", Help: "Requests that are being served.",
		}),
	}
	for _, c := range []prometheus.Collector{m.seconds, m.active} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register request metrics: %w", err)
		}
	}
	return m, nil
}

func (m *requestMetrics) middleware(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		began := time.Now()
		m.active.Inc()
		defer m.active.Dec()
		err := next(c)
		route := c.Path()
		if route == "" {
			route = "none"
		}
		m.seconds.WithLabelValues(method(c.Request().Method), route, strconv.Itoa(c.Response().Status)).Observe(time.Since(began).Seconds())
		return err
	}
}

// method bounds the values of a label that clients choose.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}
