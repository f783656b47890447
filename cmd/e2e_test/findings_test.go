package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// findings is what central findings --json prints.
type findings struct {
	Open     int       `json:"open"`
	Noted    int       `json:"noted"`
	Closed   int       `json:"closed"`
	Findings []finding `json:"findings"`
}

type finding struct {
	ID        int64         `json:"id"`
	Kind      string        `json:"kind"`
	Detail    string        `json:"detail"`
	State     string        `json:"state"`
	By        string        `json:"by"`
	At        time.Time     `json:"at"`
	Note      string        `json:"note"`
	MootAt    *time.Time    `json:"moot_at"`
	Ticket    *int64        `json:"ticket"`
	TicketID  *string       `json:"ticket_id"`
	Reference *string       `json:"reference"`
	Evidence  string        `json:"evidence"`
	Count     int64         `json:"count"`
	FirstAt   time.Time     `json:"first_at"`
	LastAt    time.Time     `json:"last_at"`
	FoundAt   time.Time     `json:"found_at"`
	Sides     []findingSide `json:"sides"`
	Steps     []struct {
		At    time.Time `json:"at"`
		State string    `json:"state"`
		By    string    `json:"by"`
		Note  string    `json:"note"`
	} `json:"steps"`
}

type findingSide struct {
	Gate        string     `json:"gate"`
	Device      string     `json:"device"`
	Incarnation *string    `json:"incarnation"`
	Seq         *uint64    `json:"seq"`
	Lane        string     `json:"lane"`
	Zone        string     `json:"zone"`
	Direction   string     `json:"direction"`
	By          string     `json:"by"`
	At          *time.Time `json:"at"`
	OffsetMS    int64      `json:"offset_ms"`
	ErrMS       int64      `json:"err_ms"`
}

func (e event) findings(t *testing.T) findings {
	t.Helper()
	var f findings
	strict(t, e.must(t, "findings", "--json"), &f)
	return f
}

// untilFindings waits until central has found what want describes.
func (e event) untilFindings(t *testing.T, want func(findings) error) findings {
	t.Helper()
	var f findings
	until(t, "findings", func() error {
		f = e.findings(t)
		if err := want(f); err != nil {
			return fmt.Errorf("%w: %+v", err, f)
		}
		return nil
	})
	return f
}

// statement is what central reconcile --json prints.
type statement struct {
	At         time.Time       `json:"at"`
	Complete   bool            `json:"complete"`
	CompleteAt *time.Time      `json:"complete_at"`
	Gates      []gateStatement `json:"gates"`
}

type gateStatement struct {
	Gate        string     `json:"gate"`
	Device      string     `json:"device"`
	Standing    string     `json:"standing"`
	Why         string     `json:"why"`
	Revoked     bool       `json:"revoked"`
	Quarantined bool       `json:"quarantined"`
	HeardAt     *time.Time `json:"heard_at"`
	Shown       int64      `json:"shown"`
	Journal     int64      `json:"journal"`
	Central     int64      `json:"central"`
	Missing     int64      `json:"missing"`
	Journals    []struct {
		Incarnation string     `json:"incarnation"`
		ReportedAt  *time.Time `json:"reported_at"`
		Shown       *int64     `json:"shown"`
		Journal     *int64     `json:"journal"`
		FirstSeq    *uint64    `json:"first_seq"`
		LastSeq     *uint64    `json:"last_seq"`
		AckedSeq    uint64     `json:"acked_seq"`
		Central     int64      `json:"central"`
		Missing     []seqRange `json:"missing"`
	} `json:"journals"`
}

type seqRange struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

func (e event) reconcile(t *testing.T) statement {
	t.Helper()
	var s statement
	strict(t, e.must(t, "reconcile", "--json"), &s)
	return s
}

// untilReconciled waits until the statement is as want describes.
func (e event) untilReconciled(t *testing.T, want func(statement) error) statement {
	t.Helper()
	var s statement
	until(t, "statement", func() error {
		s = e.reconcile(t)
		if err := want(s); err != nil {
			return fmt.Errorf("%w: %+v", err, s)
		}
		return nil
	})
	return s
}

func complete(s statement) error {
	if !s.Complete {
		return fmt.Errorf("not complete")
	}
	return nil
}

// knownFindings is the part of gate status --json that tells of findings.
type knownFindings struct {
	Open     int `json:"findings_open"`
	Findings []struct {
		ID    int64  `json:"id"`
		Kind  string `json:"kind"`
		State string `json:"state"`
		Sides []struct {
			Gate string `json:"gate"`
			Lane string `json:"lane"`
		} `json:"sides"`
	} `json:"findings"`
}

