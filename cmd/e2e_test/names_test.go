package e2e_test

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"
)

// guest is somebody on a ticket, with texts that nothing else in the tests has.
type guest struct{ reference, name, email, notes string }

func guests() []guest {
	return []guest{
		{"ORD-ZQ71", "Zebulon Quixotesson", "zebulon.q@wombat-mail.example", "brings a didgeridoo"},
		{"ORD-ZQ72", "Élodie Vandersnoot", "elodie@wombat-mail.example", ""},
		{"ORD-ZQ73", "فاطمة الفهري", "fatima.alfihri@wombat-mail.example", "wheelchair at the rampart"},
		{"ORD-ZQ74", "", "", "nameless but noteworthy marmalade"},
	}
}

// sellTo imports tickets for people.
func (e event) sellTo(t *testing.T, people []guest, flags ...string) codes {
	t.Helper()
	file := filepath.Join(folder(t), "people.csv")
	text := "reference,ticket_type,name,email,notes\n"
	for _, p := range people {
		text += fmt.Sprintf("%s,day,%s,%s,%s\n", p.reference, p.name, p.email, p.notes)
	}
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	e.must(t, append(append([]string{"ticket", "import"}, flags...), file)...)
	return e.codes(t)
}

// setPassphrase sets the event's passphrase as an organiser's script does.
func (e event) setPassphrase(t *testing.T, passphrase string) {
	t.Helper()
	r := runWith(passphrase+"\n", "central", e.central.args("vault", "passphrase", "--event", e.id)...)
	require.Zero(t, r.code, r.stderr)
	require.Empty(t, r.stdout)
	require.NotContains(t, r.stderr, passphrase)
}

// runWith runs a command with something on its standard input.
func runWith(stdin, name string, args ...string) result {
	cmd := exec.Command(program(name), args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	r := result{stdout: stdout.String(), stderr: stderr.String()}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		r.code = exit.ExitCode()
	case err != nil:
		r.code, r.stderr = -1, r.stderr+"\n"+err.Error()
	}
	return r
}

// found is what gate find --json prints.
type found struct {
	Matches []struct {
		TicketID   string `json:"ticket_id"`
		Name       string `json:"name"`
		Email      string `json:"email"`
		Reference  string `json:"reference"`
		Notes      string `json:"notes"`
		Type       string `json:"ticket_type"`
		Status     string `json:"status"`
		Admissions int    `json:"admissions"`
		Inside     bool   `json:"inside"`
		Last       *struct {
			At   string `json:"at"`
			Gate string `json:"gate"`
			Lane string `json:"lane"`
		} `json:"last"`
	} `json:"matches"`
	More    bool `json:"more"`
	Partial bool `json:"partial"`
}

func (f found) names() []string {
	names := []string{}
	for _, m := range f.Matches {
		names = append(names, m.Name)
	}
	return names
}

// find waits until the gate has all names and returns what a query gives.
func (g *gate) find(t *testing.T, query ...string) found {
	t.Helper()
	var f found
	until(t, "names of gate "+g.name, func() error {
		r := run(g.program, append([]string{"find", "--data", g.data, "--json"}, query...)...)
		if r.code != 0 {
			return fmt.Errorf("%s; the gate says:\n%s", r.stderr, g.proc.log())
		}
		f = found{}
		strict(t, r.stdout, &f)
		if f.Partial {
			return errors.New("some names are not here yet")
		}
		return nil
	})
	return f
}

// finds waits until a query gives these names.
func (g *gate) finds(t *testing.T, query string, names ...string) {
	t.Helper()
	until(t, "search for "+query, func() error {
		if got := g.find(t, query).names(); fmt.Sprint(got) != fmt.Sprint(append([]string{}, names...)) {
			return fmt.Errorf("found %q", got)
		}
		return nil
	})
}

// refusesToFind expects a search to fail with a sentence.
func (g *gate) refusesToFind(t *testing.T, sentence string) {
	t.Helper()
	r := run(g.program, "find", "--data", g.data, "zeb")
	require.Equal(t, 1, r.code)
	require.Empty(t, r.stdout)
	require.Contains(t, r.stderr, sentence)
	require.Equal(t, 1, strings.Count(r.stderr, "\n"), "one sentence: %s", r.stderr)
}

