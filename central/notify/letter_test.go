package notify_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"gatehouse/central/notify"
	"gatehouse/syncproto"
)

// part is a part of a message, without those that have others.
type part struct {
	kind, name, cid string
	body            string
}

func parts(t *testing.T, l taken) []part {
	t.Helper()
	m := l.message(t)
	var out []part
	var walk func(get func(string) string, body io.Reader)
	walk = func(get func(string) string, body io.Reader) {
		kind, args, err := mime.ParseMediaType(get("Content-Type"))
		require.NoError(t, err)
		if strings.HasPrefix(kind, "multipart/") {
			r := multipart.NewReader(body, args["boundary"])
			for {
				p, err := r.NextRawPart()
				if err == io.EOF { //nolint:errorlint // it is documented so
					return
				}
				require.NoError(t, err)
				walk(p.Header.Get, p)
			}
		}
		switch get("Content-Transfer-Encoding") {
		case "base64":
			body = base64.NewDecoder(base64.StdEncoding, body)
		case "quoted-printable":
			body = quotedprintable.NewReader(body)
		}
		text, err := io.ReadAll(body)
		require.NoError(t, err)
		_, file, _ := mime.ParseMediaType(get("Content-Disposition"))
		out = append(out, part{kind, file["filename"], get("Content-ID"), string(text)})
	}
	walk(m.Header.Get, m.Body)
	return out
}

// kinds are the media types of a letter's parts.
func kinds(all []part) (out []string) {
	for _, p := range all {
		out = append(out, p.kind)
	}
	return out
}

func fairTicket(no syncproto.TicketNo, email string) notify.Ticket {
	return notify.Ticket{
		Number: no, Code: "CODE-OF-TICKET", Holder: "Ada <b>Lovelace</b>", Email: email, Type: "Day", Event: "Fair & Co", Venue: "Hall",
		StartsAt: time.Date(2026, 5, 1, 18, 0, 0, 0, time.UTC), Timezone: "Europe/Berlin", Link: "https://fair.example/tickets/x",
	}
}

func TestEachAddressHasOneLetterWithItsTickets(t *testing.T) {
	t.Parallel()
	s := listen(t, 0, nil)
	b := setup(t, s.port)
	b.tickets = []notify.Ticket{fairTicket(1, "ada@example.org"), fairTicket(2, "ADA@example.org"), fairTicket(3, "bob@example.org")}
	b.files = []notify.File{{Name: "tickets.pdf", Type: "application/pdf", Body: []byte("%PDF-")}, {Name: "big.pdf", Type: "application/pdf", Body: make([]byte, notify.AttachmentsMax)}}
	b.issue(t, notify.Holder{Ticket: 1, Email: "ada@example.org", Name: "Ada"}, notify.Holder{Ticket: 2, Email: "Ada@example.org"}, notify.Holder{Ticket: 3, Email: "bob@example.org"}, notify.Holder{Ticket: 4})
	require.Equal(t, 2, b.step(t))
	for _, l := range s.all() {
		all := parts(t, l)
		want := 1
		if l.to == "ada@example.org" {
			want = 2
			require.Equal(t, "Your tickets: Fair & Co", l.message(t).Header.Get("Subject"))
		}
		require.Equal(t, "text/plain", all[0].kind)
		require.Equal(t, want, strings.Count(all[0].body, "CODE-OF-TICKET"))
		require.Equal(t, want, strings.Count(all[0].body, "2026-05-01 20:00 CEST"))
		require.Contains(t, all[0].body, "Ada <b>Lovelace</b>")
		require.Equal(t, "text/html", all[1].kind)
		require.NotContains(t, all[1].body, "<b>")
		require.Equal(t, want, strings.Count(all[1].body, `src="cid:ticket-`))
		require.Contains(t, all[1].body, `href="https://fair.example/tickets/x"`)
		require.Equal(t, want, strings.Count(strings.Join(kinds(all), " "), "image/png"))
		for _, p := range all[2 : 2+want] {
			require.Contains(t, all[1].body, "cid:"+strings.Trim(p.cid, "<>"))
		}
		files := all[2+want:]
		require.Len(t, files, 1, "what is beyond the limit is left out")
		require.Equal(t, "tickets.pdf", files[0].name)
		require.Equal(t, "%PDF-", files[0].body)
	}
}

