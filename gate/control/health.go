package control

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
)

// Health is what monitoring asks a gate. Both fields are required.
type Health struct {
	Status  func(ctx context.Context) (Status, error)
	Metrics *Metrics
}

// bodyMax bounds what anybody may send to a gate's web server.
const bodyMax = "64K"

// Router is a gate's web server: the staff pages that mount adds, and health.
func Router(mount func(*echo.Echo), h Health) http.Handler {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.IPExtractor = echo.ExtractIPDirect()
	e.Use(middleware.Recover(), middleware.BodyLimit(bodyMax))
	mount(e)
	MountHealth(e, h)
	return e
}

type healthReply struct {
	OK      bool     `json:"ok"`
	Reasons []string `json:"reasons"`
}

// MountHealth adds three paths that need no sign-in and hold no personal data:
//
//   - /healthz fails when only a restart helps: the journal is broken, or the
//     gate does not answer.
//   - /readyz fails while every scan would be refused: no roster yet, journal
//     broken, or withdrawn by the organiser. Central being out of reach is not a
//     reason, as a gate admits without it.
//   - /metrics is for Prometheus.
func MountHealth(e *echo.Echo, h Health) {
	e.GET("/healthz", func(c echo.Context) error { return h.answer(c, sick) })
	e.GET("/readyz", func(c echo.Context) error { return h.answer(c, unready) })
	e.GET("/metrics", echo.WrapHandler(h.Metrics.Handler()))
}

func (h Health) answer(c echo.Context, reasons func(Status) []string) error {
	c.Response().Header().Set("Cache-Control", "no-store")
	s, err := h.Status(c.Request().Context())
	if err != nil {
		return c.JSON(http.StatusServiceUnavailable, healthReply{Reasons: []string{"status: " + err.Error()}})
	}
	found := reasons(s)
	if len(found) > 0 {
		return c.JSON(http.StatusServiceUnavailable, healthReply{Reasons: found})
	}
	return c.JSON(http.StatusOK, healthReply{OK: true, Reasons: []string{}})
}

func sick(s Status) []string {
	if s.Broken {
		return []string{"the journal cannot be written; check the disk and restart the gate"}
	}
	return nil
}

func unready(s Status) []string {
	found := sick(s)
	if s.Locked {
		found = append(found, "the organiser withdrew this gate; enrol it again")
	}
	if !s.Ready {
		found = append(found, "there is no roster yet; central must be reachable once")
	}
	return found
}