// vault is whether the gate's names are unlocked.
func (g *gate) vault(t *testing.T) string {
	t.Helper()
	var s struct {
		Vault string `json:"vault"`
	}
	require.NoError(t, json.Unmarshal([]byte(must(t, g.program, "status", "--data", g.data, "--json")), &s))
	return s.Vault
}

func (g *gate) unlock(passphrase string) result {
	return runWith(passphrase+"\n", g.program, "unlock", "--data", g.data)
}

const passphrase = "seven purple hedgehogs sing"

// secrets are the texts that must not be in a gate's folder, by what they are.
func secrets(people []guest, sold codes) map[string]string {
	out := map[string]string{"the passphrase": passphrase}
	for _, p := range people {
		for what, text := range map[string]string{"name": p.name, "e-mail": p.email, "notes": p.notes, "reference": p.reference} {
			if text != "" {
				out[what+" of "+p.reference] = text
			}
		}
		for _, word := range strings.Fields(p.name) {
			out["part "+word+" of a name"] = word
		}
		out["code of "+p.reference] = sold[p.reference].code
		out["half a code of "+p.reference] = sold[p.reference].code[40:80]
		if raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(sold[p.reference].code); err == nil {
			out["signature of the code of "+p.reference] = string(raw[21:53])
		}
	}
	return out
}

// spellings are how a text may be written in a file: as it is, in other cases, in
// UTF-16 and in the encodings that programs use.
func spellings(text string) [][]byte {
	var out [][]byte
	for _, s := range []string{text, strings.ToLower(text), strings.ToUpper(text)} {
		little, big := []byte{}, []byte{}
		for _, u := range utf16.Encode([]rune(s)) {
			little, big = append(little, byte(u), byte(u>>8)), append(big, byte(u>>8), byte(u))
		}
		out = append(out, []byte(s), little, big, []byte(hex.EncodeToString([]byte(s))))
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			// Whatever stands before it, one of three shifts is how it is encoded.
			for shift := range 3 {
				b := enc.EncodeToString(append(make([]byte, shift), s...))
				if from, to := (shift*8+5)/6, len(b)-2; to-from >= 8 {
					out = append(out, []byte(b[from:to]))
				}
			}
		}
		out = append(out, []byte(strings.TrimRight(base32.StdEncoding.EncodeToString([]byte(s)), "=")[:len(s)*8/5]))
	}
	return out
}

// betrayed lists the secrets that some file of a folder holds.
func betrayed(t *testing.T, dir string, secrets map[string]string) []string {
	t.Helper()
	var found []string
	files := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for what, text := range secrets {
			for _, s := range spellings(text) {
				if len(s) >= 4 && bytes.Contains(b, s) {
					found = append(found, fmt.Sprintf("%s is in %s as %q", what, filepath.Base(path), s))
				}
			}
		}
		return nil
	}))
	require.Greater(t, files, 2, "there is something to look through in %s", dir)
	return found
}

// What a thief takes along betrays nobody. The same look finds the names in what the
// test knows to hold them.
func (g *gate) betraysNobody(t *testing.T, when string, secrets map[string]string) {
	t.Helper()
	loot := filepath.Join(g.dir, "loot")
	copyTree(t, g.data, loot)
	require.Empty(t, betrayed(t, loot, secrets), when)
	for _, file := range []string{g.log(), g.proc.stderr, g.proc.stdout} {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(loot, filepath.Base(file)), b, 0o600))
	}
	require.Empty(t, betrayed(t, loot, secrets), when+", logs")
	require.NoError(t, os.RemoveAll(loot))
}

// named is a gate of an event at which people with names are expected.
type named struct {
	*gate
	people []guest
	sold   codes
	hidden map[string]string
}

func newNamed(t *testing.T) named {
	t.Helper()
	e := theTown(t).newFestival(t)
	n := named{people: guests()}
	n.sold = e.sellTo(t, n.people)
	n.hidden = secrets(n.people, n.sold)
	e.setPassphrase(t, passphrase)
	n.gate = e.newGate(t, "North", mainIn())
	return n
}

