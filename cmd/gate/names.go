package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gatehouse/gate"
	"gatehouse/gate/control"
)

// The policies of --vault-restart.
const (
	vaultNone  = "none"
	vaultTmpfs = "tmpfs"
	// vaultDir is where Linux keeps a memory file system that anybody may write to.
	vaultDir = "/dev/shm"
)

type vaultFlags struct{ restart, dir string }

func (f *vaultFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.restart, "vault-restart", vaultNone,
		"what becomes of the key of holders' names when this program starts again: none (names are locked until central answers or a supervisor unlocks them) or tmpfs (the key stays in memory, sealed, until the power is off)")
	c.Flags().StringVar(&f.dir, "vault-dir", vaultDir, "directory on a memory file system for --vault-restart tmpfs")
}

func (f *vaultFlags) config() (gate.VaultConfig, error) {
	switch f.restart {
	case vaultNone:
		return gate.VaultConfig{}, nil
	case vaultTmpfs:
		if f.dir == "" {
			return gate.VaultConfig{}, errors.New("--vault-restart tmpfs needs --vault-dir")
		}
		return gate.VaultConfig{Dir: f.dir}, nil
	}
	return gate.VaultConfig{}, fmt.Errorf("--vault-restart %q: it must be none or tmpfs", f.restart)
}

func findCommand() *cobra.Command {
	var dir string
	var asJSON bool
	c := &cobra.Command{
		Use:   "find --data DIR WORDS... [--json]",
		Short: "Find tickets by the beginnings of a name, an e-mail address or a reference, also offline",
		Long: `Find tickets of which every word that is given begins a word of the holder's name,
e-mail address or reference. Case, accents and the forms of Arabic letters do not
matter. The gate must be running, and its names unlocked: central does that when the
gate starts, and a supervisor with gate unlock where central cannot be reached.`,
		Example: "  gate find --data /var/lib/gate ada lov\n  gate find --data /var/lib/gate --json ada@example",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return misuse{errors.New("say whom to find: gate find --data DIR WORDS")}
			}
			return nil
		},
	}
	dataFlag(c, &dir)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.RunE = func(c *cobra.Command, args []string) error {
		return running(dir, func(g *control.Client) error {
			found, err := g.Find(c.Context(), strings.Join(args, " "))
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), found)
			}
			return printFound(c.OutOrStdout(), c.ErrOrStderr(), found)
		})
	}
	return c
}

func printFound(out, notes io.Writer, f control.Found) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, m := range f.Matches {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", m.Name, m.Type, m.Reference, m.Email, standing(m), m.Notes)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	switch {
	case len(f.Matches) == 0:
		fmt.Fprintln(notes, "nobody on this gate's list has such a name, e-mail address or reference")
	case f.More:
		fmt.Fprintf(notes, "there are more than %d; give more letters\n", len(f.Matches))
	}
	if f.Partial {
		fmt.Fprintln(notes, "this gate does not have all names yet; somebody may be missing here")
	}
	return nil
}

// standing is what staff have to know of a ticket, in words.
func standing(m control.Match) string {
	text := string(m.Status)
	switch {
	case m.Status == "":
		text = "not on this gate's list"
	case m.Admissions == 0:
		text += ", not used"
	case m.Inside:
		text += ", inside since"
	default:
		text += ", used, last"
	}
	if m.Last != nil {
		text += fmt.Sprintf(" %s (gate %s, lane %s)", m.Last.At.Local().Format("Mon 15:04:05"), m.Last.Gate, m.Last.Lane)
	}
	return text
}

func unlockCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "unlock --data DIR",
		Short: "Unlock holders' names at a gate that cannot reach central, with the organiser's passphrase",
		Long: `Unlock holders' names at a gate that cannot reach central, with the passphrase that
the organiser set with central vault passphrase. It is asked for, or read from the
first line of standard input. Wrong ones are logged, and after a few of them each
makes the gate wait longer before it takes another.`,
		Example: "  gate unlock --data /var/lib/gate",
		Args:    noArgs,
	}
	dataFlag(c, &dir)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return running(dir, func(g *control.Client) error {
			passphrase, err := readPassphrase(c)
			if err != nil {
				return err
			}
			if err := g.Unlock(c.Context(), passphrase); err != nil {
				return err
			}
			fmt.Fprintln(c.ErrOrStderr(), "names are unlocked")
			return nil
		})
	}
	return c
}

// readPassphrase asks on a terminal, where it is not shown, and reads a line of
// anything else.
func readPassphrase(c *cobra.Command) (string, error) {
	if f, ok := c.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(c.ErrOrStderr(), "Passphrase: ")
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(c.ErrOrStderr())
		if err != nil {
			return "", fmt.Errorf("read passphrase: %w", err)
		}
		return string(b), nil
	}
	line, err := bufio.NewReader(io.LimitReader(c.InOrStdin(), control.TextBytesMax+2)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read passphrase: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

func lockCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "lock --data DIR",
		Short: "Lock holders' names on a running gate: it forgets their key",
		Long: `Lock holders' names on a running gate: it forgets their key, also the copy that
--vault-restart tmpfs kept. Lanes go on. Names are unlocked again by gate unlock, or
by central when the gate is started anew.`,
		Example: "  gate lock --data /var/lib/gate",
		Args:    noArgs,
	}
	dataFlag(c, &dir)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return running(dir, func(g *control.Client) error {
			if err := g.Lock(c.Context()); err != nil {
				return err
			}
			fmt.Fprintln(c.ErrOrStderr(), "names are locked")
			return nil
		})
	}
	return c
}

// running does something with the gate that runs on dir.
func running(dir string, do func(*control.Client) error) error {
	if err := required(map[string]string{"data": dir}); err != nil {
		return err
	}
	g, err := gate.Dial(dir)
	if err != nil {
		return err
	}
	return errors.Join(do(g), g.Close())
}
