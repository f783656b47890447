package main

import (
	"context"
	"crypto/ed25519"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"gatehouse/syncproto/credential"
)

// Bounds of --tickets: enough for the script, and what one import should hold.
const (
	ticketsMin = 100
	ticketsMax = 1_000_000
)

// eventFile is the organiser's description of the event.
const eventFile = `name: Harbour Festival
timezone: Europe/Berlin
venue: {name: Old Harbour, capacity: 60000}
zones: [main]
ticket_types:
  - {key: day, name: Day ticket, entries_total: 1, reentry: none}
  - {key: crew, name: Crew, entries_total: 1, reentry: none}
policy: {partition: open}
`

// otherEventFile is the event whose tickets some people bring by mistake.
const otherEventFile = `name: Another Concert
ticket_types: [{key: day}]
`

// A central is one `central serve` with its data directory, seen from outside.
type central struct {
	bin  string
	data string
	*server
}

// command runs a sub-command of central.
func (c *central) command(ctx context.Context, screen *os.File, args ...string) (string, error) {
	out, err := output(ctx, screen, c.bin, append(args, "--data", c.data)...)
	return strings.TrimSpace(string(out)), err
}

// createEvent writes an event file and has central make the event.
func (c *central) createEvent(ctx context.Context, path, content string) (id string, err error) {
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return "", fmt.Errorf("write event file: %w", err)
	}
	return c.command(ctx, nil, "event", "create", path)
}

// codes lists the tickets of an event; status gives those that are not paid.
func (c *central) codes(ctx context.Context, event string, status map[string]string) ([]ticket, error) {
	out, err := c.command(ctx, nil, "ticket", "codes", "--event", event)
	if err != nil {
		return nil, err
	}
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(rows) == 0 || len(rows[0]) < 3 {
		return nil, errors.Join(errors.New("central ticket codes printed no list of reference, ticket_id and code"), err)
	}
	var tickets []ticket
	for _, r := range rows[1:] {
		t := ticket{reference: r[0], id: r[1], code: r[2], status: "paid"}
		if s, ok := status[t.reference]; ok {
			t.status = s
		}
		tickets = append(tickets, t)
	}
	return tickets, nil
}

// attendance is what `central attendance --json` prints.
type attendance struct {
	Tickets  int `json:"tickets"`
	Admitted int `json:"admitted"`
	ByGate   map[string]struct {
		Admitted int   `json:"admitted"`
		Rows     int64 `json:"journal_rows"`
		Acked    int64 `json:"acked_seq"`
	} `json:"by_gate"`
}

func (c *central) attendance(ctx context.Context, event string) (attendance, error) {
	out, err := c.command(ctx, nil, "attendance", "--event", event, "--json")
	if err != nil {
		return attendance{}, err
	}
	var a attendance
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		return attendance{}, fmt.Errorf("read central's attendance: %w", err)
	}
	return a, nil
}

// writeTickets writes the organiser's CSV and returns the status of each ticket
// that is not paid. tick is called for each row.
func writeTickets(w io.Writer, n int, rng *rand.Rand, tick func()) (map[string]string, error) {
	given := []string{"Ada", "Bela", "Carla", "Dmitri", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jun", "Kofi", "Lena", "Mira", "Noor", "Olga", "Pavel"}
	family := []string{"Adler", "Brandt", "Costa", "Dvorak", "Eriksen", "Fischer", "Garcia", "Haddad", "Ito", "Jansen", "Kaya", "Lindgren", "Moreau", "Novak"}
	status := map[string]string{}
	out := csv.NewWriter(w)
	err := out.Write([]string{"reference", "name", "email", "ticket_type", "status", "notes"})
	for i := 1; i <= n && err == nil; i++ {
		ref := fmt.Sprintf("HF-%06d", i)
		first, last := given[rng.IntN(len(given))], family[rng.IntN(len(family))]
		kind, paid := "day", "paid"
		switch dice := rng.IntN(200); {
		case dice < 4:
			paid = "unpaid"
		case dice < 5:
			paid = "cancelled"
		case dice < 15:
			kind = "crew"
		}
		if paid != "paid" {
			status[ref] = paid
		}
		email := fmt.Sprintf("%s.%s.%d@example.org", strings.ToLower(first), strings.ToLower(last), i)
		err = out.Write([]string{ref, first + " " + last, email, kind, paid, ""})
		tick()
	}
	out.Flush()
	if err := errors.Join(err, out.Error()); err != nil {
		return nil, fmt.Errorf("write the ticket list: %w", err)
	}
	return status, nil
}

// writeFile has fn write a new file.
func writeFile(path string, fn func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	if err := errors.Join(fn(f), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}

// strangers are codes that no gate admits: other things people hold up, codes
// signed with a key that is not central's, damaged ones, and tickets of another
// event.
func strangers(genuine, foreign []ticket) ([]invalidCode, error) {
	others := []invalidCode{
		{code: "HTTPS://EXAMPLE.ORG/MENU", reason: "malformed"},
		{code: "4006381333931", reason: "malformed"},
		{code: "WIFI:S:HARBOUR;T:WPA;P:SECRET;;", reason: "malformed"},
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("make a forger's key: %w", err)
	}
	for i := range min(5, len(genuine)) {
		code, err := credential.Parse([]byte(genuine[i].code))
		if err != nil {
			return nil, fmt.Errorf("code of ticket %s: %w", genuine[i].reference, err)
		}
		forged, err := credential.Sign(key, code.Fields)
		if err != nil {
			return nil, fmt.Errorf("forge a code: %w", err)
		}
		others = append(others,
			invalidCode{code: forged, reason: "bad_signature"},
			invalidCode{code: genuine[i].code[:60], reason: "malformed"})
	}
	for _, t := range foreign {
		others = append(others, invalidCode{code: t.code, reason: "wrong_event"})
	}
	return others, nil
}
