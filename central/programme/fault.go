package programme

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"gatehouse/syncproto"
)

var (
	// ErrNotFound is in every error that says that something does not exist.
	ErrNotFound = errors.New("not found")
	// ErrStale is in every [*StaleError].
	ErrStale = errors.New("changed meanwhile")
	// ErrNoEvent means that there is no event of that number. It is an ErrNotFound.
	ErrNoEvent error = &missing{"there is no such event; `central event create` prints the number of the one it makes"}
)

// missing says what does not exist.
type missing struct{ text string }

func (e *missing) Error() string        { return e.text }
func (e *missing) Is(target error) bool { return target == ErrNotFound }

func noSuch(kind string, id int64) error {
	return &missing{fmt.Sprintf("there is no %s %d", kind, id)}
}

// StaleError means that something was changed since the caller read it. It is an
// [ErrStale].
type StaleError struct {
	Kind    string // event, venue, …
	Rev     int64  // what the caller expected
	Current int64  // what it is now
}

// Error implements error.
func (e *StaleError) Error() string {
	return fmt.Sprintf("the %s was changed meanwhile: it has revision %d, not %d; read it again", e.Kind, e.Current, e.Rev)
}

// Is makes it an [ErrStale].
func (e *StaleError) Is(target error) bool { return target == ErrStale }

// Problem is what is wrong with one field.
type Problem struct {
	Field string `json:"field"`
	What  string `json:"what"`
}

// InvalidError lists everything that is wrong with what was to be stored.
type InvalidError struct{ Problems []Problem }

// Error implements error.
func (e *InvalidError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.Field + ": " + p.What
	}
	return strings.Join(lines, "; ")
}

func invalid(field, format string, args ...any) error {
	return &InvalidError{Problems: []Problem{{field, fmt.Sprintf(format, args...)}}}
}

// InUseError means that something cannot be removed, or changed so, because of what
// depends on it.
type InUseError struct {
	Kind string // what was to be removed
	By   string // what depends on it, for people
}

// Error implements error.
func (e *InUseError) Error() string { return fmt.Sprintf("the %s is in use: %s", e.Kind, e.By) }

// SessionRef names a session to people.
type SessionRef struct {
	ID       int64             `json:"id"`
	Event    syncproto.EventNo `json:"event"`
	Title    string            `json:"title"`
	StartsAt time.Time         `json:"starts_at"`
	EndsAt   time.Time         `json:"ends_at"`
}

// Conflict is two sessions that need one stage, or one performer, at one time.
type Conflict struct {
	On      string     `json:"on"` // stage or performer
	ID      int64      `json:"id"` // of the stage or performer
	Name    string     `json:"name"`
	Session SessionRef `json:"session"` // ID 0: the one that was to be stored
	With    SessionRef `json:"with"`
}

// ConflictError means that sessions would overlap on a stage, or a performer would
// be in two places.
type ConflictError struct {
	Sessions  []SessionRef // those in conflict that are stored, each once
	Conflicts []Conflict
}

// newConflictError lists the sessions of conflicts.
func newConflictError(conflicts []Conflict) *ConflictError {
	e := &ConflictError{Conflicts: conflicts}
	seen := map[int64]bool{0: true}
	for _, c := range conflicts {
		for _, s := range []SessionRef{c.Session, c.With} {
			if !seen[s.ID] {
				seen[s.ID] = true
				e.Sessions = append(e.Sessions, s)
			}
		}
	}
	return e
}

// conflictsShown bounds how many conflicts a message spells out.
const conflictsShown = 5

// Error implements error.
func (e *ConflictError) Error() string {
	var parts []string
	for i, c := range e.Conflicts {
		if i == conflictsShown {
			parts = append(parts, fmt.Sprintf("and %d more", len(e.Conflicts)-i))
			break
		}
		parts = append(parts, fmt.Sprintf("%s %q is taken by %q from %s to %s", c.On, c.Name, c.With.Title,
			c.With.StartsAt.Format(time.RFC3339), c.With.EndsAt.Format(time.RFC3339)))
	}
	if len(parts) == 0 {
		return "the stage or a performer is taken at that time"
	}
	return strings.Join(parts, "; ")
}
