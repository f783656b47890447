package control

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
)

func TestNamesAreAskedForThroughTheSocket(t *testing.T) {
	t.Parallel()
	want := Found{More: true, Matches: []Match{{
		TicketID: uuid.New(), Name: "Ada <Lovelace>", Email: "ada@example.org", Reference: "A-1", Notes: "naïve\n", Type: "Day",
		Status: syncproto.StatusPaid, Admissions: 2, Inside: true, Last: &Used{At: time.Unix(9, 0).UTC(), Gate: "North", Lane: "N1"},
	}}}
	g := &gate{found: want}
	c, _ := serve(t, t.TempDir(), g)
	got, err := c.Find(t.Context(), "ada “lov” \x00")
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Equal(t, "ada “lov” \x00", <-g.texts)
	require.NoError(t, c.Unlock(t.Context(), strings.Repeat("\x01", TextBytesMax)))
	require.Equal(t, strings.Repeat("\x01", TextBytesMax), <-g.texts, "at the limit, and as long as JSON can make it")
	require.NoError(t, c.Lock(t.Context()))

	g.err = errors.New("names are locked on this gate")
	for _, err := range []error{c.Lock(t.Context()), c.Unlock(t.Context(), "p")} {
		require.ErrorContains(t, err, "names are locked on this gate")
	}
	require.Equal(t, "p", <-g.texts)
}

func TestLongTextsAreRefusedOnBothSides(t *testing.T) {
	t.Parallel()
	g := &gate{}
	c, _ := serve(t, t.TempDir(), g)
	long := strings.Repeat("x", TextBytesMax+1)
	_, err := c.Find(t.Context(), long)
	require.ErrorIs(t, err, ErrLongText)
	require.ErrorIs(t, c.Unlock(t.Context(), long), ErrLongText)
	for body, status := range map[string]string{
		`{"text":"` + long + `"}`: "longer than", `{"text":"` + strings.Repeat("x", 9*TextBytesMax) + `"}`: "longer than",
		`{"text":1}`: "not JSON", `nonsense`: "not JSON",
	} {
		for _, path := range []string{"/find", "/unlock"} {
			err := c.call(t.Context(), http.MethodPost, path, []byte(body), &struct{}{})
			require.ErrorContains(t, err, status)
		}
	}
	require.Empty(t, g.texts)
}