// untilKnows waits until the gate knows of n findings.
func (g *gate) untilKnows(t *testing.T, n int) knownFindings {
	t.Helper()
	var s knownFindings
	until(t, "findings at gate "+g.name, func() error {
		s = knownFindings{}
		require.NoError(t, json.Unmarshal([]byte(must(t, g.program, "status", "--data", g.data, "--json")), &s))
		if s.Open != n {
			return fmt.Errorf("it knows of %d and not of %d: %+v", s.Open, n, s)
		}
		return nil
	})
	return s
}

// page fetches a page of central or of a gate.
func page(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, url)
	return string(body)
}

// doubled are two gates that let in two people on one ticket while the cable was
// out, a third that had nothing to do with it, and the finding.
type doubled struct {
	event               event
	north, south, third *gate
	found               finding
}

func letInTwice(t *testing.T) doubled {
	t.Helper()
	e := theTown(t).newFestival(t)
	sold := e.sell(t, "A,day,paid", "B,day,paid", "C,day,paid")
	d := doubled{
		event: e, north: e.openGate(t, "North", mainIn()), south: e.openGate(t, "South", lane{"S1", "main", "in"}),
		third: e.openGate(t, "West", lane{"W1", "main", "in"}),
	}
	d.north.expect(t, "N1", sold["B"].code, "admit admitted")
	e.untilReconciled(t, complete)
	require.Empty(t, e.findings(t).Findings)
	require.Contains(t, page(t, d.url()), "Nothing is wrong")
	d.north.cable.pull()
	d.south.cable.pull()
	d.north.expect(t, "N1", sold["A"].code, "admit admitted")
	d.south.expect(t, "S1", sold["A"].code, "admit admitted")
	d.north.cable.plug()
	d.south.cable.plug()
	d.found = e.untilFindings(t, func(f findings) error {
		if f.Open != 1 {
			return fmt.Errorf("%d are open", f.Open)
		}
		return nil
	}).Findings[0]
	require.Equal(t, "A", *d.found.Reference)
	require.Equal(t, sold["A"].id, *d.found.TicketID)
	return d
}

// url is central's page of findings.
func (d *doubled) url() string { return d.event.central.url() + "/events/" + d.event.id + "/findings" }

// Central finds a double admission with the evidence of both sides, and both gates
// hear of it.
func TestADoubleAdmissionIsFoundAndTold(t *testing.T) {
	t.Parallel()
	d := letInTwice(t)
	f := d.found
	require.Equal(t, "double_admission", f.Kind)
	require.Contains(t, []string{"duplicate", "concurrent"}, f.Detail)
	require.Len(t, f.Sides, 2)
	require.ElementsMatch(t, []string{"North N1", "South S1"}, []string{
		f.Sides[0].Gate + " " + f.Sides[0].Lane, f.Sides[1].Gate + " " + f.Sides[1].Lane,
	})
	for _, side := range f.Sides {
		require.WithinDuration(t, time.Now(), *side.At, time.Minute)
		require.Less(t, side.ErrMS, int64(60_000), "the gates had compared their clocks")
		require.Positive(t, *side.Seq)
	}
	require.NotEqual(t, f.Sides[0].Device, f.Sides[1].Device)

	for _, g := range []*gate{d.north, d.south} {
		known := g.untilKnows(t, 1)
		require.Equal(t, f.ID, known.Findings[0].ID)
		require.ElementsMatch(t, []string{"North", "South"}, []string{known.Findings[0].Sides[0].Gate, known.Findings[0].Sides[1].Gate})
		require.Contains(t, must(t, g.program, "status", "--data", g.data), "findings: 1 that this gate was part of")
		require.Contains(t, page(t, g.proc.url+"/"), "1 thing to look into")
		require.Contains(t, page(t, g.proc.url+"/findings"), "One ticket let in two people.")
	}
	d.third.untilSynced(t)
	d.third.untilKnows(t, 0)
	require.Contains(t, page(t, d.url()), "<td>S1</td>")
	require.Contains(t, page(t, d.event.central.url()+"/metrics"), "gatehouse_findings_open ")

	// A gate that is started again without central still knows.
	d.south.cable.pull()
	d.south.restart(t)
	d.south.untilKnows(t, 1)
}

