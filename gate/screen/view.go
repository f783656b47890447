package screen

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"gatehouse/gate/engine"
	"gatehouse/gate/node"
	"gatehouse/hardware"
	"gatehouse/syncproto"
)

// state is what colour and shape a page has.
type state string

const (
	stateWait    state = "wait"
	stateAdmit   state = "admit"
	stateExit    state = "exit"
	stateAsk     state = "ask"
	stateRefuse  state = "refuse"
	stateProblem state = "problem"
)

func (s state) word() string {
	switch s {
	case stateAdmit:
		return "ADMIT"
	case stateExit:
		return "EXIT"
	case stateRefuse:
		return "REFUSED"
	case stateProblem:
		return "DEVICE PROBLEM"
	case stateAsk:
		return "ASK"
	}
	return "READY"
}

// view fills a page.
type view struct {
	State    state    `json:"state"`
	Word     string   `json:"word"`
	Sentence string   `json:"sentence"`
	Details  []string `json:"details"`
	At       string   `json:"at"` // time of the scan; empty without one
}

// answer is a view of one scan. HoldMS is how long it stays; 0 is until the next.
type answer struct {
	view
	HoldMS int64 `json:"hold_ms"`
	AgeMS  int64 `json:"age_ms"` // when it is sent

	seq   uint64
	shown time.Time
}

// over tells that the answer has left the page, where it stays for more than
// its own time.
func (a *answer) over(now time.Time, more time.Duration) bool {
	return a.HoldMS > 0 && now.Sub(a.shown) >= time.Duration(a.HoldMS)*time.Millisecond+more
}

func answerOf(r engine.Result, cfg Config) answer {
	st, hold := stateOf(r), time.Duration(0)
	switch st {
	case stateAdmit, stateExit:
		hold = cfg.Hold
	case stateAsk:
		hold = cfg.HoldRepeat
	case stateProblem:
		hold = cfg.HoldProblem
	}
	v := view{State: st, Word: st.word(), Sentence: r.Reason.Sentence(), Details: detailsOf(r, cfg.Location), At: clock(r.At, r.At, cfg.Location)}
	if r.Decision.Decision == node.Repeat {
		v.Word = "SAME TICKET"
	}
	return answer{view: v, HoldMS: hold.Milliseconds()}
}

// stateOf chooses the colour. An answer that this version does not know is none
// that opens a lane.
func stateOf(r engine.Result) state {
	if r.Reason == syncproto.ReasonDeviceFault || r.Reason == syncproto.ReasonNotReady {
		return stateProblem
	}
	switch r.Decision.Decision {
	case node.Admit:
		return stateAdmit
	case node.Exit:
		return stateExit
	case node.Deny:
		return stateRefuse
	}
	return stateAsk
}

// detailsOf says what is known beyond the reason: the earlier use in the way of
// this one, which ticket it is, and how certain the answer is.
func detailsOf(r engine.Result, zone *time.Location) []string {
	details := []string{}
	if u := r.Of; r.Decision.Decision == node.Deny && !u.At.IsZero() {
		details = append(details, useOf(r.Reason, u, r.At, zone))
	}
	if r.Reason == syncproto.ReasonHomeGate && r.Of.Gate != "" {
		details = append(details, "Gate "+r.Of.Gate)
	}
	if r.Ticket != 0 {
		text := fmt.Sprintf("Ticket %d", r.Ticket)
		if r.Type != "" {
			text += ", " + r.Type
		}
		details = append(details, text)
	}
	if r.Decision.Decision == node.Admit && !r.Known {
		details = append(details, "Genuine, but not on this gate’s list yet")
	}
	if sure := r.Certainty(); sure != "" && r.Gates > 1 {
		details = append(details, upper(sure))
	}
	return details
}

