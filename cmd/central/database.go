package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"gatehouse/central"
	"gatehouse/central/pg/privatepg"
	"gatehouse/syncproto"
)

// where are the flags that say which database a command works on.
type where struct {
	data, url string
	makes     bool // a data directory that is not there yet
}

func (w *where) add(c *cobra.Command) {
	made := ""
	if w.makes {
		made = "; it is made if it is not there"
	}
	c.Flags().StringVar(&w.data, "data", "", "data directory of central"+made+" (required without --database-url)")
	c.Flags().StringVar(&w.url, "database-url", "", "postgres:// URL of a database of yours, instead of the private one under --data;\na password is better kept in PGPASSWORD or a .pgpass file than on a command line")
}

// session is a central that a command works with.
type session struct {
	*central.Central
	cluster *privatepg.Cluster // nil: the database is somebody else's
}

// open makes the database run, if it is ours, and opens central on it.
func (a *app) open(ctx context.Context, w *where, cfg central.Config) (*session, error) {
	if w.data == "" && w.url == "" {
		return nil, misused("--data is missing: give the data directory of central")
	}
	s := &session{}
	cfg.DatabaseURL = w.url
	if cfg.DatabaseURL == "" {
		if err := w.find(); err != nil {
			return nil, err
		}
		cluster, err := attach(ctx, w.data, cfg.Logger)
		if err != nil {
			return nil, err
		}
		s.cluster, cfg.DatabaseURL = cluster, cluster.URL(privatepg.Database)
	}
	var err error
	if s.Central, err = central.Open(ctx, cfg); err != nil {
		return nil, errors.Join(err, s.detach())
	}
	return s, nil
}

// find makes sure that there is a data directory, where the command is not one
// that makes it: a path that was mistyped must not become an empty central.
func (w *where) find() error {
	if w.makes {
		return nil
	}
	found, err := privatepg.Exists(w.data)
	if err == nil && !found {
		err = fmt.Errorf("there is no central in %s: give the data directory of `central serve`, or begin one with `central event create`", w.data)
	}
	return err
}

// attach makes the private Postgres of a data directory run, and keeps it running
// until the cluster is closed or this process ends.
func attach(ctx context.Context, data string, logger *slog.Logger) (*privatepg.Cluster, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	if data, err = filepath.Abs(data); err != nil {
		return nil, fmt.Errorf("find the data directory: %w", err)
	}
	return privatepg.Attach(ctx, privatepg.Config{Dir: data, Keeper: []string{self, keeperName, "--data", data}, Logger: logger})
}

// detach gives back the private Postgres.
func (s *session) detach() error {
	if s.cluster == nil {
		return nil
	}
	return s.cluster.Close()
}

// close ends the use of central and of its database.
func (s *session) close() error {
	s.Close()
	return s.detach()
}

// with runs work on an open central.
func (a *app) with(ctx context.Context, w *where, work func(c *session) error) error {
	s, err := a.open(ctx, w, central.Config{Logger: a.logger(slog.LevelWarn)})
	if err != nil {
		return err
	}
	return errors.Join(work(s), s.close())
}

// eventFlag is the number of an event as a flag.
type eventFlag uint32

func addEvent(c *cobra.Command, no *eventFlag) {
	c.Flags().Uint32Var((*uint32)(no), "event", 0, "number of the event, as printed by central event create (required)")
	needs(c, "event")
}

func (e eventFlag) no() syncproto.EventNo { return syncproto.EventNo(e) }

// needs makes flags required.
func needs(c *cobra.Command, flags ...string) {
	for _, flag := range flags {
		if err := c.MarkFlagRequired(flag); err != nil {
			panic(err) // the flag is not defined: a mistake in this program
		}
	}
}

// publish tells the gates of a change now. A failure costs them a moment only.
func (a *app) publish(ctx context.Context, c *session, event syncproto.EventNo) {
	if err := c.Publish(ctx, event); err != nil {
		fmt.Fprintf(a.err, "central: the change is stored, and gates will hear of it with the next sweep (%s)\n", sentence(err))
	}
}

// source opens the file of a command; "-" is standard input.
func (a *app) source(name string, work func(f *os.File) error) error {
	if name == "-" {
		if f, ok := a.in.(*os.File); ok {
			return work(f)
		}
	}
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("open file: %w", err)
	}
	defer f.Close()
	return work(f)
}