func TestAStolenGateBetraysNobody(t *testing.T) {
	t.Parallel()
	g := newNamed(t)
	require.Equal(t, "none", g.vault(t), "before it ran")
	g.start(t)
	g.finds(t, "wombat", "Zebulon Quixotesson", "Élodie Vandersnoot", "فاطمة الفهري")
	require.Equal(t, "unlocked", g.vault(t))
	g.expect(t, "N1", g.sold["ORD-ZQ71"].code, "admit admitted")
	g.untilSynced(t)
	g.betraysNobody(t, "running and unlocked", g.hidden)

	// The look itself finds what is there.
	plain := filepath.Join(g.dir, "plain")
	require.NoError(t, os.Mkdir(plain, 0o700))
	for i := range 3 {
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("y", i) + g.people[0].name + " and more"))
		require.NoError(t, os.WriteFile(filepath.Join(plain, fmt.Sprint(i)), []byte(strings.Repeat("x", i)+text), 0o600))
	}
	told := strings.Join(betrayed(t, plain, map[string]string{"name": g.people[0].name}), "\n")
	for i := range 3 {
		require.Contains(t, told, fmt.Sprintf("name is in %d ", i))
	}

	// Killed, with everything in the write-ahead logs.
	g.proc.kill()
	g.betraysNobody(t, "killed", g.hidden)
	require.Equal(t, "locked", g.vault(t))
	g.start(t)
	g.finds(t, "zeb", "Zebulon Quixotesson")
	g.stop(t)
	g.betraysNobody(t, "stopped", g.hidden)
	require.Equal(t, "locked", g.vault(t))
	g.refusesToFind(t, "no gate is running")
}

func TestStaffFindGuestsByName(t *testing.T) {
	t.Parallel()
	g := newNamed(t)
	g.start(t)
	g.finds(t, "zeb qui", "Zebulon Quixotesson")
	g.finds(t, "ELODIE", "Élodie Vandersnoot")
	g.finds(t, "فهري", "فاطمة الفهري")
	g.finds(t, "zq74", "")
	g.finds(t, "nobody")
	g.expect(t, "N1", g.sold["ORD-ZQ71"].code, "admit admitted")
	m := g.find(t, "zebulon.q@wombat").Matches
	require.Len(t, m, 1)
	require.Equal(t, g.sold["ORD-ZQ71"].id, m[0].TicketID)
	require.Equal(t, "brings a didgeridoo", m[0].Notes)
	require.Equal(t, "ORD-ZQ71", m[0].Reference)
	require.Equal(t, "paid", m[0].Status)
	require.Equal(t, 1, m[0].Admissions)
	require.True(t, m[0].Inside)
	require.Equal(t, "North", m[0].Last.Gate)
	require.Equal(t, "N1", m[0].Last.Lane)
	r := run(g.program, "find", "--data", g.data, "zeb")
	require.Regexp(t, `^Zebulon Quixotesson +\S.* +ORD-ZQ71 +zebulon\.q@wombat-mail\.example +paid, inside since .* \(gate North, lane N1\) +brings a didgeridoo\n$`, r.stdout)
	r = run(g.program, "find", "--data", g.data, "nobody")
	require.Zero(t, r.code)
	require.Contains(t, r.stderr, "nobody on this gate's list")
	r = run(g.program, "find", "--data", g.data)
	require.Equal(t, 2, r.code)
	page, err := http.PostForm(g.proc.url+"/find", url.Values{"query": {"vandersnoot"}})
	require.NoError(t, err)
	body, err := io.ReadAll(page.Body)
	require.NoError(t, err)
	require.NoError(t, page.Body.Close())
	require.Contains(t, string(body), "Élodie Vandersnoot")
}