// upper begins a text as a sentence does.
func upper(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// alarmOf is the answer that a lane shows when another gate let somebody in on a
// ticket that let somebody in here.
func alarmOf(a node.Alarm, now time.Time, cfg Config) answer {
	there := "gate " + a.There.Gate
	if a.There.Lane != "" {
		there += ", lane " + a.There.Lane
	}
	v := view{
		State: stateAsk, Word: "TWO ENTRIES",
		Sentence: "One ticket let two people in. Call a supervisor.",
		Details: []string{
			"Here " + clock(a.Here.At, now, cfg.Location) + ", lane " + a.Here.Lane,
			upper(there) + " " + clock(a.There.At, now, cfg.Location),
			fmt.Sprintf("Ticket %d", a.Ticket),
		},
		At: clock(now, now, cfg.Location),
	}
	return answer{view: v, HoldMS: cfg.HoldAlarm.Milliseconds()}
}

func useOf(reason syncproto.Reason, u node.Use, now time.Time, zone *time.Location) string {
	text := "Last used "
	if reason == syncproto.ReasonDuplicate {
		text = "First used "
	}
	text += clock(u.At, now, zone)
	if u.Gate != "" {
		text += ", gate " + u.Gate
	} else {
		text += ", this gate"
	}
	if u.Lane != "" {
		text += ", lane " + u.Lane
	}
	return text
}

// clock is a time of day, with the day where it is not today.
func clock(t, now time.Time, zone *time.Location) string {
	if t.IsZero() {
		return ""
	}
	t, now = t.In(zone), now.In(zone)
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04:05")
	}
	return t.Format("Mon 2 Jan 15:04:05")
}

// panel is what a lane's page always shows about the gate.
type panel struct {
	Admitted string `json:"admitted"`
	Online   bool   `json:"online"`
	Roster   string `json:"roster"` // age of the roster
	Unsent   string `json:"unsent"`
	Tickets  string `json:"tickets"`
	Gates    string `json:"gates"` // how many of the event's gates are heard
	// Problem is why this lane cannot work; empty when it can.
	Problem string `json:"problem"`
	// Note is what support should know though the lane works.
	Note string `json:"note"`
	// Findings is the marker of what central found and this gate was part of; empty
	// where there is nothing.
	Findings string `json:"findings"`
	// Boot changes when the gate starts anew: the page then loads itself again,
	// because the program may be another.
	Boot string `json:"boot"`
	// Rest is what the page shows while there is no answer.
	Rest view `json:"rest"`
}

func panelOf(s node.Status, l Lane) panel {
	p := panel{
		Admitted: grouped(s.Counts.Admitted), Online: s.Online, Roster: ageOf(s.Age), Unsent: grouped(s.Unsent),
		Tickets: grouped(int64(s.Tickets)), Problem: problemOf(s, l), Note: s.Fault,
		Gates: gatesOf(s), Findings: findingsText(s.FindingsOpen),
	}
	p.Rest = view{State: stateWait, Sentence: "Scan the next ticket.", Details: []string{}}
	if l.Direction == syncproto.Out {
		p.Rest.Sentence = "Scan the ticket of a guest who leaves."
	}
	if p.Problem != "" {
		p.Rest.State, p.Rest.Sentence = stateProblem, p.Problem
	}
	p.Rest.Word = p.Rest.State.word()
	return p
}

// gatesOf says how many of the event's gates are heard, this one included.
func gatesOf(s node.Status) string {
	if all := len(s.Peers) + 1; s.Heard > 1 || all == 1 {
		return fmt.Sprintf("%d of %d", s.Heard, all)
	}
	return "This one only"
}

// problemOf says why a lane cannot work and what staff do then, the most
// thorough reason first.
func problemOf(s node.Status, l Lane) string {
	const elsewhere = " It is not the guest’s fault: use another lane and call support."
	switch {
	case s.Broken:
		return syncproto.ReasonDeviceFault.Sentence()
	case s.Locked:
		return "The organiser has withdrawn this gate." + elsewhere
	case !s.Ready:
		return syncproto.ReasonNotReady.Sentence()
	case !zoneKnown(s, l.Name):
		return "The event has no area named " + strconv.Quote(l.Zone) + ", which this lane leads to." + elsewhere
	case l.Scanner == nil:
		return ""
	}
	switch l.Scanner.Status().State {
	case hardware.StateUp:
		return ""
	case hardware.StateAbsent:
		return "The scanner is not connected. Plug it in, or use another lane."
	case hardware.StateDown:
		return "The scanner does not work. Unplug it and plug it in again, or use another lane."
	}
	return "The scanner is not started yet."
}

func zoneKnown(s node.Status, lane string) bool {
	for _, l := range s.Lanes {
		if l.Name == lane {
			return l.Ready
		}
	}
	return false
}

// ageOf is how long ago something was, as people say it; negative is never.
func ageOf(d time.Duration) string {
	switch {
	case d < 0:
		return "never"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min ago", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days ago", int(d.Hours())/24)
}

// grouped is a number with its thousands apart.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
