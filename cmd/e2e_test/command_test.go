package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// subcommands lists every command of a program, the program itself first.
func subcommands(t *testing.T, program string, path ...string) [][]string {
	t.Helper()
	all := [][]string{path}
	help := must(t, program, append(path, "--help")...)
	_, list, ok := strings.Cut(help, "Available Commands:\n")
	if !ok {
		return all
	}
	list, _, _ = strings.Cut(list, "\n\n")
	for line := range strings.Lines(list) {
		name := strings.Fields(line)[0]
		if name != "help" {
			all = append(all, subcommands(t, program, append(slices.Clone(path), name)...)...)
		}
	}
	return all
}

func TestEveryCommandHelpsWithAnExample(t *testing.T) {
	t.Parallel()
	for program, want := range map[string][]string{
		"central": {
			"", "serve", "event create", "ticket import", "ticket codes", "ticket qr", "ticket revoke", "gate token", "attendance",
		},
		"gate": {"", "enrol", "run", "status", "verify", "journal", "walkup"},
	} {
		found := map[string]bool{}
		for _, command := range subcommands(t, program) {
			r := run(program, append(command, "--help")...)
			require.Zero(t, r.code)
			require.Empty(t, r.stderr)
			require.Regexp(t, `(?s)Examples:\n  `+program+" "+strings.Join(command, " "), r.stdout)
			for _, flag := range regexp.MustCompile(`(?m)^\s+-\w[^\w,]`).FindAllString(r.stdout, -1) {
				t.Errorf("%s %s has a flag with one dash: %s", program, strings.Join(command, " "), flag)
			}
			found[strings.Join(command, " ")] = true
		}
		for _, name := range want {
			require.True(t, found[name], "%s has no command %q in %v", program, name, found)
		}
	}
}

// wrongCall is a command line that fails with an exit code.
type wrongCall struct {
	code int
	args []string
}

// wrongGateCalls name a data directory that is not there.
func wrongGateCalls(nowhere string) []wrongCall {
	lane := "name=N1,zone=main,direction=in,scanner=serial:/dev/null"
	runs := func(extra ...string) []string {
		return append([]string{"gate", "run", "--data", nowhere, "--listen", "127.0.0.1:0"}, extra...)
	}
	return []wrongCall{
		{2, []string{"gate", "dance"}},
		{2, []string{"gate", "status"}},
		{2, []string{"gate", "status", "--data", nowhere, "--yaml"}},
		{2, []string{"gate", "status", "--data"}},
		{2, []string{"gate", "status", "--data", nowhere, "more"}},
		{2, []string{"gate", "verify", "--data", nowhere}},
		{2, []string{"gate", "verify", "--data", nowhere, "A", "B"}},
		{2, []string{"gate", "verify", "--data", nowhere, "A", "--image", "b.png"}},
		{2, []string{"gate", "enrol", "--data", nowhere}},
		{2, runs()},
		{2, runs("--lane", "name=N1")},
		{2, runs("--lane", strings.Replace(lane, "=in,", "=sideways,", 1))},
		{2, runs("--lane", lane+"?lane=N1")},
		{2, runs("--lane", lane+"?dir=in")},
		{2, runs("--lane", strings.Replace(lane, "serial:", "camera:", 1))},
		{2, runs("--lane", lane, "--lane", lane)},
		{2, runs("--lane", lane, "--guard", "soon")},
		{2, runs("--lane", lane, "--guard", "-1s")},
		{2, []string{"gate", "run", "--data", nowhere, "--lane", lane}},
		{2, []string{"gate", "run", "--data", nowhere, "--listen", "nonsense", "--lane", lane}},
		{2, []string{"gate", "run", "--data", nowhere, "--listen", "0.0.0.0:0", "--lane", lane}},
		{2, runs("--lane", lane, "--walkup", "day")},
		{2, runs("--lane", lane, "--walkup", "day=0")},
		{2, runs("--lane", lane, "--walkup", "day=1001")},
		{2, runs("--lane", lane, "--walkup", "day=5", "--walkup", "day=6")},
		{2, []string{"gate", "walkup", "--type", "day", "--name", "Ada"}},
		{2, []string{"gate", "walkup", "--data", nowhere, "--type", "day"}},
		{2, []string{"gate", "walkup", "--data", nowhere, "--name", "Ada"}},
		{2, []string{"gate", "walkup", "--data", nowhere, "--return", "--name", "Ada"}},
		{1, []string{"gate", "walkup", "--data", nowhere, "--type", "day", "--name", "Ada"}},
		{1, runs("--lane", lane)},
		{1, []string{"gate", "status", "--data", nowhere, "--json"}},
		{1, []string{"gate", "journal", "--data", nowhere}},
		{1, []string{"gate", "verify", "--data", nowhere, "A"}},
		{1, []string{"gate", "enrol", "--data", nowhere, "--token", "T"}},
	}
}

