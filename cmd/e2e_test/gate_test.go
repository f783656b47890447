package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/hardware/ptyport"
)

const (
	// scannerQuery lets a scanner be found again soon after it was lost.
	scannerQuery = "?baud=9600&retry=20ms"
	// settleNot makes a port usable the moment it is open.
	settleNot = "&settle=0"
)

// lane is a passage of a gate under test: a name, a zone and a direction.
type lane struct{ name, zone, direction string }

// mainIn is the lane of a test that needs no special one.
func mainIn() lane { return lane{"N1", "main", "in"} }

// gate is one gate with its scanners, seen from outside.
type gate struct {
	program string   // of the built ones
	front   []string // a command that runs the program, if any
	event   event
	name    string
	dir     string // the test's folder, which holds the data directory
	data    string
	flags   []string // of gate run, beside the lanes
	lanes   []lane
	ports   map[string]*ptyport.Port
	cable   *cable
	proc    *process
	query   map[string]string // of a lane's scanner, beside scannerQuery
	// settle is settleNot; empty for the default.
	settle string
	read   int // lines of the decision log that the test has seen
}

// newGate enrols a gate and plugs in its scanners; it does not run yet.
func (e event) newGate(t *testing.T, name string, lanes ...lane) *gate {
	t.Helper()
	g := &gate{program: "gate", event: e, name: name, lanes: lanes}
	g.unpack(t)
	g.enrol(t)
	return g
}

// unpack gives the gate a folder, a cable and scanners, and times that suit a
// test. It is stopped when the test ends.
func (g *gate) unpack(t *testing.T) {
	t.Helper()
	g.dir, g.cable, g.settle = folder(t), newCable(t, g.event.central.url()), settleNot
	g.query, g.ports = map[string]string{}, map[string]*ptyport.Port{}
	g.flags = []string{"--backoff-base", "20ms", "--backoff-max", "200ms", "--heartbeat", "1s"}
	g.data = filepath.Join(g.dir, "gate")
	for _, l := range g.lanes {
		port, err := ptyport.New(filepath.Join(g.dir, "scanner-"+l.name))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, port.Close()) })
		g.ports[l.name] = port
	}
	t.Cleanup(func() {
		if g.proc != nil && g.proc.alive() {
			require.NoError(t, g.proc.stop())
		}
	})
}

// openGate is a gate that runs.
func (e event) openGate(t *testing.T, name string, lanes ...lane) *gate {
	t.Helper()
	g := e.newGate(t, name, lanes...)
	g.start(t)
	return g
}

func (g *gate) enrol(t *testing.T) {
	t.Helper()
	must(t, g.program, "enrol", "--data", g.data, "--central", g.cable.url(), "--token", g.event.token(t, g.name))
}

func (g *gate) log() string { return filepath.Join(g.dir, "decisions.ndjson") }

func (g *gate) args() []string {
	args := []string{"run", "--data", g.data, "--listen", "127.0.0.1:0", "--log-decisions", g.log()}
	for _, l := range g.lanes {
		args = append(args, "--lane", fmt.Sprintf("name=%s,zone=%s,direction=%s,scanner=serial:%s%s",
			l.name, l.zone, l.direction, g.ports[l.name].Path(), scannerQuery+g.settle+g.query[l.name]))
	}
	return append(args, g.flags...)
}

// start runs the gate and waits until it is ready.
func (g *gate) start(t *testing.T) {
	t.Helper()
	var err error
	g.proc, err = startIn(g.dir, g.front, g.program, g.args()...)
	require.NoError(t, err)
	require.NoError(t, g.proc.ready())
}

func (g *gate) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, g.proc.stop())
}

func (g *gate) restart(t *testing.T) {
	t.Helper()
	g.stop(t)
	g.start(t)
}

// decision is a line of the decision log.
type decision struct {
	At        string  `json:"at"`
	Lane      string  `json:"lane"`
	CodeHash  string  `json:"code_hash"`
	Decision  string  `json:"decision"`
	Reason    string  `json:"reason"`
	TicketID  *string `json:"ticket_id"`
	DecideUS  *int64  `json:"decide_us"`
	DurableUS *int64  `json:"durable_us"`
	Certainty string  `json:"certainty"`
}

// String is the answer in short.
func (d decision) String() string { return d.Decision + " " + d.Reason }

// ticket is the id of the ticket; empty where the line has none.
func (d decision) ticket() string {
	if d.TicketID == nil {
		return ""
	}
	return *d.TicketID
}

// decisions reads the whole lines of the decision log.
func (g *gate) decisions(t *testing.T) []decision {
	t.Helper()
	b, err := os.ReadFile(g.log())
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	var all []decision
	for line := range bytes.Lines(b[:bytes.LastIndexByte(b, '\n')+1]) {
		var d decision
		require.NoError(t, json.Unmarshal(line, &d), "line of the decision log: %s", line)
		all = append(all, d)
	}
	return all
}

// next waits for the next line of the decision log.
func (g *gate) next(t *testing.T) decision {
	t.Helper()
	return g.nextN(t, 1)[0]
}

// nextN waits for the next n lines.
func (g *gate) nextN(t *testing.T, n int) []decision {
	t.Helper()
	var all []decision
	until(t, "decision log of gate "+g.name, func() error {
		if all = g.decisions(t); len(all) < g.read+n {
			return fmt.Errorf("%d of %d lines are there; the gate says:\n%s", len(all)-g.read, n, g.proc.log())
		}
		return nil
	})
	got := all[g.read : g.read+n]
	g.read += n
	return got
}

