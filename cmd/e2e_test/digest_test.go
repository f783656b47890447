package e2e_test

import (
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"gatehouse/syncproto/credential"
)

// verdictOfCheck is what gate check --json prints.
type verdictOfCheck struct {
	Result     string  `json:"result"`
	Records    int     `json:"records"`
	Buckets    int     `json:"buckets"`
	At         *string `json:"at"`
	DivergedAt *string `json:"diverged_at"`
	Problem    string  `json:"problem"`
}

func (g *gate) check(t *testing.T) verdictOfCheck {
	t.Helper()
	var v verdictOfCheck
	strict(t, must(t, g.program, "check", "--data", g.data, "--json"), &v)
	return v
}

// replica opens the file of a gate beside it, as only an accident writes to it.
func (g *gate) replica(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(g.data, "replica.db")+"?_pragma=busy_timeout(5000)")
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	return db
}

// change runs a statement on the replica file.
func (g *gate) change(t *testing.T, statement string, args ...any) {
	t.Helper()
	db := g.replica(t)
	res, err := db.ExecContext(t.Context(), statement, args...)
	require.NoError(t, err)
	n, err := res.RowsAffected()
	require.NoError(t, err)
	require.EqualValues(t, 1, n, statement)
	require.NoError(t, db.Close())
}

// untilFiled waits until the replica file is as far as central: a new one is made of
// a snapshot that may be older than what memory goes on with, and follows.
func (g *gate) untilFiled(t *testing.T) {
	t.Helper()
	until(t, "replica file of gate "+g.name, func() error {
		s := g.untilSynced(t)
		db := g.replica(t)
		var seq int64
		require.NoError(t, db.QueryRowContext(t.Context(), `SELECT seq FROM position`).Scan(&seq))
		require.NoError(t, db.Close())
		if seq < s.Head {
			return fmt.Errorf("it is at %d of %d", seq, s.Head)
		}
		return nil
	})
}

