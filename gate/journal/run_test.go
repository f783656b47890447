package journal

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNobodyWhoFoundThePenTakenIsLeftBehind(t *testing.T) {
	t.Parallel()
	p := &pen{q: &queue{wake: make(chan struct{}, 1)}}
	p.Lock() // housekeeping that has looked at the queue already
	p.q.entries = append(p.q.entries, &Pending{})
	p.lead() // a lane that waits for its entry
	require.Empty(t, p.q.wake)
	p.putDown()
	require.Len(t, p.q.wake, 1, "the journal's goroutine has to look again, and not only at its next tick")
}

func TestAnEmptyQueueWakesNobody(t *testing.T) {
	t.Parallel()
	p := &pen{q: &queue{wake: make(chan struct{}, 1)}}
	p.Lock()
	p.putDown()
	require.Empty(t, p.q.wake)
}
