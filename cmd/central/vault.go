package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gatehouse/central/vault"
)

func vaultCommand(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:     "vault",
		Short:   "Say how gates get at holders' names without central",
		Example: "  central vault passphrase --data /var/lib/gatehouse --event 1",
	})
	c.AddCommand(vaultPassphraseCommand(a))
	return c
}

func vaultPassphraseCommand(a *app) *cobra.Command {
	var (
		w               where
		event           eventFlag
		generate, clear bool
	)
	c := &cobra.Command{
		Use:   "passphrase --data DIR --event ID [--generate | --clear]",
		Short: "Set the passphrase with which supervisors unlock names at a gate that cannot reach central",
		Long: `Set the passphrase with which supervisors unlock names at a gate that cannot reach
central. It is asked for, or read from the first line of standard input; --generate
makes one and prints it, --clear withdraws it.

A gate that reaches central needs none: central unlocks it at its start. Gates hold
holders' names sealed, and with the passphrase their key as well. So a thief who has
a gate's disk and learns the passphrase reads the names, also after it was replaced:
take a long one, tell it to supervisors only, and set another for each shift.`,
		Example: "  central vault passphrase --data /var/lib/gatehouse --event 1 --generate\n  central vault passphrase --data /var/lib/gatehouse --event 1 <passphrase.txt",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			if generate && clear {
				return misused("give --generate or --clear, not both")
			}
			return a.with(c.Context(), &w, func(s *session) error {
				if err := a.setPassphrase(c.Context(), s, event, generate, clear); err != nil {
					return err
				}
				a.publish(c.Context(), s, event.no())
				return nil
			})
		},
	}
	w.add(c)
	addEvent(c, &event)
	c.Flags().BoolVar(&generate, "generate", false, "make a passphrase and print it")
	c.Flags().BoolVar(&clear, "clear", false, "withdraw the passphrase: gates are unlocked by central alone")
	return c
}

func (a *app) setPassphrase(ctx context.Context, s *session, event eventFlag, generate, clear bool) error {
	if clear {
		if err := s.Vault.ClearPassphrase(ctx, event.no()); err != nil {
			return err
		}
		fmt.Fprintln(a.err, "the passphrase is withdrawn")
		return nil
	}
	passphrase, err := a.newPassphrase(generate)
	if err != nil {
		return err
	}
	if err := s.Vault.SetPassphrase(ctx, event.no(), passphrase); err != nil {
		return err
	}
	if generate {
		_, err = fmt.Fprintln(a.out, passphrase)
		return err
	}
	fmt.Fprintln(a.err, "the passphrase is set; connected gates know it in a moment")
	return nil
}

// newPassphrase makes a passphrase, or asks for one: twice on a terminal, where it
// is not shown.
func (a *app) newPassphrase(generate bool) (string, error) {
	if generate {
		return vault.Generate(rand.Reader)
	}
	if f, ok := a.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		first, err := a.ask(f, "Passphrase: ")
		if err != nil {
			return "", err
		}
		again, err := a.ask(f, "Again: ")
		if err == nil && again != first {
			err = errors.New("the two are not the same; nothing was changed")
		}
		return first, err
	}
	line, err := bufio.NewReader(io.LimitReader(a.in, vault.PassphraseMax+2)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read passphrase: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

func (a *app) ask(f *os.File, prompt string) (string, error) {
	fmt.Fprint(a.err, prompt)
	b, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(a.err)
	if err != nil {
		return "", fmt.Errorf("read passphrase: %w", err)
	}
	return string(b), nil
}
