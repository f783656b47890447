package api_test

import (
	"context"
	"errors"
	netmail "net/mail"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"gatehouse/central/notify"
	"gatehouse/central/registration"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

// away is a mail server that nobody reaches, so that letters stay where they are.
type away struct{}

func (away) Dial(context.Context) (notify.Line, error) { return nil, errors.New("away") }

func newLetters(t testing.TB, pool *pgxpool.Pool) *notify.Service {
	t.Helper()
	s, err := notify.New(notify.Config{
		Store: notify.Store{Pool: pool}, Settings: notify.Settings{Sender: away{}, From: netmail.Address{Address: "fair@example.org"}},
		Tickets: func(context.Context, syncproto.EventNo, []syncproto.TicketNo) (notify.Bundle, error) {
			return notify.Bundle{}, nil
		},
	})
	require.NoError(t, err)
	return s
}

func queuedIn(s *notify.Service) func(*pgx.Batch, syncproto.EventNo, []registration.Issued) error {
	return func(batch *pgx.Batch, event syncproto.EventNo, tickets []registration.Issued) error {
		var holders []notify.Holder
		for _, t := range tickets {
			holders = append(holders, notify.Holder(t))
		}
		return s.QueueTickets(batch, event, holders)
	}
}

// lettersTo are the letters to an address, whoever asks.
func (w *town) lettersTo(address string) []notify.Mail {
	w.t.Helper()
	list, err := w.letters.Desk.List(w.t.Context(), notify.Filter{To: address})
	require.NoError(w.t, err)
	return list
}

func TestWhoeverGetsATicketIsWrittenTo(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss, guest := w.as(staff.Admin), w.anybody()
	id, _ := w.fair(boss)
	order := ordered(id, "day")
	order["items"] = []any{map[string]any{"ticket_type": "day"}, map[string]any{"ticket_type": "day", "name": "Bob", "email": "bob@example.com"}}
	made := guest.do("POST", "/orders", order)
	tick := made.ok(201, "data.tickets").([]any)[1].(map[string]any)["id"].(string)
	require.Len(t, w.lettersTo("bob@example.com"), 1)
	require.Len(t, w.lettersTo(made.ok(201, "data.order.email").(string)), 1)

	guest.do("POST", "/orders", map[string]any{"event_id": id, "name": "Eve", "email": "eve@example.com", "items": []any{map[string]any{"ticket_type": "none"}}})
	require.Empty(t, w.lettersTo("eve@example.com"), "there is no ticket")

	boss.do("POST", "/tickets/"+tick+"/transfer", map[string]any{"name": "Cid", "email": "cid@example.com"}).ok(200, "")
	require.Len(t, w.lettersTo("cid@example.com"), 1)
}

func TestLettersAreExportedAndErasedWithTheAccountThatTheyAreOf(t *testing.T) {
	t.Parallel()
	w := setup(t)
	boss := w.as(staff.Admin)
	id, _ := w.fair(boss)
	w.anybody().do("POST", "/attendees/register", map[string]any{"event_id": id, "ticket_type": "day", "name": "Ada", "email": ada}).ok(201, "")
	require.NoError(t, w.letters.Reset(t.Context(), notify.Link{To: ada, Token: "x", Until: time.Now().Add(time.Hour)}))

	// Anybody can make an account of an address that is not his.
	c := w.joins()
	require.Empty(t, c.do("GET", "/account/export", nil).ok(200, "data.letters"))
	c.do("DELETE", "/account", map[string]any{"password": password}).ok(200, "")
	left := w.lettersTo(ada)
	require.Len(t, left, 1)
	require.Equal(t, notify.TicketsReady, left[0].Kind)

	c = w.joins()
	w.anybody().do("POST", "/auth/verify", map[string]any{"token": w.mail.last(t, "verify", ada).Token}).ok(200, "")
	exported := c.do("GET", "/account/export", nil)
	require.Len(t, exported.ok(200, "data.letters"), 1)
	require.Contains(t, exported.Body, "tickets_ready")
	c.do("DELETE", "/account", map[string]any{"password": password}).ok(200, "")
	require.Empty(t, w.lettersTo(ada))
}

// Whether a letter was queued is not to be had from the clock either.
func TestAForgottenPasswordTakesTheSameTimeForEverybody(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.joins()
	for _, email := range []string{ada, "nobody@example.com"} {
		began := time.Now()
		w.anybody().do("POST", "/auth/password/forgot", map[string]any{"email": email}).ok(200, "")
		require.GreaterOrEqual(t, time.Since(began), 300*time.Millisecond, email)
	}
}
