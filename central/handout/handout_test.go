package handout_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"strings"
	"sync"
	"testing"
	"time"

	ical "github.com/emersion/go-ical"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"gatehouse/central/fleet"
	"gatehouse/central/handout"
	"gatehouse/central/pass"
	"gatehouse/central/pgtest"
	"gatehouse/central/programme"
	"gatehouse/central/roster"
	"gatehouse/central/ticket"
	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const eventFile = `
name: Northern Lights
timezone: Europe/Berlin
starts_at: 2026-07-01T16:00
ends_at: 2026-07-04T22:00
venue: {name: Old Airfield, capacity: 5000}
zones: [main]
ticket_types:
  - {key: day, name: Day ticket}
`

// town is an event with two tickets.
type town struct {
	*handout.Service
	pool    *pgxpool.Pool
	prog    *programme.Service
	tickets *ticket.Service
	event   programme.Event
	codes   []string
	numbers []syncproto.TicketNo
}

func setup(t *testing.T, change ...func(*handout.Config)) *town {
	t.Helper()
	w := &town{pool: pgtest.New(t)}
	var err error
	w.prog, err = programme.New(programme.Config{Pool: w.pool, CreateStream: roster.CreateStream})
	require.NoError(t, err)
	keys, err := fleet.NewKeys(fleet.KeysConfig{Pool: w.pool})
	require.NoError(t, err)
	require.NoError(t, keys.Prepare(t.Context()))
	w.tickets, err = ticket.New(ticket.Config{Pool: w.pool, Programme: w.prog, Keys: keys})
	require.NoError(t, err)
	spec, err := programme.Parse(strings.NewReader(eventFile))
	require.NoError(t, err)
	w.event, err = w.prog.Create(t.Context(), spec)
	require.NoError(t, err)
	made, err := ticket.NewIssuer(w.tickets).Prepare(t.Context(), w.event.No, []ticket.Wanted{
		{Type: "day", Status: syncproto.StatusPaid, Name: "Ada Lovelace", Email: "ada@example.com"},
		{Type: "day", Status: syncproto.StatusPaid, Name: "محمد", Email: "m@example.com"},
	})
	require.NoError(t, err)
	require.NoError(t, pgx.BeginFunc(t.Context(), w.pool, func(tx pgx.Tx) error {
		if err := ticket.Insert(t.Context(), tx, time.Now(), made); err != nil {
			return err
		}
		return ticket.Take(t.Context(), tx, w.event.No, ticket.PlacesOf(made))
	}))
	for _, m := range made {
		w.codes, w.numbers = append(w.codes, m.Code), append(w.numbers, m.Number)
	}
	w.Service = w.service(t, change...)
	return w
}

// service is one of a copy of central.
func (w *town) service(t *testing.T, change ...func(*handout.Config)) *handout.Service {
	t.Helper()
	cfg := handout.Config{Pool: w.pool, Programme: w.prog, Tickets: w.tickets, URL: "https://tickets.example"}
	for _, fn := range change {
		fn(&cfg)
	}
	s, err := handout.New(cfg)
	require.NoError(t, err)
	return s
}

func (w *town) first(t *testing.T) handout.Ticket {
	t.Helper()
	all, err := w.Tickets(t.Context(), w.event.No, w.numbers[:1])
	require.NoError(t, err)
	require.Len(t, all, 1)
	return all[0]
}

func linkOf(t *testing.T, page string) string {
	t.Helper()
	link, ok := strings.CutPrefix(page, "https://tickets.example/tickets/")
	require.True(t, ok, page)
	return link
}

func TestALinkOpensItsTicket(t *testing.T) {
	t.Parallel()
	w := setup(t)
	tk := w.first(t)
	require.Equal(t, "Ada Lovelace", tk.Holder)
	require.Equal(t, "Day ticket", tk.Type)
	require.Equal(t, w.codes[0], tk.Code)
	require.Equal(t, w.event.No, tk.No())
	again, err := w.Open(t.Context(), linkOf(t, tk.Page))
	require.NoError(t, err)
	require.Equal(t, tk, again)
	short, err := w.Link(t.Context(), tk.ID, tk.Issue)
	require.NoError(t, err)
	require.Equal(t, tk.Page, short)
	for _, bad := range []string{"", "x", linkOf(t, tk.Page)[1:], strings.Repeat("A", 46)} {
		_, err := w.Open(t.Context(), bad)
		require.ErrorIs(t, err, handout.ErrLink, bad)
	}
}

