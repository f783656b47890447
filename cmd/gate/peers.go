package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"gatehouse/gate"
	"gatehouse/gate/control"
)

func peersCommand() *cobra.Command {
	var dir string
	var asJSON bool
	c := &cobra.Command{
		Use:   "peers --data DIR [--json]",
		Short: "List the other gates of the event, and which of them are heard",
		Long: `List the other gates of the event, and which of them are heard. A gate that is
connected and not heard has been silent for a second or more.`,
		Example: "  gate peers --data /var/lib/gate\n  gate peers --data /var/lib/gate --json | jq -r '.[] | select(.heard) | .gate'",
		Args:    noArgs,
	}
	dataFlag(c, &dir)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.RunE = inspect(&dir, func(c *cobra.Command, _ []string, g gate.Inspection) error {
		peers, err := g.Peers(c.Context())
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(c.OutOrStdout(), peers)
		}
		return printPeers(c.OutOrStdout(), peers)
	})
	return c
}

func printPeers(out io.Writer, peers []control.Peer) error {
	if len(peers) == 0 {
		_, err := fmt.Fprintln(out, "no other gates: the event has one, or this gate was never told of others")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "gate\tnow\tcentral\taddresses\tdevice")
	for _, p := range peers {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", p.Gate, peerState(p), p.Central, strings.Join(p.Addrs, " "), p.Device)
	}
	return w.Flush()
}

func peerState(p control.Peer) string {
	switch {
	case p.Heard:
		return "heard"
	case p.SilentS == nil:
		return "never heard"
	}
	return fmt.Sprintf("silent for %.0f s", *p.SilentS)
}
