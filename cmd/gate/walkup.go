package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"gatehouse/gate/control"
	"gatehouse/gate/node"
	"gatehouse/hardware/qrdraw"
	"gatehouse/syncproto"
)

// qrModule is the size of a QR code's module in pixels.
const qrModule = 8

func walkUpCommand() *cobra.Command {
	var (
		dir, qr string
		sale    control.WalkUp
		back    bool
		asJSON  bool
	)
	c := &cobra.Command{
		Use:   "walkup --data DIR --type KEY --name NAME [--email E] [--qr FILE] [--json] | --return [--type KEY]",
		Short: "Sell a ticket at the door, also while central is away",
		Long: `Sell a ticket at the door, also while central is away, and print its code. The gate
must be running, with --walkup KEY=N, so that it has leased numbers of the type from
central. The code is good at once at every gate that has heard of the lease, and stays
so when central has made a proper ticket of it.

Who bought it is kept sealed: only central can read it. --return gives back what was
leased and not sold, of one type or of all; a gate with --walkup leases anew when it is
connected.`,
		Example: `  gate walkup --data /var/lib/gate --type day --name 'Ada Lovelace' --email ada@example.org --qr ada.png
  gate walkup --data /var/lib/gate --return`,
		Args: noArgs,
	}
	dataFlag(c, &dir)
	c.Flags().StringVar(&sale.Type, "type", "", "key of the ticket type")
	c.Flags().StringVar(&sale.Name, "name", "", "who buys it")
	c.Flags().StringVar(&sale.Email, "email", "", "e-mail address of the buyer")
	c.Flags().StringVar(&qr, "qr", "", "write the code as a QR code to this PNG file as well")
	c.Flags().BoolVar(&back, "return", false, "sell nothing: give back what is not sold")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.RunE = func(c *cobra.Command, _ []string) (err error) {
		if err := required(map[string]string{"data": dir}); err != nil {
			return err
		}
		switch selling := sale.Name != "" || sale.Email != "" || qr != ""; {
		case back && selling:
			return misuse{errors.New("--return takes --type only")}
		case !back && (sale.Type == "" || sale.Name == ""):
			return misuse{errors.New("--type and --name are required")}
		}
		client, err := control.Dial(dir)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, client.Close()) }()
		if back {
			return giveBack(c, client, sale.Type, asJSON)
		}
		return sell(c, client, sale, qr, asJSON)
	}
	return c
}

func sell(c *cobra.Command, client *control.Client, sale control.WalkUp, qr string, asJSON bool) error {
	sold, err := client.Sell(c.Context(), sale)
	if err != nil {
		return err
	}
	if sold.Warning != "" {
		fmt.Fprintln(c.ErrOrStderr(), "gate:", sold.Warning)
	}
	// The code first: the ticket is sold, whatever becomes of the picture.
	if asJSON {
		err = printJSON(c.OutOrStdout(), sold)
	} else {
		_, err = fmt.Fprintln(c.OutOrStdout(), sold.Code)
	}
	if err != nil || qr == "" {
		return err
	}
	m, err := qrdraw.Draw(sold.Code)
	if err != nil {
		return err
	}
	var picture bytes.Buffer
	if err := qrdraw.PNG(&picture, m, qrModule); err != nil {
		return err
	}
	if err := renameio.WriteFile(qr, picture.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write QR code: %w", err)
	}
	return nil
}

func giveBack(c *cobra.Command, client *control.Client, typ string, asJSON bool) error {
	n, err := client.Return(c.Context(), typ)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(c.OutOrStdout(), map[string]int{"returned": n})
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%d returned\n", n)
	return err
}

// parseWalkUp reads the values of --walkup.
func parseWalkUp(texts []string) ([]node.WalkUp, error) {
	var out []node.WalkUp
	for _, text := range texts {
		key, number, ok := strings.Cut(text, "=")
		n, err := strconv.Atoi(number)
		if !ok || key == "" || err != nil || n < 1 || n > syncproto.LeaseCountMax {
			return nil, fmt.Errorf("--walkup %q: give KEY=N, the key of a ticket type and how many to keep leased, at most %d", text, syncproto.LeaseCountMax)
		}
		for _, w := range out {
			if w.Type == key {
				return nil, fmt.Errorf("--walkup names %q twice", key)
			}
		}
		out = append(out, node.WalkUp{Type: key, Count: n})
	}
	return out, nil
}