func TestALetterTellsWhatIsTrueWhenItGoes(t *testing.T) {
	t.Parallel()
	s := listen(t, 0, nil)
	b := setup(t, s.port)
	b.tickets = []notify.Ticket{fairTicket(1, "ada@example.org"), fairTicket(2, "ada@example.org")}
	b.issue(t, notify.Holder{Ticket: 1, Email: "ada@example.org"}, notify.Holder{Ticket: 2, Email: "ada@example.org"})
	b.tickets[0].Email = "bob@example.org" // handed on
	b.tickets[1].Code = "ANOTHER"
	require.Equal(t, 1, b.step(t))
	text := parts(t, s.all()[0])[0].body
	require.NotContains(t, text, "CODE-OF-TICKET")
	require.Contains(t, text, "ANOTHER")
	require.Equal(t, []syncproto.TicketNo{2}, b.printed, "no file has what is somebody else's")

	b.tickets[0].Email, b.tickets[0].Void = "eve@example.org", true
	b.issue(t, notify.Holder{Ticket: 1, Email: "eve@example.org"})
	require.Equal(t, 1, b.step(t))
	require.Len(t, s.all(), 1)
	list, err := b.List(t.Context(), notify.Filter{To: "EVE@example.org"})
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, notify.Failed, list[0].State)

	// It names no secret, so that it can be tried again.
	b.tickets[0].Void = false
	require.NoError(t, b.Retry(t.Context(), list[0].ID))
	require.Equal(t, 1, b.step(t))
	require.Len(t, s.all(), 2)
}

func TestLinksHaveTheTokenInTheFragmentAndNoneGoesWhenItHasExpired(t *testing.T) {
	t.Parallel()
	s := listen(t, 0, nil)
	b := setup(t, s.port)
	require.NoError(t, b.Verify(t.Context(), notify.Link{To: "ada@example.org", Token: "a+b", Until: b.clock().Add(time.Hour)}))
	require.Equal(t, 1, b.step(t))
	all := parts(t, s.all()[0])
	require.Equal(t, []string{"text/plain", "text/html"}, kinds(all))
	require.Contains(t, all[0].body, "https://fair.example/account#verify=a%2Bb")
	require.Contains(t, all[0].body, "Hello,")
	require.Contains(t, all[1].body, `href="https://fair.example/account#verify=a%2Bb"`)

	require.NoError(t, b.Verify(t.Context(), notify.Link{To: "bob@example.org", Token: "x", Until: b.clock()}))
	require.Equal(t, 1, b.step(t))
	require.Len(t, s.all(), 1)
	list, err := b.List(t.Context(), notify.Filter{State: notify.Failed})
	require.NoError(t, err)
	require.Contains(t, list[0].Error, "expired")
}

func TestWithoutAPageTheTokenIsThereToCopy(t *testing.T) {
	t.Parallel()
	s := listen(t, 0, nil)
	b := setup(t, s.port, func(c *notify.Config) { c.AccountURL, c.OrderURL = "", "" })
	b.link(t, "ada@example.org")
	require.Equal(t, 1, b.step(t))
	require.Contains(t, parts(t, s.all()[0])[0].body, "\n    s3cret-ada@example.org\r\n")
}

func TestCentralHasPagesOfItsOwn(t *testing.T) {
	t.Parallel()
	s := listen(t, 0, nil)
	b := setup(t, s.port, func(c *notify.Config) {
		c.AccountURL, c.Lang = "", notify.Arabic
		c.AccountPage = func(what, token, lang string) string {
			return "https://fair.example/" + what + "/" + token + "?lang=" + lang
		}
	})
	b.link(t, "ada@example.org")
	require.Equal(t, 1, b.step(t))
	require.Contains(t, parts(t, s.all()[0])[0].body, "https://fair.example/reset/s3cret-ada@example.org?lang=ar")
}

func TestWhoWaitedIsToldOfAnOffer(t *testing.T) {
	t.Parallel()
	s := listen(t, 0, nil)
	b := setup(t, s.port)
	order := uuid.New()
	require.NoError(t, pgx.BeginFunc(t.Context(), b.pool, func(tx pgx.Tx) error {
		return b.QueueSeat(t.Context(), tx, notify.Seat{Event: 1, To: "ada@example.org", Name: "Ada", Order: order, Key: "KEY", Until: b.clock().Add(time.Hour)})
	}))
	require.Equal(t, 1, b.step(t))
	require.Contains(t, parts(t, s.all()[0])[0].body, "https://fair.example/order?key=KEY&order="+order.String())
	require.Nil(t, b.kept(t, b.only(t).ID))
}

