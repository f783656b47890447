package main

import (
	"encoding/json"
	"encoding/xml"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/central/pgtest"
	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
)

func TestEverythingFromTheCommandLine(t *testing.T) {
	t.Parallel()
	w := []string{"--data", dataDir(t)}
	with := func(args ...string) []string { return append(args, w...) }
	require.Equal(t, "1\n", must(t, with("event", "create", file(t, "e.yaml", eventFile))...))
	require.Empty(t, must(t, with("ticket", "import", "--event", "1", file(t, "t.csv", sheet("A", 3)))...))

	lines := strings.Split(must(t, with("ticket", "codes", "--event", "1")...), "\n")
	require.Equal(t, "reference,ticket_id,code", lines[0])
	require.Len(t, lines, 5)
	code := strings.Split(lines[1], ",")[2]
	_, err := credential.Parse([]byte(code))
	require.NoError(t, err)

	fresh := strings.TrimSpace(must(t, with("ticket", "reissue", "--event", "1", "--reference", "A-0")...))
	require.NotEqual(t, code, fresh)
	require.Contains(t, must(t, with("ticket", "codes", "--event", "1")...), fresh)
	require.Empty(t, must(t, with("ticket", "revoke", "--event", "1", "--reference", "A-1", "--reason", "lost")...))
	require.Empty(t, must(t, with("ticket", "revoke", "--event", "1", "--reference", "A-1", "--reason", "lost")...))

	token, err := syncproto.ParseEnrolToken(must(t, with("gate", "token", "--event", "1", "--name", "North")...))
	require.NoError(t, err)
	require.NotEmpty(t, token.Secret)
	require.Equal(t, "NAME  STATE  ENROLLED  LAST SEEN  DEVICE\n", must(t, with("gate", "list", "--event", "1")...))
	require.Empty(t, must(t, with("key", "rotate", "--purpose", "ticket")...))

	require.Empty(t, must(t, with("restored")...))

	var count map[string]any
	require.NoError(t, json.Unmarshal([]byte(must(t, with("attendance", "--event", "1", "--json")...)), &count))
	require.InDelta(t, 3, count["tickets"], 0)
	for _, key := range []string{"admitted", "inside", "denied", "duplicates"} {
		require.InDelta(t, 0, count[key], 0, key)
	}
	require.Empty(t, count["by_gate"])
	require.Contains(t, must(t, with("attendance", "--event", "1")...), "tickets  3\n")

	for args, want := range map[string]string{
		"attendance --event 7":                               "there is no such event",
		"gate list --event 7":                                "there is no such event",
		"ticket codes --event 4294967295":                    "there is no such event",
		"ticket revoke --event 1 --reference X --reason y":   "there is no ticket of that reference",
		"ticket reissue --event 1 --reference A-1":           "is revoked",
		"gate revoke --event 1 --name North --reason gone":   "there is no gate of that name",
		"gate release --event 1 --name North --reason gone":  "there is no gate of that name",
		"gate token --event 7 --name North":                  "there is no such event",
		"event create /nowhere.yaml":                         "no such file",
		"ticket qr --event 1 --reference X --out " + "a.png": "there is no ticket of that reference",
	} {
		r := run(t, with(strings.Fields(args)...)...)
		require.Equal(t, exitFailure, r.code, args)
		require.Contains(t, r.err, want, args)
		require.Equal(t, 1, strings.Count(r.err, "\n"), r.err)
		require.Empty(t, r.out, args)
	}
}

