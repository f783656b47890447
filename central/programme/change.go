package programme

import (
	"strconv"
	"strings"
)

// Channel is where triggers of the schema tell of every change, by pg_notify, as
// [ParseChange] reads it. Whoever keeps copies of what is read often listens there
// and drops what is named; after a lost connection it drops everything.
const Channel = "programme"

// What a [Change] can be of. Stages count as their venue; sessions, ticket types,
// zones and the line-up as their event.
const (
	KindCategory  = "category"
	KindVenue     = "venue"
	KindPerformer = "performer"
	KindEvent     = "event"
)

// Change names what was made, changed or removed.
type Change struct {
	Kind string
	ID   int64
}

// ParseChange reads a notification. It refuses what it does not know, which may come
// from a newer copy of central: drop everything then.
func ParseChange(payload string) (Change, bool) {
	kind, number, ok := strings.Cut(payload, " ")
	id, err := strconv.ParseInt(number, 10, 64)
	switch kind {
	case KindCategory, KindVenue, KindPerformer, KindEvent:
		return Change{kind, id}, ok && err == nil && id > 0
	}
	return Change{}, false
}