func TestCopiesOfCentralMakeTheSameLinks(t *testing.T) {
	t.Parallel()
	w := setup(t)
	copies := make([]*handout.Service, 8)
	for i := range copies {
		copies[i] = w.service(t)
	}
	pages := make([]string, len(copies))
	var wait sync.WaitGroup
	for i, s := range copies {
		wait.Go(func() {
			all, err := s.Tickets(t.Context(), w.event.No, w.numbers)
			if err != nil || len(all) != 2 {
				t.Error(err)
				return
			}
			pages[i] = all[0].Page
		})
	}
	wait.Wait()
	for _, page := range pages {
		require.Equal(t, pages[0], page)
	}
}

func TestAHandedTicketOpensByItsNewLinkOnly(t *testing.T) {
	t.Parallel()
	w := setup(t)
	old := w.first(t)
	code, err := w.tickets.Hand(t.Context(), ticket.Place{Event: w.event.No, Number: w.numbers[0]}, "Grace", "grace@example.com", func(pgx.Tx) error { return nil })
	require.NoError(t, err)
	_, err = w.Open(t.Context(), linkOf(t, old.Page))
	require.ErrorIs(t, err, handout.ErrReplaced)
	now := w.first(t)
	require.Equal(t, code, now.Code)
	got, err := w.Open(t.Context(), linkOf(t, now.Page))
	require.NoError(t, err)
	require.Equal(t, "Grace", got.Holder)
}

func TestATicketThatLetsNobodyInIsNotHandedOut(t *testing.T) {
	t.Parallel()
	w := setup(t)
	tk := w.first(t)
	require.NoError(t, w.tickets.Revoke(t.Context(), w.event.No, tk.Reference, "stolen"))
	tk, err := w.Open(t.Context(), linkOf(t, tk.Page))
	require.NoError(t, err)
	void, why := tk.Void()
	require.True(t, void)
	require.Equal(t, "This ticket was withdrawn.", why)
	for _, kind := range []handout.Kind{handout.QRSVG, handout.QRPNG, handout.PDF} {
		_, err := w.File(t.Context(), &tk, kind)
		require.ErrorIs(t, err, handout.ErrVoid)
	}
	_, err = w.Printed([]handout.Ticket{tk})
	require.ErrorIs(t, err, handout.ErrVoid)
}

func TestFilesOfATicket(t *testing.T) {
	t.Parallel()
	w := setup(t)
	tk := w.first(t)
	for kind, begins := range map[handout.Kind]string{handout.QRSVG: "<svg", handout.QRPNG: "\x89PNG", handout.PDF: "%PDF-"} {
		f, err := w.File(t.Context(), &tk, kind)
		require.NoError(t, err, kind)
		require.True(t, bytes.HasPrefix(f.Body, []byte(begins)), kind)
	}
	f, err := w.File(t.Context(), &tk, handout.Calendar)
	require.NoError(t, err)
	c, err := ical.NewDecoder(bytes.NewReader(f.Body)).Decode()
	require.NoError(t, err)
	events := c.Events()
	require.Len(t, events, 1)
	summary, err := events[0].Props.Text(ical.PropSummary)
	require.NoError(t, err)
	require.Equal(t, "Northern Lights", summary)
	require.NotContains(t, string(f.Body), tk.Code, "a calendar is shared more easily than a ticket")

	require.NotContains(t, w.Kinds(), handout.AppleWallet)
	for _, kind := range []handout.Kind{handout.AppleWallet, handout.GoogleWallet, "passwd"} {
		_, err := w.File(t.Context(), &tk, kind)
		require.ErrorIs(t, err, handout.ErrKind)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	google, err := pass.NewGoogle(pass.GoogleConfig{Issuer: "1", Account: "a@b", Key: key})
	require.NoError(t, err)
	with := w.service(t, func(c *handout.Config) { c.Google = google })
	require.Contains(t, with.Kinds(), handout.GoogleWallet)
	f, err = with.File(t.Context(), &tk, handout.GoogleWallet)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(f.URL, "https://pay.google.com/"))
}

// TestTheCodeIsTheOneOfTheGates: what is handed out is signed, and is the ticket's own.
func TestTheCodeIsTheOneOfTheGates(t *testing.T) {
	t.Parallel()
	w := setup(t)
	tk := w.first(t)
	parsed, err := credential.Parse([]byte(tk.Code))
	require.NoError(t, err)
	require.Equal(t, w.numbers[0], parsed.Ticket)
}
