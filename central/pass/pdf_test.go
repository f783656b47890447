package pass_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/central/pass"
)

// ticket is one that has all that a ticket can have.
func ticket() pass.Ticket {
	return pass.Ticket{
		ID: uuid.MustParse("0190c4d2-7c5e-7a31-b6f0-1a2b3c4d5e6f"), Issue: 1, Code: "0" + strings.Repeat("ABCDEFGHIJKLMNOPQRSTUVWXYZ23456", 4) + "ABCDEFGHIJK",
		Holder: "Ada Lovelace", Type: "Weekend, with camping", Reference: "order-0190c4d2", EventNo: 7, Event: "Northern Lights Festival 2026",
		Venue: "Old Airfield", Address: "Runway 1, 12345 Berlin", StartsAt: time.Date(2026, 7, 1, 14, 0, 0, 0, time.UTC),
		EndsAt: time.Date(2026, 7, 4, 20, 0, 0, 0, time.UTC), Timezone: "Europe/Berlin", Page: "https://tickets.example/tickets/abc",
	}
}

var at = time.Date(2026, 6, 1, 9, 0, 0, 0, time.UTC)

func printed(t *testing.T, tickets ...pass.Ticket) []byte {
	t.Helper()
	p, err := pass.NewPrinter()
	require.NoError(t, err)
	out, err := p.PDF(tickets, at)
	require.NoError(t, err)
	return out
}

// pages has a PDF drawn by another program, and is the images of its pages.
func pages(t *testing.T, pdf []byte) []string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "ticket.pdf")
	require.NoError(t, os.WriteFile(file, pdf, 0o600))
	out, err := exec.CommandContext(t.Context(), "pdftoppm", "-r", "150", "-png", file, filepath.Join(dir, "page")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Empty(t, string(out), "pdftoppm has nothing to complain about")
	files, err := filepath.Glob(filepath.Join(dir, "page*.png"))
	require.NoError(t, err)
	return files
}

// read is what a scanner reads from an image.
func read(t *testing.T, file string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "zbarimg", "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", file).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

func TestAPrintedTicketIsRead(t *testing.T) {
	t.Parallel()
	one, two := ticket(), ticket()
	two.Code, two.Holder = strings.Replace(two.Code, "0ABC", "1ABC", 1), "Grace Hopper"
	files := pages(t, printed(t, one, two))
	require.Len(t, files, 2)
	require.Equal(t, one.Code, read(t, files[0]))
	require.Equal(t, two.Code, read(t, files[1]))
}

func TestTheSameTicketIsTheSameBytes(t *testing.T) {
	t.Parallel()
	first := printed(t, ticket())
	require.Equal(t, first, printed(t, ticket()))
}

func TestAnyTextIsPrinted(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", " ", "\x00\x1b[31m", "\xff\xfe", strings.Repeat("W", 5000), strings.Repeat("a b ", 1000), "محمد بن سلمان", "שלום עולם",
		"Zoë O’Brien–Ødegård", "日本語", "🎉🎉", "a\u202eb", "e\u0301\u0301\u0301", "<script>", "(\\)) endobj", "مرحبا 123 hello (٤٥٦)",
	} {
		tk := ticket()
		tk.Holder, tk.Event, tk.Type, tk.Venue, tk.Address = text, text, text, text, text
		files := pages(t, printed(t, tk))
		require.Equal(t, tk.Code, read(t, files[0]), "%q", text)
	}
}

func TestATicketWithoutACodeIsNotPrinted(t *testing.T) {
	t.Parallel()
	p, err := pass.NewPrinter()
	require.NoError(t, err)
	_, err = p.PDF([]pass.Ticket{{}}, at)
	require.ErrorIs(t, err, pass.ErrNoCode)
	_, err = p.PDF(nil, at)
	require.Error(t, err)
	_, err = p.PDF(make([]pass.Ticket, pass.PagesMax+1), at)
	require.Error(t, err)
}

func TestWhenIsByTheClockOfTheEvent(t *testing.T) {
	t.Parallel()
	tk := ticket()
	require.Equal(t, "Wednesday, 1 July 2026, 16:00, to Saturday, 4 July 2026, 22:00 CEST", tk.When())
	tk.EndsAt = tk.StartsAt.Add(2 * time.Hour)
	require.Equal(t, "Wednesday, 1 July 2026, 16:00 to 18:00 CEST", tk.When())
	tk.EndsAt = time.Time{}
	require.Equal(t, "Wednesday, 1 July 2026, 16:00 CEST", tk.When())
	tk.Timezone = "Mars/Olympus"
	require.Equal(t, "Wednesday, 1 July 2026, 14:00 UTC", tk.When())
	tk.StartsAt = time.Time{}
	require.Empty(t, tk.When())
}
