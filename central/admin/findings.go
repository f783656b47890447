package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/labstack/echo/v4"

	"gatehouse/central/finding"
	"gatehouse/central/programme"
	"gatehouse/syncproto"
)

// findingsMax is how many findings the page shows; the newest of those that are
// least dealt with.
const findingsMax = 200

// Findings lists what is wrong.
type Findings interface {
	List(ctx context.Context, event syncproto.EventNo, max int) (finding.List, error)
}

// findingsPage is the data of findings.html.
type findingsPage struct {
	Event programme.Event
	Now   time.Time
	List  finding.List
}

// Total is how many findings there are.
func (p findingsPage) Total() int { return p.List.Open + p.List.Noted + p.List.Closed }

func (c *Console) showFindings(ctx echo.Context) error {
	page, err := c.findingsOf(ctx)
	if err != nil {
		return err
	}
	return c.findings.Render(ctx, page)
}

// showFindingList is the part of the page that is fetched again and again.
func (c *Console) showFindingList(ctx echo.Context) error {
	page, err := c.findingsOf(ctx)
	if err != nil {
		return err
	}
	return c.findings.Fragment(ctx, "list", page)
}

func (c *Console) findingsOf(ctx echo.Context) (findingsPage, error) {
	event, err := c.eventOf(ctx)
	if err != nil {
		return findingsPage{}, err
	}
	list, err := c.cfg.Findings.List(ctx.Request().Context(), event.No, findingsMax)
	if err != nil {
		return findingsPage{}, fmt.Errorf("findings of event %d: %w", event.No, err)
	}
	return findingsPage{Event: event, Now: c.cfg.Now(), List: list}, nil
}
