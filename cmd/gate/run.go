package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/gate"
	"gatehouse/gate/lane"
	"gatehouse/gate/node"
	"gatehouse/gate/syncer"
	"gatehouse/hardware/serialscan"
	"gatehouse/syncproto"
)

type runFlags struct {
	lanes   []string
	walkUp  []string
	log     string
	pinFile string
	verbose bool
	vault   vaultFlags
	cfg     gate.Config
}

func runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run --data DIR --listen ADDR --lane name=N1,zone=main,direction=in,scanner=serial:/dev/ttyACM0?baud=9600 [--lane ...]",
		Short: "Serve the lanes of this gate until stopped",
		Long: `Serve the lanes of this gate until stopped.

Prints "gate ready URL" when the scanners that are present are open and the
ticket list is current, or central was found to be away, or --ready-wait is over.
The gate starts without central, and once it has had a ticket list it admits
without central too.

With --peer-listen the gate talks to the other gates of its event over the venue's
own network, also while central is away: a ticket that one admits the others refuse
within milliseconds, and each carries the others' entries to central. Connections
are TLS between the keys that central enrolled; there is nothing to configure.

A scanner is serial:/dev/NAME, with any of these after a question mark, joined by
&: baud=9600, term=cr,lf,crlf,tab (what ends a code), prefix=TEXT (to strip),
settle, stale, retry and retry_max (times, as 500ms). Quote it for the shell.`,
		Example: `  gate run --data /var/lib/gate --listen 127.0.0.1:8090 \
    --lane 'name=N1,zone=main,direction=in,scanner=serial:/dev/ttyACM0?baud=9600' \
    --lane 'name=X1,zone=main,direction=out,scanner=serial:/dev/ttyACM1?baud=115200' \
    --log-decisions /var/log/gate/decisions.ndjson`,
		Args: noArgs,
	}
	f.register(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := f.config(c)
		if err != nil {
			return err
		}
		if cfg.Log != nil {
			defer func() { _ = cfg.Log.Close() }() // every line was written whole already
		}
		return gate.Run(c.Context(), cfg)
	}
	return c
}

func (f *runFlags) register(c *cobra.Command) {
	fl, cfg := c.Flags(), &f.cfg
	dataFlag(c, &cfg.Dir)
	fl.StringVar(&cfg.Front.Listen, "listen", "", "address of the staff page, health and metrics, as 127.0.0.1:8090; port 0 picks one (required)")
	fl.StringArrayVar(&f.lanes, "lane", nil, "a lane: name=,zone=,direction=in|out,scanner=URL; once for each lane (required)")
	fl.StringArrayVar(&f.walkUp, "walkup", nil, "sell tickets at the door: KEY=N keeps N numbers of a ticket type leased; once for each type")
	fl.StringVar(&f.log, "log-decisions", "", "append one JSON line for each answered scan to this file; - is stdout")
	fl.DurationVar(&cfg.Guard, "guard", node.DefaultGuard, "a code read again on its lane within this time is the same presentation; 0 switches it off")
	fl.DurationVar(&cfg.Settle, "settle", serialscan.DefaultSettle, "what a port had buffered is dropped for at most this long after opening; 0 drops nothing")
	fl.DurationVar(&cfg.Timing.Wait, "poll-wait", 10*time.Second, "how long central may hold a request for changes")
	fl.DurationVar(&cfg.Timing.Heartbeat, "heartbeat", 10*time.Second, "time between heartbeats")
	fl.DurationVar(&cfg.Timing.Check, "check-every", 24*time.Hour, "time between comparisons of the roster with central's, the first within two minutes; 0 compares only by gate check")
	fl.DurationVar(&cfg.Timeout, "timeout", syncer.DefaultTimeout, "how long one exchange with central may take, --poll-wait not counted")
	fl.DurationVar(&cfg.Timing.BackoffBase, "backoff-base", syncproto.BackoffBase, "first pause after central could not be reached")
	fl.DurationVar(&cfg.Timing.BackoffMax, "backoff-max", syncproto.BackoffMax, "longest pause after central could not be reached")
	fl.DurationVar(&cfg.ReadyWait, "ready-wait", 15*time.Second, "how long the ready line waits for the roster while central answers")
	fl.DurationVar(&cfg.LockWait, "lock-wait", 5*time.Second, "how long to wait for another gate process on this directory to end")
	fl.StringVar(&cfg.Peer.Listen, "peer-listen", "", "address where the other gates of the event connect, as 0.0.0.0:7443; they are told of it through central")
	fl.StringArrayVar(&cfg.Peer.Static, "peer", nil, "address of another gate, HOST:PORT, beside those that central tells of; may be repeated")
	fl.BoolVar(&cfg.Peer.Multicast, "peer-multicast", false, "look for the other gates by multicast DNS as well, and answer those that look")
	fl.DurationVar(&cfg.Peer.Timing.RetryMin, "peer-retry-min", 100*time.Millisecond, "first pause before a peer that could not be reached is tried again")
	fl.DurationVar(&cfg.Peer.Timing.RetryMax, "peer-retry-max", 2*time.Second, "longest pause before a peer that could not be reached is tried again")
	fl.StringVar(&cfg.Front.TLSCert, "tls-cert", "", "certificate file (PEM) for a staff page that others than this box can reach")
	fl.StringVar(&cfg.Front.TLSKey, "tls-key", "", "key file (PEM) of --tls-cert")
	fl.BoolVar(&cfg.Front.InsecureHTTP, "insecure-http", false, "serve the staff page in clear text on a network address: anybody on that network can read it, the PIN and the names that are searched for")
	fl.StringVar(&f.pinFile, "pin-file", "", "file with the staff PIN, of six digits or more; required when --listen is not a loopback address")
	f.vault.register(c)
	fl.BoolVar(&f.verbose, "verbose", false, "log each exchange with central that fails")
}

