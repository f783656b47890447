package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"gatehouse/syncproto"
)

func keyCommand(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:     "key",
		Short:   "Replace signing keys",
		Example: "  central key rotate --data /var/lib/gatehouse --purpose ticket",
	})
	c.AddCommand(keyRotateCommand(a))
	return c
}

func keyRotateCommand(a *app) *cobra.Command {
	var (
		w       where
		purpose string
	)
	c := &cobra.Command{
		Use:   "rotate --data DIR --purpose ticket|online",
		Short: "Make a new signing key and use it from now on",
		Long: `Make a new signing key and use it from now on.

ticket: new codes are signed with it; codes that were given out stay valid. A gate
that has not been connected since refuses new tickets it has not heard of. If the old
key may be known to somebody, this is half of it: codes signed with it go on being
good, so give each ticket a new code as well, with central ticket reissue. Gates that
have not heard of a ticket number still admit a code of it that the old key signed.
online: pages to gates are signed with it a minute later, when connected gates have
heard of it; the key before it stays valid for a day.`,
		Example: "  central key rotate --data /var/lib/gatehouse --purpose ticket\n  central key rotate --data /var/lib/gatehouse --purpose online",
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			chosen := syncproto.KeyPurpose(purpose)
			if chosen != syncproto.PurposeTicket && chosen != syncproto.PurposeOnline {
				return misused("--purpose %q: it must be ticket or online", purpose)
			}
			return a.with(c.Context(), &w, func(s *session) error {
				id, err := s.Keys.Rotate(acting(c.Context()), chosen)
				if err != nil {
					return err
				}
				fmt.Fprintf(a.err, "%s key %d is the new one\n", chosen, id)
				return nil
			})
		},
	}
	w.add(c)
	c.Flags().StringVar(&purpose, "purpose", "", "which key: ticket or online (required)")
	needs(c, "purpose")
	return c
}