// wrongCentralCalls are about an event, and about things that are not there.
func wrongCentralCalls(e event, nowhere string) []wrongCall {
	at := func(command ...string) []string {
		return append(append([]string{"central"}, command...), "--data", e.central.data)
	}
	return []wrongCall{
		{2, []string{"central"}},
		{2, []string{"central", "dance"}},
		{2, []string{"central", "ticket", "dance"}},
		{2, []string{"central", "serve", "--data", nowhere}},
		{2, []string{"central", "serve", "--listen", "127.0.0.1:0"}},
		{2, []string{"central", "serve", "--data", nowhere, "--listen", "0.0.0.0:0"}},
		{2, at("event", "create")},
		{2, at("ticket", "codes")},
		{2, at("ticket", "codes", "--event", "one")},
		{2, at("ticket", "codes", "--event", e.id, "more")},
		{2, at("ticket", "qr", "--event", e.id, "--reference", "A", "--out", "a.gif")},
		{2, at("ticket", "revoke", "--event", e.id, "--reference", "A")},
		{2, at("gate", "token", "--event", e.id)},
		{2, at("attendance", "--event", e.id, "--xml")},
		{1, at("event", "create", nowhere)},
		{1, at("ticket", "import", nowhere, "--event", e.id)},
		{1, at("ticket", "codes", "--event", "999999")},
		{1, at("ticket", "revoke", "--event", e.id, "--reference", "NOBODY", "--reason", "test")},
		{1, at("ticket", "qr", "--event", e.id, "--reference", "NOBODY", "--out", "absent.png")},
		{1, at("attendance", "--event", "999999", "--json")},
		{1, at("gate", "token", "--event", "999999", "--name", "North")},
		{2, at("lease", "release", "--event", e.id, "--lease", "7", "--reason", "x")},
		{2, at("lease", "release", "--event", e.id, "--reason", "x")},
		{1, at("lease", "release", "--event", e.id, "--lease", "0b2c61d8-5a3e-4a53-9c3e-6a2f1d0e7b41", "--reason", "x")},
		{1, at("lease", "list", "--event", "999999")},
	}
}

func TestMisuseAndFailureAreToldApart(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	nowhere := filepath.Join(folder(t), "nowhere")
	for _, c := range append(wrongGateCalls(nowhere), wrongCentralCalls(e, nowhere)...) {
		r := run(c.args[0], c.args[1:]...)
		command := strings.Join(c.args, " ")
		require.Equal(t, c.code, r.code, "%s: %s", command, r.stderr)
		require.Empty(t, r.stdout, command)
		require.Equal(t, 1, strings.Count(r.stderr, "\n"), "%s: not one line: %s", command, r.stderr)
		require.True(t, strings.HasPrefix(r.stderr, c.args[0]+": "), "%s: %s", command, r.stderr)
		require.Greater(t, len(r.stderr), 20, command)
	}
	require.NoDirExists(t, nowhere)
}

func TestAFileWithMistakesChangesNothing(t *testing.T) {
	t.Parallel()
	town := theTown(t)
	e := town.newFestival(t)
	e.sell(t, "A,day,paid")
	for name, rows := range map[string][]string{
		"a reference that exists": {"B,day,paid", "A,day,paid"},
		"an unknown type":         {"B,day,paid", "C,moon,paid"},
		"an unknown status":       {"B,day,perhaps"},
		"a reference twice":       {"B,day,paid", "B,day,paid"},
		"no reference":            {",day,paid"},
	} {
		r := town.try("ticket", "import", e.csv(t, rows...), "--event", e.id)
		require.Equal(t, 1, r.code, name)
		require.Empty(t, r.stdout, name)
		require.Contains(t, r.stderr, "line ", name)
		require.Len(t, e.codes(t), 1, name)
	}
	for name, text := range map[string]string{
		"an unknown key": "name: A\nticket_types: [{key: day}]\ncolour: red\n",
		"no name":        "ticket_types: [{key: day}]\n",
		"no YAML":        "{{{",
		"empty":          "",
	} {
		file := filepath.Join(folder(t), "event.yaml")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		r := town.try("event", "create", file)
		require.Equal(t, 1, r.code, name)
		require.Empty(t, r.stdout, name)
	}
}