func TestNothingIsQueuedWithATransactionThatIsUndone(t *testing.T) {
	t.Parallel()
	b := setup(t, unused(t))
	require.ErrorIs(t, pgx.BeginFunc(t.Context(), b.pool, func(tx pgx.Tx) error {
		if err := b.QueueSeat(t.Context(), tx, notify.Seat{Event: 1, To: "ada@example.org", Until: b.clock().Add(time.Hour)}); err != nil {
			return err
		}
		return io.ErrUnexpectedEOF
	}), io.ErrUnexpectedEOF)
	n, err := b.Waiting(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestACentralWithoutAServerQueuesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, unused(t), func(c *notify.Config) { c.Sender = nil })
	require.False(t, b.Sends())
	b.issue(t, notify.Holder{Ticket: 1, Email: "ada@example.org"})
	require.Error(t, b.Reset(t.Context(), notify.Link{To: "ada@example.org"}))
	n, err := b.Waiting(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestArabicLettersReadFromTheRight(t *testing.T) {
	t.Parallel()
	s := listen(t, 0, nil)
	b := setup(t, s.port, func(c *notify.Config) { c.Lang = notify.Arabic })
	b.link(t, "ada@example.org")
	require.Equal(t, 1, b.step(t))
	subject, err := (&mime.WordDecoder{}).DecodeHeader(s.all()[0].message(t).Header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, "تعيين كلمة مرور جديدة", subject)
	require.Contains(t, parts(t, s.all()[0])[1].body, `<html lang="ar" dir="rtl">`)
	for _, l := range s.all() {
		require.NotContains(t, string(bytes.ReplaceAll(l.raw, []byte("\r\n"), nil)), "\n")
	}
}

// nasty are names that try to get out of a header.
func nasty() []string {
	return []string{
		"Ada\r\nBcc: eve@example.org", "Ada\nSubject: x\n\nbody", `Ada" <eve@example.org>, "`, "Ada\x00\x1b", "Ada, Bob; <c>", "عدنان 🎉",
		strings.Repeat("long ", 40), "=?utf-8?q?x?=", "\u2028Bcc: eve@example.org", `Zoë\`, "",
		"[ " + strings.Repeat(":", 1000), strings.Repeat(`"`, 1000), strings.Repeat("ع", 1000),
	}
}

func TestNamesStayInTheirHeaders(t *testing.T) {
	t.Parallel()
	for _, name := range nasty() {
		intact(t, name)
	}
}

func FuzzNamesStayInTheirHeaders(f *testing.F) {
	for _, name := range nasty() {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) { intact(t, name) })
}

// intact has a letter written that has name wherever somebody can choose a text, and reads it.
func intact(t *testing.T, name string) {
	t.Helper()
	raw, err := notify.Write(name, "ada@example.org", notify.Ticket{Number: 1, Holder: name, Type: name, Event: name, Venue: name, Email: "ada@example.org", Code: "CODE"})
	require.NoError(t, err)
	m, err := netmail.ReadMessage(bytes.NewReader(raw))
	require.NoError(t, err)
	require.Empty(t, m.Header["Bcc"])
	for _, key := range []string{"Subject", "To", "From", "Message-Id", "Date", "Auto-Submitted", "Content-Type"} {
		require.Len(t, m.Header[key], 1, "%q: %s", key, raw)
	}
	to, err := m.Header.AddressList("To")
	require.NoError(t, err)
	require.Len(t, to, 1)
	require.Equal(t, "ada@example.org", to[0].Address)
	for _, line := range bytes.Split(raw, []byte("\r\n")) {
		require.LessOrEqual(t, len(line), 998, "RFC 5322, section 2.1.1: %.80s", line)
		require.NotContains(t, string(line), "\n")
	}
}

func TestNoLetterGoesToWhatIsNoAddress(t *testing.T) {
	t.Parallel()
	for _, to := range []string{"ada@example.org\r\nRCPT TO:<eve@example.org>", "Ada <ada@example.org>", "ada", "a@b, c@d", "ada@exam ple.org"} {
		_, err := notify.Write("Ada", to, notify.Ticket{Number: 1, Email: to, Code: "CODE"})
		require.Error(t, err, to)
	}
}

func TestALetterThatCannotBeMadeKeepsNoOtherBack(t *testing.T) {
	t.Parallel()
	s := listen(t, 0, nil)
	b := setup(t, s.port, func(c *notify.Config) {
		c.Tickets = func(_ context.Context, _ syncproto.EventNo, numbers []syncproto.TicketNo) (notify.Bundle, error) {
			if numbers[0] == 1 {
				panic("a drawing goes wrong")
			}
			return notify.Bundle{Tickets: []notify.Ticket{fairTicket(numbers[0], "bob@example.org")}}, nil
		}
	})
	b.issue(t, notify.Holder{Ticket: 1, Email: "ada@example.org"}, notify.Holder{Ticket: 2, Email: "bob@example.org"})
	require.Equal(t, 2, b.step(t))
	require.Len(t, s.all(), 1)
	list, err := b.List(t.Context(), notify.Filter{State: notify.Queued})
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, 1, list[0].Tries)
	require.Contains(t, list[0].Error, "a drawing goes wrong")
}