func TestASupervisorUnlocksNamesOffline(t *testing.T) {
	t.Parallel()
	g := newNamed(t)
	g.start(t)
	g.finds(t, "zeb", "Zebulon Quixotesson")
	g.proc.kill()
	g.cable.pull()
	g.start(t)
	require.Equal(t, "locked", g.vault(t))
	g.refusesToFind(t, "names are locked on this gate")
	wrong := g.unlock("seven purple hedgehogs sang")
	require.Equal(t, 1, wrong.code)
	require.Contains(t, wrong.stderr, "that is not the passphrase")
	g.refusesToFind(t, "names are locked on this gate")
	require.Zero(t, g.unlock(passphrase).code)
	g.finds(t, "zeb", "Zebulon Quixotesson")
	g.expect(t, "N1", g.sold["ORD-ZQ72"].code, "admit admitted")
	must(t, g.program, "lock", "--data", g.data)
	g.refusesToFind(t, "names are locked on this gate")
	require.Zero(t, g.unlock(passphrase).code)
	g.finds(t, "elo", "Élodie Vandersnoot")
	g.betraysNobody(t, "unlocked by a passphrase", g.hidden)

	// Too many wrong ones have to wait, and so does the right one.
	for range 3 {
		require.Equal(t, 1, g.unlock("wrong").code)
	}
	for _, p := range []string{"wrong", passphrase} {
		require.Contains(t, g.unlock(p).stderr, "too many wrong passphrases")
	}
	log, err := os.ReadFile(g.proc.stderr)
	require.NoError(t, err)
	for _, said := range []string{"names are unlocked", "names are locked", "a wrong passphrase was given", "a passphrase was not tried"} {
		require.Contains(t, string(log), said)
	}
	g.betraysNobody(t, "after wrong passphrases", g.hidden)
}

// A change of a holder reaches gates, and a person who is taken off a ticket is
// forgotten.
func TestNamesFollowCentral(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	people := guests()[:2]
	e.sellTo(t, people)
	g := e.openGate(t, "North", mainIn())
	g.finds(t, "zq71", "Zebulon Quixotesson")
	people[0] = guest{reference: "ORD-ZQ71", name: "Sancho Panzerotti"}
	people[1] = guest{reference: "ORD-ZQ72"}
	e.sellTo(t, people, "--update")
	g.finds(t, "sancho", "Sancho Panzerotti")
	g.finds(t, "zebulon")
	g.finds(t, "vandersnoot")
	e.sellTo(t, []guest{{reference: "ORD-ZQ75", name: "Dulcinea"}})
	g.finds(t, "dulc", "Dulcinea")

	// The replica is thrown away and comes again, names last.
	g.stop(t)
	files, err := filepath.Glob(filepath.Join(g.data, "replica.db*"))
	require.NoError(t, err)
	for _, file := range files {
		require.NoError(t, os.Remove(file))
	}
	g.start(t)
	g.finds(t, "sancho", "Sancho Panzerotti")
	g.finds(t, "vandersnoot")
	g.finds(t, "dulc", "Dulcinea")

	// Withdrawn, it forgets at once, and for good.
	e.must(t, "gate", "revoke", "--name", "North", "--reason", "stolen")
	until(t, "the gate forgets", func() error {
		if v := g.vault(t); v != "locked" {
			return errors.New("its names are " + v)
		}
		return nil
	})
	g.refusesToFind(t, "names are locked on this gate")
	g.restart(t)
	g.refusesToFind(t, "names are locked on this gate")
	require.Equal(t, "locked", g.vault(t))
}

// With --vault-restart tmpfs a restart of the program without central keeps names
// unlocked, and what carries them over is in memory.
func TestAKeyIsCarriedOverARestartInMemoryOnly(t *testing.T) {
	t.Parallel()
	e := theTown(t).newFestival(t)
	people := guests()
	sold := e.sellTo(t, people)
	g := e.newGate(t, "North", mainIn())
	shm, err := os.MkdirTemp("/dev/shm", "gatehouse-e2e-") //nolint:usetesting // it has to be in memory
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(shm)) })

	on := func(dir string) result {
		return run(g.program, append(g.args(), "--vault-restart", "tmpfs", "--vault-dir", dir)...)
	}
	r := on(g.dir)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "is not on a memory file system")
	r = run(g.program, append(g.args(), "--vault-restart", "disk")...)
	require.Equal(t, 2, r.code)

	g.flags = append(g.flags, "--vault-restart", "tmpfs", "--vault-dir", shm)
	g.start(t)
	g.finds(t, "zeb", "Zebulon Quixotesson")
	g.cable.pull()
	g.proc.kill()
	g.start(t)
	g.finds(t, "zeb", "Zebulon Quixotesson")
	g.betraysNobody(t, "with a key in memory", secrets(people, sold))
	must(t, g.program, "lock", "--data", g.data)
	left, err := os.ReadDir(shm)
	require.NoError(t, err)
	require.Empty(t, left)
	g.restart(t)
	require.Equal(t, "locked", g.vault(t))
}