// send puts bytes on a scanner's line.
func (g *gate) send(t *testing.T, lane, raw string) {
	t.Helper()
	_, err := g.ports[lane].Write([]byte(raw))
	require.NoError(t, err)
}

// scan presents a code at a lane and returns the answer.
func (g *gate) scan(t *testing.T, lane, code string) decision {
	t.Helper()
	g.send(t, lane, code+"\r")
	d := g.next(t)
	require.Equal(t, lane, d.Lane)
	return d
}

// expect presents a code at a lane and compares the answer.
func (g *gate) expect(t *testing.T, lane, code, answer string) decision {
	t.Helper()
	d := g.scan(t, lane, code)
	require.Equal(t, answer, d.String())
	return d
}

// status is what gate status --json prints.
type status struct {
	Gate        string   `json:"gate"`
	Event       any      `json:"event"`
	Tickets     int      `json:"tickets"`
	Central     string   `json:"central"`
	Unsent      int64    `json:"unsent"`
	JournalRows int64    `json:"journal_rows"`
	LastSeq     uint64   `json:"last_seq"`
	CursorAgeS  *float64 `json:"cursor_age_s"`
	Head        int64    `json:"head"`
	// ClockOffsetMS is what is added to the clock.
	ClockOffsetMS int64 `json:"clock_offset_ms"`
	Lanes         []struct {
		Name    string   `json:"name"`
		Scanner *scanner `json:"scanner"`
	} `json:"lanes"`
}

// scanner is a lane's scanner in the status.
type scanner struct {
	State   string `json:"state"`
	Noisy   uint64 `json:"noisy"`
	Dropped struct{ Noise, Long, Partial, Settle, Queue uint64 }
}

// scanner is the status of a lane's scanner.
func (g *gate) scanner(t *testing.T, lane string) scanner {
	t.Helper()
	for _, l := range g.status(t).Lanes {
		if l.Name == lane {
			require.NotNil(t, l.Scanner)
			return *l.Scanner
		}
	}
	t.Fatalf("the status has no lane %s", lane)
	return scanner{}
}

func (g *gate) status(t *testing.T) status {
	t.Helper()
	var s status
	require.NoError(t, json.Unmarshal([]byte(must(t, g.program, "status", "--data", g.data, "--json")), &s))
	return s
}

// entry is a line of gate journal.
type entry struct {
	Incarnation string  `json:"incarnation"`
	Seq         uint64  `json:"seq"`
	At          string  `json:"at"`
	Lane        string  `json:"lane"`
	Kind        string  `json:"kind"`
	Reason      string  `json:"reason"`
	TicketID    *string `json:"ticket_id"`
}

// strict decodes one JSON object that has no keys beyond those that are promised.
func strict(t *testing.T, text string, into any) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(into), text)
	require.False(t, dec.More(), text)
}

func (g *gate) journal(t *testing.T) []entry {
	t.Helper()
	var all []entry
	for line := range strings.Lines(must(t, g.program, "journal", "--data", g.data)) {
		var e entry
		strict(t, line, &e)
		all = append(all, e)
	}
	return all
}

// admits counts the admissions in the journal by ticket.
func (g *gate) admits(t *testing.T) map[string]int {
	t.Helper()
	count := map[string]int{}
	for _, e := range g.journal(t) {
		if e.Kind == "admit" {
			require.NotNil(t, e.TicketID)
			count[*e.TicketID]++
		}
	}
	return count
}

// verdict is what gate verify prints.
type verdict struct {
	Decision string  `json:"decision"`
	Reason   string  `json:"reason"`
	TicketID *string `json:"ticket_id"`
	Known    bool    `json:"known"`
	DecideUS *int64  `json:"decide_us"`
}

// String is the verdict in short.
func (v verdict) String() string { return v.Decision + " " + v.Reason }

func (g *gate) verify(t *testing.T, code string) verdict {
	t.Helper()
	var v verdict
	strict(t, must(t, g.program, "verify", "--data", g.data, code), &v)
	return v
}

// untilVerdict waits until the gate would answer a code so.
func (g *gate) untilVerdict(t *testing.T, code, want string) {
	t.Helper()
	until(t, "verdict of gate "+g.name, func() error {
		if got := g.verify(t, code).String(); got != want {
			return fmt.Errorf("%s and not %s; the gate says:\n%s", got, want, g.proc.log())
		}
		return nil
	})
}

// refuses presents a ticket that was used at another gate, once this one has heard of it.
// Where the policy makes no gate wait for the others, that may take some milliseconds.
func (g *gate) refuses(t *testing.T, lane, code string) {
	t.Helper()
	g.untilVerdict(t, code, "deny duplicate")
	g.expect(t, lane, code, "deny duplicate")
}

// untilSynced waits until the gate and central know of each other all there is.
func (g *gate) untilSynced(t *testing.T) status {
	t.Helper()
	var s status
	until(t, "gate "+g.name+" in step with central", func() error {
		s = g.status(t)
		if s.Central != "online" || s.Unsent != 0 || s.CursorAgeS == nil {
			return fmt.Errorf("%+v; the gate says:\n%s", s, g.proc.log())
		}
		return nil
	})
	return s
}