func TestAGateIsLookedAtRunningAndStopped(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	sold := e.sell(t, "A,day,paid", "B,day,paid")
	g := e.newGate(t, "North", mainIn())

	// Before it ever ran it knows nothing, and says so.
	s := g.status(t)
	require.Equal(t, "North", s.Gate)
	require.Nil(t, s.CursorAgeS)
	require.Empty(t, g.journal(t))
	require.Equal(t, "deny not_ready", g.verify(t, sold["A"].code).String())

	g.start(t)
	g.expect(t, "N1", sold["A"].code, "admit admitted")
	g.untilSynced(t)
	image := filepath.Join(g.dir, "B.png")
	e.must(t, "ticket", "qr", "--reference", "B", "--out", image)
	look := func() (status, []entry, []string) {
		t.Helper()
		var fromImage verdict
		require.NoError(t, json.Unmarshal([]byte(must(t, "gate", "verify", "--data", g.data, "--image", image)), &fromImage))
		require.Equal(t, sold["B"].id, *fromImage.TicketID)
		a, b, c := g.verify(t, sold["A"].code), g.verify(t, sold["B"].code), g.verify(t, "GARBAGE")
		require.True(t, a.Known && b.Known && fromImage.Known && !c.Known)
		require.NotNil(t, a.DecideUS)
		require.Nil(t, c.TicketID)
		return g.status(t), g.journal(t), []string{a.String(), b.String(), c.String(), fromImage.String()}
	}
	running, journal, verdicts := look()
	require.Equal(t, "North", running.Gate)
	require.Equal(t, e.id, fmt.Sprint(running.Event))
	require.Equal(t, 2, running.Tickets)
	require.Equal(t, "online", running.Central)
	require.EqualValues(t, 2, running.JournalRows)
	require.EqualValues(t, 2, running.LastSeq)
	require.Equal(t, []string{"deny duplicate", "admit admitted", "deny malformed", "admit admitted"}, verdicts)
	require.Len(t, journal, 2)

	g.stop(t)
	stopped, later, same := look()
	require.Equal(t, journal, later)
	require.Equal(t, verdicts, same)
	require.Equal(t, "offline", stopped.Central)
	require.NotNil(t, stopped.CursorAgeS)
	require.GreaterOrEqual(t, *stopped.CursorAgeS, 0.0)
	require.Equal(t, []any{running.Gate, running.Event, running.Tickets, running.Unsent, running.JournalRows, running.LastSeq},
		[]any{stopped.Gate, stopped.Event, stopped.Tickets, stopped.Unsent, stopped.JournalRows, stopped.LastSeq})

	// Killed, too; and looking has not opened an incarnation.
	g.start(t)
	g.proc.kill()
	require.Len(t, g.journal(t), 3)
	require.Len(t, g.journal(t), 3)
	require.Equal(t, "deny duplicate", g.verify(t, sold["A"].code).String())

	// A second gate on the same data is refused while the first one runs.
	g.start(t)
	r := run("gate", append(g.args(), "--lock-wait", "50ms")...)
	refused(t, r, 1, "already running")
	g.expect(t, "N1", sold["B"].code, "admit admitted")
}

func TestATornLineOfTheDecisionLogIsEnded(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	sold := e.sell(t, "A,day,paid")
	g := e.newGate(t, "North", mainIn())
	whole, torn := `{"at":"2026-01-01T00:00:00.000Z","lane":"N1"}`+"\n", `{"at":"2026-01-01T00:00:01.0`
	require.NoError(t, os.WriteFile(g.log(), []byte(whole+torn), 0o600))
	g.start(t)
	g.send(t, "N1", sold["A"].code+"\r")
	until(t, "the admission", func() error {
		b, err := os.ReadFile(g.log())
		if err == nil && strings.Count(string(b), "\n") != 3 {
			err = fmt.Errorf("the log is %q", b)
		}
		return err
	})
	b, err := os.ReadFile(g.log())
	require.NoError(t, err)
	rest, ok := strings.CutPrefix(string(b), whole+torn+"\n")
	require.True(t, ok, "%q", b)
	var d decision
	require.NoError(t, json.Unmarshal([]byte(rest), &d))
	require.Equal(t, "admit admitted", d.String())
}

