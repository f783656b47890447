package screen

import (
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
)

type findingsPage struct {
	Gate     string
	Count    int
	Findings []findingView
}

// findingView is a finding as staff read it.
type findingView struct {
	Number   int64
	Sentence string
	Noted    bool
	Ticket   string // empty where it is about none
	Sides    []string
}

// findingList serves the list of findings.
type findingList struct {
	cfg  Config
	view *template.Template
}

func (l findingList) show(c echo.Context) error {
	status := l.cfg.Gate.Status()
	page := findingsPage{Gate: l.cfg.GateName, Count: status.FindingsOpen}
	for _, f := range status.Findings {
		page.Findings = append(page.Findings, findingOf(f, l.cfg.Now(), l.cfg.Location))
	}
	return render(c, http.StatusOK, l.view, page)
}

func findingOf(f node.Finding, now time.Time, zone *time.Location) findingView {
	v := findingView{Number: f.ID, Sentence: f.Kind.Sentence(), Noted: f.State == syncproto.FindingNoted}
	if f.Ticket != 0 {
		v.Ticket = fmt.Sprintf("Ticket %d", f.Ticket)
	}
	for i := range f.Sides {
		v.Sides = append(v.Sides, sideOf(&f.Sides[i], f.Gates[i], now, zone))
	}
	return v
}

// sideOf says what one side did, where and when, by the time as its gate knew it.
func sideOf(side *syncproto.FindingSide, gate string, now time.Time, zone *time.Location) string {
	text := "Gate " + gate
	if gate == "" {
		text = "A gate that this one does not know"
	}
	if side.Lane != "" {
		text += ", lane " + side.Lane
	}
	if side.At != 0 {
		text += ", " + clock(time.UnixMilli(side.At+side.OffsetMS), now, zone)
	}
	if side.By != "" {
		text += ", by " + side.By
	}
	return text
}

// findingsText is the marker on a lane's page; empty where there are none.
func findingsText(n int) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "1 thing to look into"
	}
	return grouped(int64(n)) + " things to look into"
}
