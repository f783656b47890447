package programme

import (
	"fmt"
	"slices"
	"strings"
)

// Status is how far an event has come.
type Status string

// The states of an event. Gates admit while it is published or live.
const (
	Draft     Status = "draft"
	Published Status = "published"
	Live      Status = "live"
	Completed Status = "completed"
)

// Statuses are all states, in the order in which an event goes through them.
func Statuses() []Status { return []Status{Draft, Published, Live, Completed} }

// Valid reports whether s is a state.
func (s Status) Valid() bool { return slices.Contains(Statuses(), s) }

// Admits reports whether gates admit to an event in this state.
func (s Status) Admits() bool { return s == Published || s == Live }

// Steps are the states that an event may go to from s. sold says that there are
// tickets: an event that somebody has a ticket for is no draft again.
func (s Status) Steps(sold bool) []Status {
	switch {
	case s == Draft:
		return []Status{Published}
	case s == Published && sold:
		return []Status{Live}
	case s == Published:
		return []Status{Draft, Live}
	case s == Live:
		return []Status{Completed}
	}
	return nil
}

// StepError means that an event may not go from one state to another.
type StepError struct {
	From, To Status
	Legal    []Status // where it may go
	Sold     bool     // there are tickets, or gates may sell some
}

// Error implements error.
func (e *StepError) Error() string {
	switch {
	case !e.To.Valid():
		return fmt.Sprintf("there is no status %.40q; it is one of %s", string(e.To), listed(Statuses()))
	case e.From == e.To:
		return fmt.Sprintf("the event is %s already", e.From)
	case len(e.Legal) == 0:
		return fmt.Sprintf("the event is %s, and stays so; it cannot become %s", e.From, e.To)
	}
	why := ""
	if e.From == Published && e.To == Draft && e.Sold {
		why = " because there are tickets for it"
	}
	return fmt.Sprintf("the event is %s and cannot become %s%s; it can become %s", e.From, e.To, why, listed(e.Legal))
}

func listed(all []Status) string {
	words := make([]string, len(all))
	for i, s := range all {
		words[i] = string(s)
	}
	return strings.Join(words, " or ")
}

// step is nil for a legal step.
func (s Status) step(to Status, sold bool) error {
	legal := s.Steps(sold)
	if slices.Contains(legal, to) {
		return nil
	}
	return &StepError{From: s, To: to, Legal: legal, Sold: sold}
}
