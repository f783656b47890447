package main

import (
	"log/slog"

	"github.com/spf13/cobra"

	"gatehouse/central/pg/privatepg"
)

// keeperName is the command that keeps the private Postgres. Other commands of
// this program start it; nobody else needs to.
const keeperName = "postgres-keeper"

func keeperCommand(a *app) *cobra.Command {
	var data string
	c := &cobra.Command{
		Use:     keeperName + " --data DIR",
		Short:   "Keep the private Postgres of a data directory while somebody uses it",
		Example: "  central " + keeperName + " --data /var/lib/gatehouse",
		Hidden:  true,
		Args:    arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			return privatepg.Keep(c.Context(), privatepg.Config{Dir: data, Logger: a.logger(slog.LevelInfo)})
		},
	}
	c.Flags().StringVar(&data, "data", "", "data directory of central (required)")
	needs(c, "data")
	return c
}
