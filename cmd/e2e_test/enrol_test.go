package e2e_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
)

// refused checks that a command failed with its reason in one line on stderr.
func refused(t *testing.T, r result, code int, reason string) {
	t.Helper()
	require.Equal(t, code, r.code, "stderr: %s", r.stderr)
	require.Empty(t, r.stdout)
	require.Equal(t, 1, strings.Count(r.stderr, "\n"), "lines of stderr: %s", r.stderr)
	require.Contains(t, strings.ToLower(r.stderr), reason)
}

func TestEnrolmentIsRefused(t *testing.T) {
	t.Parallel()
	town := theTown(t)
	e := town.newFestival(t)
	foreign := otherCentral(t).newFestival(t)
	good, err := syncproto.ParseEnrolToken(e.token(t, "North"))
	require.NoError(t, err)
	guessed := good
	guessed.Secret = "AAAAAAAAAAAAAAAAAAAAAA"
	elsewhere, err := syncproto.ParseEnrolToken(foreign.token(t, "North"))
	require.NoError(t, err)
	mixed := elsewhere // a foreign secret under the right root
	mixed.Root = good.Root

	dir := filepath.Join(folder(t), "gate")
	enrol := func(data, token string) result {
		return run("gate", "enrol", "--data", data, "--central", town.url(), "--token", token)
	}
	for _, bad := range []struct{ name, token, reason string }{
		{"no token at all", "nonsense", "not an enrolment token"},
		{"half a token", good.String()[:20], "not an enrolment token"},
		{"a guessed token", guessed.String(), "token"},
		{"a foreign secret", mixed.String(), "token"},
		{"a token of another central", elsewhere.String(), "central"},
		{"an expired token", e.must(t, "gate", "token", "--name", "Late", "--valid", "1ms"), "valid until"},
	} {
		t.Log(bad.name)
		refused(t, enrol(dir, bad.token), 1, bad.reason)
		refused(t, run("gate", "status", "--data", dir, "--json"), 1, "enrol")
	}

	// The refusals have not used anything up.
	require.Zero(t, enrol(dir, good.String()).code)
	refused(t, enrol(dir, good.String()), 1, "already")
	refused(t, enrol(filepath.Join(folder(t), "gate"), good.String()), 1, "used")
	require.Equal(t, "North", (&gate{program: "gate", data: dir}).status(t).Gate)

	// Nobody answers there.
	away := newCable(t, town.url())
	away.pull()
	refused(t, run("gate", "enrol", "--data", filepath.Join(folder(t), "gate"), "--central", away.url(), "--token", e.token(t, "N2")), 1, away.url())
}

// The answer to an enrolment gets lost; the same command again gets it.
func TestEnrolmentIsRepeatedWhenItsAnswerWasLost(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	sold := e.sell(t, "A,day,paid")
	g := &gate{program: "gate", event: e, name: "North", lanes: []lane{mainIn()}}
	g.unpack(t)
	token := e.token(t, "North")
	enrol := []string{"enrol", "--data", g.data, "--central", g.cable.url(), "--token", token}
	g.cable.deafen()
	lost := make(chan result, 1)
	go func() { lost <- run("gate", enrol...) }()
	until(t, "central has the gate", func() error {
		if list := e.must(t, "gate", "list"); !strings.Contains(list, "North") {
			return errors.New(list)
		}
		return nil
	})
	g.cable.pull()
	refused(t, <-lost, 1, "enrol")
	refused(t, run("gate", "status", "--data", g.data), 1, "not enrolled")
	g.cable.plug()
	g.cable.hear()
	must(t, "gate", enrol...)
	g.start(t)
	g.expect(t, "N1", sold["A"].code, "admit admitted")
	g.untilSynced(t)
	require.Len(t, e.attendance(t).ByGate, 1)
}

// A gate that was withdrawn opens to nobody, and what it sends does not count.
func TestARevokedGateIsRefused(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	sold := e.sell(t, "A,day,paid", "B,day,paid", "C,day,paid")
	g := e.openGate(t, "North", mainIn())
	g.expect(t, "N1", sold["A"].code, "admit admitted")
	g.untilSynced(t)
	g.cable.pull()
	g.expect(t, "N1", sold["B"].code, "admit admitted") // nobody can tell it
	e.must(t, "gate", "revoke", "--name", "North", "--reason", "stolen")
	g.cable.plug()
	g.untilVerdict(t, sold["C"].code, "deny device_fault")
	g.expect(t, "N1", sold["C"].code, "deny device_fault")
	require.Equal(t, map[string]int{sold["A"].id: 1, sold["B"].id: 1}, g.admits(t))
	a := e.attendance(t)
	require.Equal(t, 1, a.Admitted, "only what central held when it withdrew the gate")
	require.True(t, g.proc.alive())

	// Switching it off and on, out of central's reach, does not help.
	g.stop(t)
	require.Equal(t, "deny device_fault", g.verify(t, sold["C"].code).String())
	g.cable.pull()
	g.start(t)
	g.expect(t, "N1", sold["C"].code, "deny device_fault")

	// The box can become a gate again under a new name or the same.
	again := e.openGate(t, "North", mainIn())
	again.expect(t, "N1", sold["A"].code, "deny duplicate")
	again.expect(t, "N1", sold["B"].code, "admit admitted")
	again.untilSynced(t)
	require.Equal(t, 2, e.attendance(t).Admitted)
}
