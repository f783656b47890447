package e2e_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// central is one central with its data directory.
type central struct {
	data  string
	extra []string // flags of every command, such as --database-url
	front []string // a command that runs serve, if any
	// listen is the flags that say where; a port of its choice on loopback if empty.
	listen []string
	proc   *process
}

// newCentral serves a central of the test's own.
func newCentral(t *testing.T, extra ...string) *central {
	t.Helper()
	c := &central{data: filepath.Join(folder(t), "central"), extra: extra}
	require.NoError(t, c.serve())
	t.Cleanup(func() {
		if c.proc != nil {
			require.NoError(t, c.proc.stop())
		}
	})
	return c
}

func (c *central) args(args ...string) []string {
	return append(append(args, "--data", c.data), c.extra...)
}

// begin starts serve and does not wait for it.
func (c *central) begin() (err error) {
	if err := os.MkdirAll(c.data, 0o711); err != nil {
		return err
	}
	listen := c.listen
	if listen == nil {
		listen = []string{"--listen", "127.0.0.1:0"}
	}
	c.proc, err = startIn(filepath.Dir(c.data), c.front, "central", c.args(append([]string{"serve"}, listen...)...)...)
	return err
}

// serve starts central and waits until it is ready.
func (c *central) serve() error {
	if err := c.begin(); err != nil {
		return err
	}
	return c.proc.ready()
}

func (c *central) url() string { return c.proc.url }

// try runs a sub-command.
func (c *central) try(args ...string) result { return run("central", c.args(args...)...) }

// must runs a sub-command that has to succeed and returns its stdout.
func (c *central) must(t *testing.T, args ...string) string {
	t.Helper()
	return must(t, "central", c.args(args...)...)
}

// event is an event at a central.
type event struct {
	central *central
	id      string
}

// newEvent creates an event from the text of an event file.
func (c *central) newEvent(t *testing.T, text string) event {
	t.Helper()
	file := filepath.Join(folder(t), "event.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	id := c.must(t, "event", "create", file)
	require.NotEmpty(t, id)
	require.NotContains(t, id, "\n")
	return event{central: c, id: id}
}

// must runs a sub-command about the event.
func (e event) must(t *testing.T, args ...string) string {
	t.Helper()
	return e.central.must(t, append(args, "--event", e.id)...)
}

// sell imports tickets, each as "reference,ticket_type,status", and returns the
// codes of all of the event's.
func (e event) sell(t *testing.T, rows ...string) codes {
	t.Helper()
	e.must(t, "ticket", "import", e.csv(t, rows...))
	return e.codes(t)
}

// csv writes tickets to a file.
func (e event) csv(t *testing.T, rows ...string) string {
	t.Helper()
	file := filepath.Join(folder(t), "tickets.csv")
	text := "reference,ticket_type,status\n" + strings.Join(rows, "\n") + "\n"
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// codes are the tickets of an event by reference.
type codes map[string]ticket

type ticket struct{ id, code string }

func (e event) codes(t *testing.T) codes {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(e.must(t, "ticket", "codes"))).ReadAll()
	require.NoError(t, err)
	require.Equal(t, []string{"reference", "ticket_id", "code"}, rows[0])
	all := codes{}
	for _, row := range rows[1:] {
		all[row[0]] = ticket{id: row[1], code: row[2]}
	}
	return all
}

func (e event) revoke(t *testing.T, reference string) {
	t.Helper()
	e.must(t, "ticket", "revoke", "--reference", reference, "--reason", "test")
}

// token makes an enrolment token.
func (e event) token(t *testing.T, name string) string {
	t.Helper()
	token := e.must(t, "gate", "token", "--name", name)
	require.NotContains(t, token, " ")
	require.NotContains(t, token, "\n")
	return token
}

// attendance is what central attendance --json prints.
type attendance struct {
	Tickets    int                   `json:"tickets"`
	Admitted   int                   `json:"admitted"`
	Inside     int                   `json:"inside"`
	Denied     int                   `json:"denied"`
	Duplicates int                   `json:"duplicates"`
	Doubles    int                   `json:"double_admissions"`
	ByGate     map[string]gateTotals `json:"by_gate"`
}

type gateTotals struct {
	JournalRows int64  `json:"journal_rows"`
	AckedSeq    uint64 `json:"acked_seq"`
}

func (e event) attendance(t *testing.T) attendance {
	t.Helper()
	var a attendance
	require.NoError(t, json.Unmarshal([]byte(e.must(t, "attendance", "--json")), &a))
	return a
}

// untilAttendance waits until central counts what want describes.
func (e event) untilAttendance(t *testing.T, want func(attendance) error) attendance {
	t.Helper()
	var a attendance
	until(t, "attendance", func() error {
		a = e.attendance(t)
		if err := want(a); err != nil {
			return fmt.Errorf("%w: %+v", err, a)
		}
		return nil
	})
	return a
}