// Somebody deals with it, gates hear of that as well, and the books are complete.
func TestAFindingIsNotedAndClosed(t *testing.T) {
	t.Parallel()
	d := letInTwice(t)
	e, id := d.event, strconv.FormatInt(d.found.ID, 10)
	e.central.must(t, "findings", "note", id, "--by", "Ada", "--note", "asked at both doors")
	noted := e.findings(t).Findings[0]
	require.Equal(t, []string{"noted", "Ada"}, []string{noted.State, noted.By})
	d.north.untilKnows(t, 1)
	e.central.must(t, "findings", "close", id, "--by", "Ben")
	closed := e.findings(t)
	require.Equal(t, 1, closed.Closed)
	require.Equal(t, "Ben", closed.Findings[0].By)
	require.Len(t, closed.Findings[0].Steps, 3)
	require.Equal(t, "asked at both doors", closed.Findings[0].Steps[1].Note)
	d.north.untilKnows(t, 0)
	d.south.untilKnows(t, 0)
	r := e.central.try("findings", "close", "999999999", "--by", "Ben")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "there is no such finding")
	require.Contains(t, e.must(t, "findings"), "0 open, 0 noted, 1 closed")

	s := e.untilReconciled(t, complete)
	for _, g := range s.Gates {
		require.Equal(t, "complete", g.Standing)
		require.Zero(t, g.Missing)
		require.Equal(t, g.Journal, g.Central)
	}
	require.Equal(t, []int64{2, 1, 0}, []int64{s.Gates[0].Central, s.Gates[1].Central, s.Gates[2].Central})
	e.untilReconciled(t, func(s statement) error {
		if g := s.Gates[0]; g.Shown != 2 || g.Journal != 2 {
			return fmt.Errorf("its heartbeat has not said so yet")
		}
		return nil
	})
	require.Contains(t, e.must(t, "reconcile"), "\ncomplete, as of ")
}

// While entries of a gate are not here the statement says exactly which; while it
// is silent, that nobody knows.
func TestTheStatementSaysExactlyWhatIsMissing(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	sold := e.sell(t, "A,day,paid", "B,day,paid", "C,day,paid", "D,day,paid", "E,day,paid")
	north, south := e.openGate(t, "North", mainIn()), e.openGate(t, "South", lane{"S1", "main", "in"})
	north.expect(t, "N1", sold["A"].code, "admit admitted")
	south.expect(t, "S1", sold["B"].code, "admit admitted")
	e.untilReconciled(t, complete)

	// Its heartbeats get through and its entries do not.
	north.cable.refuse("POST /v1/push ")
	north.expect(t, "N1", sold["C"].code, "admit admitted")
	north.expect(t, "N1", sold["D"].code, "admit admitted")
	north.refuses(t, "N1", sold["B"].code)
	missing := func(s statement) error {
		g := s.Gates[0]
		if s.Complete || g.Standing != "missing" || g.Missing != 3 || len(g.Journals) != 1 || len(g.Journals[0].Missing) != 1 ||
			g.Journals[0].Missing[0] != (seqRange{3, 5}) {
			return fmt.Errorf("entries 3 to 5 are not said to be missing")
		}
		return nil
	}
	s := e.untilReconciled(t, missing)
	g := s.Gates[0]
	require.Equal(t, []int64{3, 3, 1}, []int64{g.Shown, g.Journal, g.Central})
	require.EqualValues(t, 2, g.Journals[0].AckedSeq)
	require.EqualValues(t, 5, *g.Journals[0].LastSeq)
	require.Equal(t, north.journal(t)[0].Incarnation, g.Journals[0].Incarnation)
	require.Equal(t, "complete", s.Gates[1].Standing)
	require.Contains(t, e.must(t, "reconcile"), "entries 3 to 5 of journal "+g.Journals[0].Incarnation)

	// Nobody can reach it: what is missing is known all the same.
	north.cable.pull()
	heard := e.reconcile(t).Gates[0].HeardAt
	require.NoError(t, missing(e.reconcile(t)))
	north.proc.kill()
	require.NoError(t, missing(e.reconcile(t)))
	require.Equal(t, heard, e.reconcile(t).Gates[0].HeardAt)

	// It comes back as it was left, and admits on.
	north.cable.refuse("")
	north.cable.plug()
	north.start(t)
	north.expect(t, "N1", sold["E"].code, "admit admitted")
	s = e.untilReconciled(t, complete)
	g = s.Gates[0]
	require.Len(t, g.Journals, 2)
	require.EqualValues(t, 3, *g.Journals[0].Shown, "its last word before it was killed")
	require.Equal(t, []int64{4, 4}, []int64{g.Journal, g.Central})
	require.Equal(t, 5, e.attendance(t).Admitted)
}