// row is the value of a ticket's row.
func (g *gate) row(t *testing.T, no uint32) []byte {
	t.Helper()
	db := g.replica(t)
	var value []byte
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT record FROM ticket WHERE number = ?`, no).Scan(&value))
	require.NoError(t, db.Close())
	return value
}

// forged is a ticket's value with another status and a checksum that fits it: what
// no checksum finds.
func forged(value []byte, no uint32, status byte) []byte {
	out := append([]byte(nil), value...)
	out[26] = status
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, binary.BigEndian.AppendUint32(nil, no))
	binary.BigEndian.PutUint32(out[35:], crc32.Update(sum, table, out[:35]))
	return out
}

func numberOf(t *testing.T, code string) uint32 {
	t.Helper()
	c, err := credential.Parse([]byte(code))
	require.NoError(t, err)
	return uint32(c.Ticket)
}

// requests is how often central was asked for a route, well.
func (c *central) requests(t *testing.T, route string) int {
	t.Helper()
	resp, err := http.Get(c.url() + "/metrics")
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	found := regexp.MustCompile(`gatehouse_http_request_seconds_count\{method="GET",route="` + regexp.QuoteMeta(route) + `",status="200"\} (\d+)`).FindSubmatch(body)
	if found == nil {
		return 0
	}
	n, err := strconv.Atoi(string(found[1]))
	require.NoError(t, err)
	return n
}

// A replica that is wrong without anybody noticing is found by comparing digests,
// and only the buckets that differ are fetched. Lanes go on.
func TestASilentDivergenceIsFoundAndRepaired(t *testing.T) {
	t.Parallel()
	c := newCentral(t)
	e := c.newFestival(t)
	rows := make([]string, 2000)
	for i := range rows {
		rows[i] = fmt.Sprintf("T%d,day,paid", i)
	}
	sold := e.sell(t, rows...)
	e.revoke(t, "T5")
	g := e.openGate(t, "North", mainIn())
	g.untilSynced(t)
	g.untilVerdict(t, sold["T5"].code, "deny revoked")
	g.expect(t, "N1", sold["T10"].code, "admit admitted")
	g.untilSynced(t)
	require.Equal(t, "equal", g.check(t).Result)
	require.Contains(t, must(t, "gate", "check", "--data", g.data), "equal")

	g.stop(t)
	revoked, lost := numberOf(t, sold["T5"].code), numberOf(t, sold["T1000"].code)
	good := g.row(t, revoked)
	g.change(t, `UPDATE ticket SET record = ? WHERE number = ?`, forged(good, revoked, 0), revoked)
	g.change(t, `DELETE FROM ticket WHERE number = ?`, lost)
	const extra = 500_000
	g.change(t, `INSERT INTO ticket (number, record) VALUES (?, ?)`, extra, forged(good, extra, 0))
	g.start(t)
	g.untilSynced(t)
	require.Equal(t, "admit admitted", g.verify(t, sold["T5"].code).String(), "this is what goes wrong")
	require.False(t, g.verify(t, sold["T1000"].code).Known)

	buckets, blobs := c.requests(t, "/v1/bucket"), c.requests(t, "/v1/blob/:hash")
	scans := make(chan error, 1)
	stop := make(chan struct{})
	go func() { scans <- g.keepScanning(sold, stop) }()
	got := g.check(t)
	close(stop)
	require.NoError(t, <-scans)
	require.Equal(t, verdictOfCheck{Result: "repaired", Records: 3, Buckets: 3, At: got.At, DivergedAt: got.DivergedAt}, got)
	require.NotNil(t, got.DivergedAt)
	require.Equal(t, buckets+3, c.requests(t, "/v1/bucket"), "the buckets that differed, and no others")
	require.Equal(t, blobs, c.requests(t, "/v1/blob/:hash"), "no snapshot")
	require.Equal(t, "deny revoked", g.verify(t, sold["T5"].code).String())
	require.True(t, g.verify(t, sold["T1000"].code).Known)
	require.Equal(t, good, g.row(t, revoked))
	require.Contains(t, g.proc.log(), "the roster had diverged from central's and is repaired")

	again := g.check(t)
	require.Equal(t, "equal", again.Result)
	require.Equal(t, got.DivergedAt, again.DivergedAt, "that it had diverged is not forgotten")
	require.Equal(t, "deny duplicate", g.verify(t, sold["T10"].code).String())
	e.untilToldOfDivergence(t, "North")
	g.restart(t)
	require.Equal(t, again.DivergedAt, g.lastCheck(t).DivergedAt)
}

// keepScanning presents fresh tickets until stop is closed; each must be admitted.
func (g *gate) keepScanning(sold codes, stop <-chan struct{}) error {
	for i := 20; i < 900; i++ {
		select {
		case <-stop:
			if i < 25 {
				return errors.New("the lane was not used")
			}
			return nil
		default:
		}
		if _, err := g.ports["N1"].Write([]byte(sold[fmt.Sprintf("T%d", i)].code + "\r")); err != nil {
			return err
		}
		want := i - 20 + 2 // one before, and this
		err := poll(soon, func() error {
			var all []decision
			if all = g.lines(); len(all) < want {
				return fmt.Errorf("%d of %d scans are answered", len(all), want)
			}
			if got := all[want-1].String(); got != "admit admitted" {
				return hopeless{errors.New(got)}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// lines are the whole lines of the decision log, as far as they can be read.
func (g *gate) lines() []decision {
	var all []decision
	for _, line := range strings.Split(readAll(g.log()), "\n") {
		var d decision
		if json.Unmarshal([]byte(line), &d) == nil && d.Decision != "" {
			all = append(all, d)
		}
	}
	return all
}

func readAll(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// lastCheck is the comparison in the status.
func (g *gate) lastCheck(t *testing.T) verdictOfCheck {
	t.Helper()
	var s struct {
		Check *verdictOfCheck `json:"check"`
	}
	require.NoError(t, json.Unmarshal([]byte(must(t, g.program, "status", "--data", g.data, "--json")), &s))
	require.NotNil(t, s.Check)
	return *s.Check
}

// untilToldOfDivergence waits until central shows that a gate had diverged.
func (e event) untilToldOfDivergence(t *testing.T, name string) {
	t.Helper()
	until(t, "central hears of the divergence", func() error {
		var a struct {
			ByGate map[string]struct {
				DivergedAt *string `json:"diverged_at"`
			} `json:"by_gate"`
		}
		if err := json.Unmarshal([]byte(e.must(t, "attendance", "--json")), &a); err != nil {
			return err
		}
		if a.ByGate[name].DivergedAt == nil {
			return errors.New("not yet")
		}
		return nil
	})
	require.Contains(t, readAll(e.central.proc.stderr), "a gate's roster had diverged")
}

// The file can be right and memory wrong: here the file is put right behind the
// gate's back.
func TestAWrongMemoryIsFoundAndMended(t *testing.T) {
	t.Parallel()
	c := newCentral(t)
	e := c.newFestival(t)
	sold := e.sell(t, "A,day,paid", "B,day,paid")
	e.revoke(t, "A")
	g := e.openGate(t, "North", mainIn())
	g.untilVerdict(t, sold["A"].code, "deny revoked")
	g.stop(t)
	no := numberOf(t, sold["A"].code)
	good := g.row(t, no)
	g.change(t, `UPDATE ticket SET record = ? WHERE number = ?`, forged(good, no, 0), no)
	g.start(t)
	g.untilSynced(t)
	require.Equal(t, "admit admitted", g.verify(t, sold["A"].code).String())
	g.change(t, `UPDATE ticket SET record = ? WHERE number = ?`, good, no)

	buckets := c.requests(t, "/v1/bucket")
	got := g.check(t)
	require.Equal(t, "repaired", got.Result)
	require.Equal(t, 1, got.Records)
	require.Equal(t, buckets, c.requests(t, "/v1/bucket"), "the file had what was needed")
	require.Equal(t, "deny revoked", g.verify(t, sold["A"].code).String())
	require.Equal(t, "equal", g.check(t).Result)
}

// A row that fails its checksum is found as well, before a restart would give the
// whole file up for it.
func TestADamagedRowIsRepairedWhileTheGateRuns(t *testing.T) {
	t.Parallel()
	c := newCentral(t)
	e := c.newFestival(t)
	sold := e.sell(t, "A,day,paid", "B,day,paid")
	g := e.openGate(t, "North", mainIn())
	g.expect(t, "N1", sold["A"].code, "admit admitted")
	g.untilSynced(t)
	e.untilAttendance(t, func(a attendance) error {
		if a.Admitted != 1 {
			return errors.New("not yet")
		}
		return nil
	})
	until(t, "the entry came down", func() error {
		db := g.replica(t)
		defer db.Close()
		var n int
		if err := db.QueryRow(`SELECT count(*) FROM entry`).Scan(&n); err != nil || n < 2 {
			return fmt.Errorf("%d entries: %w", n, err)
		}
		return nil
	})
	no := numberOf(t, sold["B"].code)
	good := g.row(t, no)
	bad := append([]byte(nil), good...)
	bad[9] ^= 0x10
	g.change(t, `UPDATE ticket SET record = ? WHERE number = ?`, bad, no)
	g.change(t, `UPDATE entry SET sum = sum + 1 WHERE seq = 2`)
	got := g.check(t)
	require.Equal(t, "repaired", got.Result)
	require.Equal(t, 2, got.Records)
	require.Equal(t, good, g.row(t, no))
	require.Equal(t, "equal", g.check(t).Result)
	require.Equal(t, "deny duplicate", g.verify(t, sold["A"].code).String())
	g.restart(t)
	require.Equal(t, "deny duplicate", g.verify(t, sold["A"].code).String())
}

// Where very much is wrong a snapshot is less work; a second one within the hour is
// not taken.
func TestAWideDivergenceTakesOneSnapshot(t *testing.T) {
	t.Parallel()
	c := newCentral(t)
	e := c.newFestival(t)
	rows := make([]string, 6000) // in 94 buckets
	for i := range rows {
		rows[i] = fmt.Sprintf("T%d,day,paid", i)
	}
	sold := e.sell(t, rows...)
	g := e.openGate(t, "North", mainIn())
	g.untilSynced(t)
	wreck := func() {
		db := g.replica(t)
		_, err := db.ExecContext(t.Context(), `DELETE FROM ticket WHERE number % 64 = 3`)
		require.NoError(t, err)
		require.NoError(t, db.Close())
	}
	wreck()
	got := g.check(t)
	require.Equal(t, "resync", got.Result)
	require.Zero(t, c.requests(t, "/v1/bucket"))
	require.Equal(t, "equal", g.check(t).Result)
	manifests := c.requests(t, "/v1/snapshot/:stream")
	wreck()
	r := run("gate", "check", "--data", g.data)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "could not be made equal")
	require.Equal(t, manifests, c.requests(t, "/v1/snapshot/:stream"))
	require.Equal(t, "admit admitted", g.verify(t, sold["T3"].code).String(), "memory serves")
	g.expect(t, "N1", sold["T4"].code, "admit admitted")
}

func TestACheckWithoutCentralSaysSo(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	sold := e.sell(t, "A,day,paid")
	g := e.openGate(t, "North", mainIn())
	g.untilSynced(t)
	g.cable.pull()
	until(t, "gate offline", func() error {
		if g.status(t).Central != "offline" {
			return errors.New("still online")
		}
		return nil
	})
	r := run("gate", "check", "--data", g.data, "--json")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stdout, `"result":"cannot"`)
	require.Contains(t, r.stderr, "central cannot be reached")
	g.expect(t, "N1", sold["A"].code, "admit admitted")
	g.stop(t)
	r = run("gate", "check", "--data", g.data)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "no gate is running")
}