func TestOnlyServeAndWhatCreatesBeginsACentral(t *testing.T) {
	t.Parallel()
	missing, empty := dataDir(t), dataDir(t)
	require.NoError(t, os.Mkdir(empty, 0o755))
	sheet := file(t, "t.csv", sheet("A", 1))
	for _, args := range []string{
		"attendance --event 1", "attendance --event 1 --json", "ticket import --event 1 " + sheet, "ticket codes --event 1",
		"ticket qr --event 1 --reference A --out " + filepath.Join(t.TempDir(), "a.png"), "ticket revoke --event 1 --reference A --reason x",
		"ticket reissue --event 1 --reference A", "gate token --event 1 --name N", "gate list --event 1", "gate revoke --event 1 --name N --reason x",
		"gate release --event 1 --name N --reason x", "key rotate --purpose online", "restored",
		"user list", "user role --email a@example.org --role admin", "user disable --email a@example.org", "user password --email a@example.org",
	} {
		for _, data := range []string{missing, empty} {
			r := run(t, append(strings.Fields(args), "--data", data)...)
			require.Equal(t, exitFailure, r.code, args)
			require.Equal(t, "central: there is no central in "+data+": give the data directory of `central serve`, or begin one with `central event create`\n", r.err)
			require.Empty(t, r.out)
		}
	}
	require.NoDirExists(t, missing)
	left, err := os.ReadDir(empty)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestQRCodeIsDrawnByExtension(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	must(t, "event", "create", "--database-url", url, file(t, "e.yaml", eventFile))
	must(t, "ticket", "import", "--database-url", url, "--event", "1", file(t, "t.csv", sheet("A", 1)))
	dir := t.TempDir()
	for _, name := range []string{"a.png", "a.svg", "A.PNG"} {
		require.Empty(t, must(t, "ticket", "qr", "--database-url", url, "--event", "1", "--reference", "A-0", "--out", filepath.Join(dir, name)))
		f, err := os.Open(filepath.Join(dir, name))
		require.NoError(t, err)
		if strings.HasSuffix(name, ".svg") {
			require.NoError(t, xml.NewDecoder(f).Decode(&struct{}{}))
		} else {
			_, err := png.Decode(f)
			require.NoError(t, err)
		}
		require.NoError(t, f.Close())
	}
	r := run(t, "ticket", "qr", "--database-url", url, "--event", "1", "--reference", "A-0", "--out", filepath.Join(dir, "no", "a.png"))
	require.Equal(t, exitFailure, r.code)
}

func TestBadFilesChangeNothing(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	r := run(t, "event", "create", "--database-url", url, file(t, "e.yaml", eventFile+"colour: red\n"))
	require.Equal(t, exitFailure, r.code)
	require.Contains(t, r.err, "central: event file: line 3: colour: is not a key of an event file")
	require.Empty(t, r.out)
	must(t, "event", "create", "--database-url", url, file(t, "e.yaml", eventFile))

	r = run(t, "ticket", "import", "--database-url", url, "--event", "1", file(t, "t.csv", sheet("A", 5)+"A-9,x,y,vip,,\nA-1,x,y,day,,\n,,,day,,\n"))
	require.Equal(t, exitFailure, r.code)
	require.Equal(t, "central: 3 bad rows, nothing was imported; correct the file and import it again:\n"+
		"  line 7: reference \"A-9\": ticket_type: the event has no type \"vip\"\n  line 8: reference \"A-1\": the reference is on line 3 already\n  line 9: reference: is empty\n", r.err)
	require.Contains(t, must(t, "attendance", "--database-url", url, "--event", "1", "--json"), `"tickets":0`)

	must(t, "ticket", "import", "--database-url", url, "--event", "1", file(t, "t.csv", sheet("A", 2)))
	r = run(t, "ticket", "import", "--database-url", url, "--event", "1", file(t, "t.csv", sheet("A", 3)))
	require.Equal(t, exitFailure, r.code)
	require.Contains(t, r.err, "2 bad rows")
	require.Contains(t, must(t, "attendance", "--database-url", url, "--event", "1", "--json"), `"tickets":2`)
	r = run(t, "ticket", "import", "--database-url", url, "--event", "1", "--update", file(t, "t.csv", sheet("A", 3)))
	require.Equal(t, "1 added, 0 updated, 2 unchanged\n", r.err)
}

func TestServeAndCommandsBesideIt(t *testing.T) {
	t.Parallel()
	data := dataDir(t)
	s := serve(t, "--data", data)
	status, _ := s.get(t, "/healthz")
	require.Equal(t, 200, status)
	status, body := s.get(t, "/readyz")
	require.Equal(t, 200, status, body)
	must(t, "event", "create", "--data", data, file(t, "e.yaml", eventFile))
	must(t, "ticket", "import", "--data", data, "--event", "1", file(t, "t.csv", sheet("A", 10)))
	_, page := s.get(t, "/events/1")
	require.Contains(t, page, "of 10 tickets")
	_, metrics := s.get(t, "/metrics")
	require.Contains(t, metrics, `gatehouse_http_request_seconds_count{method="GET",route="/events/:event",status="200"} 1`)
	token, err := syncproto.ParseEnrolToken(must(t, "gate", "token", "--data", data, "--event", "1", "--name", "North"))
	require.NoError(t, err)
	require.Equal(t, s.url, token.URL)
	require.Empty(t, s.stop(t), "it printed one line and nothing else")
	require.Contains(t, must(t, "attendance", "--data", data, "--event", "1", "--json"), `"tickets":10`)
}

func TestCommandsWorkStraightAfterServeWasKilled(t *testing.T) {
	t.Parallel()
	data := dataDir(t)
	s := serve(t, "--data", data)
	must(t, "event", "create", "--data", data, file(t, "e.yaml", eventFile))
	for range 3 {
		s.kill(t)
		require.Contains(t, must(t, "attendance", "--data", data, "--event", "1", "--json"), `"tickets":0`)
		s = serve(t, "--data", data)
		status, body := s.get(t, "/readyz")
		require.Equal(t, 200, status, body)
	}
	require.Empty(t, s.stop(t))
}

func TestCommandsWorkTwoAtATime(t *testing.T) {
	t.Parallel()
	data := dataDir(t)
	path := file(t, "e.yaml", eventFile)
	one := begin(t, "event", "create", "--data", data, path)
	two := begin(t, "event", "create", "--data", data, path)
	printed := map[string]bool{}
	for _, r := range []result{one(), two()} {
		require.Zero(t, r.code, r.err)
		printed[r.out] = true
	}
	require.Equal(t, map[string]bool{"1\n": true, "2\n": true}, printed, "on a data directory that neither had made")

	one = begin(t, "ticket", "import", "--data", data, "--event", "1", file(t, "a.csv", sheet("A", 500)))
	two = begin(t, "ticket", "import", "--data", data, "--event", "1", file(t, "b.csv", sheet("B", 500)))
	for _, r := range []result{one(), two()} {
		require.Zero(t, r.code, r.err)
	}
	require.Contains(t, must(t, "attendance", "--data", data, "--event", "1", "--json"), `"tickets":1000`)
}

func TestFiftyThousandTicketsAreImportedInSeconds(t *testing.T) {
	if testing.Short() {
		t.Skip("imports 50,000 tickets")
	}
	data := dataDir(t)
	serve(t, "--data", data)
	must(t, "event", "create", "--data", data, file(t, "e.yaml", eventFile))
	path := file(t, "t.csv", sheet("A", 50_000))
	began := time.Now()
	r := run(t, "ticket", "import", "--data", data, "--event", "1", path)
	took := time.Since(began)
	t.Logf("50,000 tickets imported in %s", took)
	require.Equal(t, "50000 added, 0 updated, 0 unchanged\n", r.err, "off a terminal there is no progress bar")
	require.Less(t, took, 30*time.Second)
	began = time.Now()
	require.Equal(t, 50_001, strings.Count(must(t, "ticket", "codes", "--data", data, "--event", "1"), "\n"))
	t.Logf("50,000 codes written in %s", time.Since(began))
}