// writes starts a program whose stdout is a socket that keeps writes apart, and
// returns what reads the next one.
func writes(t *testing.T, name string, args ...string) (p *process, next func() string) {
	t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	theirs := os.NewFile(uintptr(pair[1]), "stdout")
	p = &process{cmd: prepare(program(name), args...), done: make(chan struct{}), stderr: filepath.Join(folder(t), "err")}
	stderr, err := os.Create(p.stderr)
	require.NoError(t, err)
	p.cmd.Stdout, p.cmd.Stderr = theirs, stderr
	require.NoError(t, p.cmd.Start())
	require.NoError(t, theirs.Close())
	require.NoError(t, stderr.Close())
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		if p.alive() {
			p.kill()
		}
		require.NoError(t, syscall.Close(pair[0]))
	})
	return p, func() string {
		wait := syscall.NsecToTimeval(int64(readyMax))
		require.NoError(t, syscall.SetsockoptTimeval(pair[0], syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &wait))
		buf := make([]byte, 1<<16)
		n, err := syscall.Read(pair[0], buf)
		for errors.Is(err, syscall.EINTR) { // a signal of the runtime's own
			n, err = syscall.Read(pair[0], buf)
		}
		require.NoError(t, err, "%s says:\n%s", name, p.log())
		return string(buf[:n])
	}
}

func TestStdoutHasOneLineAWriteAndNothingElse(t *testing.T) {
	t.Parallel()
	t.Run("central", func(t *testing.T) {
		t.Parallel()
		p, next := writes(t, "central", "serve", "--data", filepath.Join(folder(t), "central"), "--listen", "127.0.0.1:0")
		require.Regexp(t, `^central ready http://127\.0\.0\.1:\d+\n$`, next())
		require.NoError(t, p.stop())
		require.Empty(t, next(), "the end")
	})
	t.Run("gate", func(t *testing.T) {
		t.Parallel()
		e := theTown(t).newFestival(t)
		sold := e.sell(t, "A,day,paid")
		g := e.newGate(t, "North", lane{"N1", "main", "in"}, lane{"N2", "main", "in"})
		args := g.args()
		args[slices.Index(args, "--log-decisions")+1] = "-"
		p, next := writes(t, "gate", args...)
		require.Regexp(t, `^gate ready http://127\.0\.0\.1:\d+\n$`, next())
		for _, answer := range []string{"admit admitted", "repeat same_code", "deny malformed"} {
			text := sold["A"].code
			if answer == "deny malformed" {
				text = "GARBAGE"
			}
			g.send(t, "N1", text+"\r")
			line := next()
			require.Equal(t, strings.Index(line, "\n"), len(line)-1, "%q", line)
			var d decision
			require.NoError(t, json.Unmarshal([]byte(line), &d))
			require.Equal(t, answer, d.String())
		}
		require.NoError(t, p.stop())
		require.Empty(t, next(), "the end")
	})
}

// The log's keys, all of them and no other, with times that are numbers.
func TestTheDecisionLogHasItsKeys(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	sold := e.sell(t, "A,day,paid")
	g := e.openGate(t, "North", mainIn())
	g.expect(t, "N1", sold["A"].code, "admit admitted")
	g.expect(t, "N1", "GARBAGE", "deny malformed")
	g.expect(t, "N1", sold["A"].code, "repeat same_code")
	b, err := os.ReadFile(g.log())
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		var keys map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &keys))
		if keys["decision"] == "admit" {
			require.Equal(t, "1 of 1 gates", keys["certainty"])
		}
		delete(keys, "certainty") // only what lets somebody through has it
		require.Len(t, keys, 8)
		require.Contains(t, keys, "ticket_id")
		for _, key := range []string{"at", "lane", "code_hash", "decision", "reason"} {
			require.IsType(t, "", keys[key], key)
		}
		for _, key := range []string{"decide_us", "durable_us"} {
			require.IsType(t, 0.0, keys[key], key)
		}
	}
}

// Commands of central share its database: with serve, and with one another.
func TestCommandsOfCentralWorkTogether(t *testing.T) {
	t.Parallel()
	town := theTown(t)
	e := town.newFestival(t)
	var both sync.WaitGroup
	results := make([]result, 6)
	for i := range results {
		file := e.csv(t, fmt.Sprintf("R-%d,day,paid", i))
		both.Go(func() { results[i] = town.try("ticket", "import", file, "--event", e.id) })
	}
	both.Wait()
	for _, r := range results {
		require.Zero(t, r.code, r.stderr)
		require.Empty(t, r.stdout)
	}
	require.Len(t, e.codes(t), len(results))
}
