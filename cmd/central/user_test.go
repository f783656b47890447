package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/central"
	"gatehouse/central/pgtest"
	"gatehouse/central/staff"
)

// fed runs the program with something on its standard input.
func fed(t *testing.T, input string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := command(t, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	if err := cmd.Run(); err != nil {
		require.ErrorAs(t, err, new(*exec.ExitError))
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

func TestUsersFromTheCommandLine(t *testing.T) {
	t.Parallel()
	w := []string{"--database-url", pgtest.Empty(t)}
	user := func(args ...string) []string { return append(append([]string{"user"}, args...), w...) }
	must(t, append([]string{"event", "create", file(t, "e.yaml", eventFile)}, w...)...)

	printed := must(t, user("create", "--email", "Ada@Example.org", "--name", "Ada", "--role", "admin")...)
	require.Regexp(t, `^[0-9a-z]{4}(-[0-9a-z]{4}){4}\n$`, printed, "one line")
	r := fed(t, "correct horse battery\nanother line\n", user("create", "--email", "bob@example.org", "--role", "gate-staff", "--event", "1", "--password-stdin")...)
	require.Equal(t, result{}, r)

	c, err := central.Open(t.Context(), central.Config{DatabaseURL: w[1], Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	signIn := func(email, password string) (staff.Browser, error) {
		return c.Staff.SignIns.Browser(t.Context(), staff.Credentials{Email: email, Password: password})
	}
	ada, err := signIn("ada@example.org", strings.TrimSuffix(printed, "\n"))
	require.NoError(t, err)
	require.True(t, ada.Principal.May(staff.AccountWrite, 0))
	bob, err := signIn("bob@example.org", "correct horse battery")
	require.NoError(t, err)
	require.True(t, bob.Principal.May(staff.CheckinWrite, 1))

	var first staff.Account
	lines := strings.Split(must(t, user("list", "--json")...), "\n")
	require.Len(t, lines, 3)
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &first))
	require.Equal(t, []string{"ada@example.org", "Ada", "admin"}, []string{first.Email, first.Name, string(first.Role)})
	require.NotContains(t, lines[0]+lines[1], "argon2")
	table := must(t, user("list")...)
	require.Regexp(t, `(?m)^EMAIL +NAME +ROLE +EVENTS +STATE +CREATED$`, table)
	require.Regexp(t, `(?m)^ada@example.org +Ada +admin +all +enabled +2`, table)
	require.Regexp(t, `(?m)^bob@example.org +- +gate_staff +1 +enabled +2`, table)

	require.Empty(t, must(t, user("role", "--email", "bob@example.org", "--role", "supervisor")...))
	p, err := c.Staff.SignIns.ByCookie(t.Context(), bob.Cookie, staff.Origin{})
	require.NoError(t, err)
	require.False(t, p.May(staff.CheckinWrite, 1), "events that are not given again are taken away")
	require.Empty(t, must(t, user("disable", "--email", "bob@example.org")...))
	require.Contains(t, must(t, user("list")...), "disabled")
	_, err = signIn("bob@example.org", "correct horse battery")
	require.ErrorIs(t, err, staff.ErrSignIn)
	require.Empty(t, must(t, user("enable", "--email", "bob@example.org")...))
	bob, err = signIn("bob@example.org", "correct horse battery")
	require.NoError(t, err)

	printed = must(t, user("password", "--email", "bob@example.org")...)
	_, err = c.Staff.SignIns.ByCookie(t.Context(), bob.Cookie, staff.Origin{})
	require.ErrorIs(t, err, staff.ErrToken)
	_, err = signIn("bob@example.org", strings.TrimSpace(printed))
	require.NoError(t, err)
	require.Equal(t, result{}, fed(t, "without a newline", user("password", "--email", "bob@example.org", "--password-stdin")...))
	_, err = signIn("bob@example.org", "without a newline")
	require.NoError(t, err)

	records, err := c.Staff.Audit.Search(t.Context(), staff.CommandLine(), staff.Filter{SubjectKind: "account"})
	require.NoError(t, err)
	for _, record := range records {
		require.Equal(t, staff.KindCommandLine, record.ActorKind)
	}
	require.Len(t, records, 7)
}

func TestUsersThatAreRefused(t *testing.T) {
	t.Parallel()
	w := []string{"--database-url", pgtest.Empty(t)}
	must(t, append(strings.Fields("user create --email ada@example.org --role admin"), w...)...)
	for args, want := range map[string]string{
		"user create --email ADA@example.org --role admin":               "another account has this e-mail address",
		"user create --email bob@example.org --role organiser --event 7": "there is no such event",
		"user role --email bob@example.org --role admin":                 "bob@example.org: there is no such account",
		"user role --email ada@example.org --role attendee":              "this is the last admin",
		"user disable --email ada@example.org":                           "this is the last admin",
		"user password --email bob@example.org":                          "there is no such account",
	} {
		r := run(t, append(strings.Fields(args), w...)...)
		require.Equal(t, exitFailure, r.code, args)
		require.Contains(t, r.err, want, args)
		require.Equal(t, 1, strings.Count(r.err, "\n"), r.err)
		require.Empty(t, r.out, args)
	}
	for input, want := range map[string]string{"short\n": "at least 8 characters", strings.Repeat("x", 2000): "at most 1024 bytes", "ada@example.com\n": "no password"} {
		r := fed(t, input, append(strings.Fields("user create --email ada@example.com --role admin --password-stdin"), w...)...)
		require.Equal(t, exitFailure, r.code)
		require.Contains(t, r.err, want)
		require.Empty(t, r.out)
	}
	require.Equal(t, 2, strings.Count(must(t, append([]string{"user", "list"}, w...)...), "\n"), "what was refused left nothing")
}

func TestUserMisuse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for args, want := range map[string]string{
		"user create --email ada@example.org":                                   "required flag(s) \"role\" not set",
		"user create --role admin":                                              "required flag(s) \"email\" not set",
		"user create --email ada --role admin":                                  `--email "ada"`,
		"user create --email ada@example.org --role owner":                      `--role "owner"`,
		"user create --email ada@example.org --role admin --event 1":            "not given for single events",
		"user create --email ada@example.org --role organiser --event 0":        "--event 0",
		"user create --email ada@example.org --role organiser --event fair":     "invalid argument",
		"user role --email ada@example.org --role organiser --event 4294967296": "--event 4294967296",
		"user create --email ada@example.org --role admin --password-stdin":     "no password on the first line",
	} {
		var out, errs bytes.Buffer
		a := &app{in: strings.NewReader(""), out: &out, err: &errs}
		require.Equal(t, exitMisuse, a.run(t.Context(), append(strings.Fields(args), "--data", dir)), args)
		require.Contains(t, errs.String(), want, args)
		require.Empty(t, out.String())
	}
	a := &app{in: brokenReader{}, out: &bytes.Buffer{}, err: &bytes.Buffer{}}
	require.Equal(t, exitFailure, a.run(t.Context(), strings.Fields("user password --email ada@example.org --password-stdin --data "+dir)))
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestUsersAreMadeWhileCentralServes(t *testing.T) {
	t.Parallel()
	data := dataDir(t)
	must(t, "user", "create", "--data", data, "--email", "first@example.org", "--role", "admin")
	s := serve(t, "--data", data)
	printed := must(t, "user", "create", "--data", data, "--email", "ada@example.org", "--role", "admin")
	require.Equal(t, 1, strings.Count(printed, "\n"))
	require.Zero(t, fed(t, "correct horse battery", "user", "create", "--data", data, "--email", "bob@example.org", "--role", "admin", "--password-stdin").code)
	require.Equal(t, 4, strings.Count(must(t, "user", "list", "--data", data), "\n"))
	status, body := s.get(t, "/readyz")
	require.Equal(t, 200, status, body)
	require.Empty(t, s.stop(t))
	require.Contains(t, must(t, "user", "list", "--data", data), "ada@example.org")
}
