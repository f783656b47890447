package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func restoredCommand(a *app) *cobra.Command {
	var w where
	c := &cobra.Command{
		Use:   "restored --data DIR",
		Short: "Say that central was restored from a backup, so that every gate begins anew",
		Long: `Say that central was restored from a backup. Every gate is then told that the list
which it has is of another history: it takes a new one, and sends the entries that
the backup lacks. Without it gates find out by themselves, as a rule when they next
ask for changes.

Stop central serve, restore the data directory or database, give this command, and
then do again what was changed at central since the backup was made: events, imports,
reissues, revocations, enrolments. Serve last: until a revocation is repeated, its
ticket is admitted.`,
		Example: "  central restored --data /var/lib/gatehouse",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), &w, func(s *session) error {
				if err := s.NewEpoch(c.Context()); err != nil {
					return err
				}
				fmt.Fprintln(a.err, "every gate takes a new list when it is next connected")
				return nil
			})
		},
	}
	w.add(c)
	return c
}
