package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	t.Parallel()
	var paths [][]string
	walk(rootCommand(&app{}), func(c *cobra.Command) {
		paths = append(paths, append(strings.Fields(c.CommandPath())[1:], "--help"))
	})
	require.Greater(t, len(paths), 15)
	for _, args := range paths {
		var out, errs bytes.Buffer
		a := &app{out: &out, err: &errs}
		require.Zero(t, a.run(t.Context(), args), args)
		require.Contains(t, out.String(), "Examples:\n  central ", args)
		require.Contains(t, out.String(), "Usage:\n", args)
		require.Empty(t, errs.String(), args)
	}
}

func TestMisuseIsOneLineAndCodeTwo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, c := range map[string]struct{ args, want string }{
		"nothing":            {"", "needs one of attendance, event, findings, gate, key, lease, mail, reconcile, restored, serve, ticket"},
		"unknown command":    {"tickets", `"tickets" is not a command of central, which has`},
		"group alone":        {"ticket", "central ticket needs one of codes, import, qr, reissue, revoke"},
		"unknown below":      {"gate find", `"find" is not a command of central gate`},
		"unknown flag":       {"attendance --fast", "unknown flag: --fast"},
		"single dash":        {"attendance -data x", "unknown shorthand flag"},
		"no event":           {"attendance --data D", `required flag(s) "event" not set`},
		"event is no number": {"attendance --data D --event fair", `invalid argument "fair" for "--event" flag`},
		"no data":            {"attendance --event 1", "--data is missing"},
		"no file":            {"event create --data D", "it takes 1 argument (FILE.yaml), and was given 0"},
		"two files":          {"ticket import --data D --event 1 a b", "it takes 1 argument (FILE.csv), and was given 2"},
		"argument too many":  {"attendance --data D --event 1 x", `it takes no argument, and was given "x"`},
		"no reference":       {"ticket revoke --data D --event 1 --reason x", `required flag(s) "reference" not set`},
		"no reason":          {"gate revoke --data D --event 1 --name x", `required flag(s) "reason" not set`},
		"no gate":            {"gate revoke --data D --event 1 --reason x", "give --name or --device"},
		"no such device":     {"gate revoke --data D --event 1 --device 7 --reason x", `--device "7" is not a device`},
		"other picture":      {"ticket qr --data D --event 1 --reference A --out a.gif", "the name must end in .png or .svg"},
		"no such key":        {"key rotate --data D --purpose root", `--purpose "root": it must be ticket or online`},
		"no finding":         {"findings close --data D --by A", "it takes 1 argument (ID), and was given 0"},
		"nobody":             {"findings note --data D 1", `required flag(s) "by" not set`},
		"empty name":         {"findings note --data D 1 --by=", "--by is empty"},
		"finding's name":     {"findings note --data D x --by A", `"x" is not the number of a finding`},
		"below findings":     {"findings drop --data D --event 1", `"drop" is not a command of central findings, which has close, note`},
		"no address":         {"serve --data D", `required flag(s) "listen" not set`},
		"half an address":    {"serve --data D --listen 8080", "is not an address such as 127.0.0.1:8080"},
		"everybody's":        {"serve --data D --listen :0", "can be reached by others: give --tls-cert and --tls-key, or --insecure-http"},
		"half a certificate": {"serve --data D --listen 127.0.0.1:0 --tls-cert c", "belong together"},
		"profiles for all":   {"serve --data D --listen 127.0.0.1:0 --pprof :6060", "is not a loopback address"},
		"no live streams":    {"serve --data D --listen 127.0.0.1:0 --live-max 0", "cannot be less than 1"},
		"password in URL":    {"serve --data D --listen 127.0.0.1:0 --smtp-url smtp://a:b@h --mail-from a@b.c", "put it into a file"},
		"nobody to be from":  {"serve --data D --listen 127.0.0.1:0 --smtp-url smtp://h", "--mail-from"},
		"half a sign-in":     {"serve --data D --listen 127.0.0.1:0 --smtp-url smtp://a@h --mail-from a@b.c", "belong together"},
		"unknown language":   {"serve --data D --listen 127.0.0.1:0 --smtp-url smtp://h --mail-from a@b.c --mail-lang xx", "en or ar"},
		"no mail server":     {"serve --data D --listen 127.0.0.1:0 --mail-from a@b.c", "of no use without --smtp-url"},
		"state of letters":   {"mail list --data D --state gone", "queued, sent or failed"},
		"id of a letter":     {"mail show --data D 17", "is not the id of a letter"},
		"public URL":         {"serve --data D --listen 127.0.0.1:0 --public-url tickets", `is not a URL such as`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			a := &app{out: &out, err: &errs}
			args := strings.Fields(strings.ReplaceAll(c.args, "--data D", "--data "+dir))
			require.Equal(t, exitMisuse, a.run(t.Context(), args), errs.String())
			require.Contains(t, errs.String(), c.want)
			require.Contains(t, errs.String(), "--help`\n", "it says what to do next")
			require.Equal(t, 1, strings.Count(errs.String(), "\n"))
			require.Empty(t, out.String())
		})
	}
}

// What an operator must not find out at the door is in the help.
func TestHelpSaysWhatIsEasilyMistaken(t *testing.T) {
	t.Parallel()
	for command, wants := range map[string][]string{
		"event create": {"at most 64 zones", "decide no admission", "entries_total of 1", "while they do not hear each other"},
		"gate token":   {"a week at most", "carries the URL"},
		"gate list":    {"quarantined:", "central gate release"},
		"gate revoke":  {"it goes on admitting", "--device"},
		"key rotate":   {"central ticket reissue"},
		"restored":     {"Serve last"},
		"serve":        {"it is made if it is not there"},
	} {
		var out, errs bytes.Buffer
		a := &app{out: &out, err: &errs}
		require.Zero(t, a.run(t.Context(), append(strings.Fields(command), "--help")), command)
		text := strings.Join(strings.Fields(out.String()), " ")
		for _, want := range wants {
			require.Contains(t, text, want, command)
		}
	}
}