func (f *runFlags) config(c *cobra.Command) (gate.Config, error) {
	cfg := f.cfg
	if err := required(map[string]string{"data": cfg.Dir, "listen": cfg.Front.Listen}); err != nil {
		return cfg, err
	}
	if err := f.laneSpecs(&cfg); err != nil {
		return cfg, misuse{err}
	}
	var err error
	if cfg.WalkUp, err = parseWalkUp(f.walkUp); err != nil {
		return cfg, misuse{err}
	}
	if cfg.Guard < 0 || cfg.Settle < 0 || cfg.Timing.BackoffBase <= 0 || cfg.Timeout <= 0 || cfg.Timing.Heartbeat <= 0 || cfg.Timing.Wait < 0 || cfg.Timing.Check < 0 ||
		cfg.Peer.Timing.RetryMin <= 0 || cfg.Peer.Timing.RetryMax <= 0 {
		return cfg, misuse{fmt.Errorf("times must not be negative, and --heartbeat, --timeout, --backoff-base and the pauses for peers must be over zero")}
	}
	if cfg.Vault, err = f.vault.config(); err != nil {
		return cfg, misuse{err}
	}
	if f.pinFile != "" {
		b, err := os.ReadFile(f.pinFile)
		if err != nil {
			return cfg, fmt.Errorf("staff PIN: %w", err)
		}
		cfg.Front.PIN = strings.TrimSpace(string(b))
	}
	if err := errors.Join(cfg.Front.Check(), cfg.Peer.Check()); err != nil {
		return cfg, misuse{err}
	}
	if f.log != "" {
		log, err := lane.OpenLog(f.log, c.OutOrStdout())
		if err != nil {
			return cfg, err
		}
		cfg.Log = log
	}
	level := slog.LevelInfo
	if f.verbose {
		level = slog.LevelDebug
	}
	cfg.Logger = logger(c.ErrOrStderr(), level)
	cfg.App, cfg.Now, cfg.Rand, cfg.Jitter = "gate "+version(), time.Now, rand.Reader, mrand.Float64
	cfg.Ready = func(url string) error {
		_, err := fmt.Fprintf(c.OutOrStdout(), "gate ready %s\n", url)
		return err
	}
	return cfg, nil
}

func (f *runFlags) laneSpecs(cfg *gate.Config) error {
	names := map[string]bool{}
	for _, text := range f.lanes {
		s, err := lane.ParseSpec(text)
		if err != nil {
			return err
		}
		if _, err := serialscan.ParseURL(s.Scanner); err != nil {
			return fmt.Errorf("lane %s: %w", s.Name, err)
		}
		if names[s.Name] {
			return fmt.Errorf("two lanes are named %q", s.Name)
		}
		names[s.Name] = true
		cfg.Lanes = append(cfg.Lanes, s)
	}
	if len(cfg.Lanes) == 0 {
		return fmt.Errorf("--lane is required")
	}
	return nil
}
