// Package central is the composition root of `central`: it builds the features
// on one database, mounts the surfaces on one HTTP server, and supervises the
// workers. It holds no rules and no SQL of its own, and nothing below imports it.
//
// A command uses the features of an open [Central] and closes it. `central serve`
// runs [Central.Serve] on top. Any number of both can work on one database.
package central

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"gatehouse/central/agenda"
	"gatehouse/central/checkin"
	"gatehouse/central/finding"
	"gatehouse/central/fleet"
	"gatehouse/central/handout"
	"gatehouse/central/notify"
	"gatehouse/central/pass"
	"gatehouse/central/payment"
	"gatehouse/central/pg"
	"gatehouse/central/programme"
	"gatehouse/central/registration"
	"gatehouse/central/replay"
	"gatehouse/central/roster"
	"gatehouse/central/staff"
	"gatehouse/central/ticket"
	"gatehouse/central/vault"
	"gatehouse/central/walkup"
	"gatehouse/migrations"
	"gatehouse/syncproto"
)

// Config says which database central works on.
type Config struct {
	// DatabaseURL is the database. Required.
	DatabaseURL string
	// Orders says how tickets are sold.
	Orders OrderConfig
	// Handout says how tickets are handed out.
	Handout HandoutConfig
	// Mail says how letters are sent. Without a Sender none are.
	Mail notify.Settings
	// Logger hears of what an operator may want to know. Defaults to
	// slog.Default().
	Logger *slog.Logger
}

// OrderConfig says how tickets are sold. The zero value sells what is free, and what is
// paid for by hand.
type OrderConfig struct {
	// Hold is how long a cart keeps its places, OfferHold how long an offer to somebody on
	// a wait list does. Default to those of the package registration.
	Hold, OfferHold time.Duration
	// Providers are the ways to pay, by name. Defaults to payment.Manual alone.
	Providers map[string]payment.Provider
	// Back is the address where a buyer goes on after paying. Defaults to none.
	Back string
}

// HandoutConfig says how tickets are handed out. The zero value makes links that are paths,
// and no passes of wallets.
type HandoutConfig struct {
	// URL is where people reach central, without a slash at the end. Defaults to none.
	URL string
	// Apple and Google make passes. Default to none.
	Apple  *pass.Apple
	Google *pass.Google
}

// Central is all features on one database. It is safe for concurrent use.
type Central struct {
	Programme *programme.Service
	Keys      *fleet.Keys
	Fleet     *fleet.Service
	Tickets   *ticket.Service
	Vault     *vault.Service
	Roster    *roster.Roster
	Checkin   *checkin.Service
	Desk      *checkin.Desk
	WalkUp    *walkup.Service
	Findings  *finding.Service
	Staff     *staff.Service
	// Registration takes orders, Replay remembers requests, Agenda what people go to.
	Registration *registration.Service
	Replay       *replay.Service
	Agenda       *agenda.Service
	// Handout gives tickets to those who hold them, Notify sends letters.
	Handout *handout.Service
	Notify  *notify.Service

	counter checkin.Counter
	queries *queries
	logger  *slog.Logger
	ping    func(ctx context.Context) error
	seal    func(ctx context.Context, stream uuid.UUID) error
	backlog func(ctx context.Context) (rows int64, err error)
	// diverged is how many gates last found their roster not to be central's.
	diverged func(ctx context.Context) (gates int, err error)
	epoch    func(ctx context.Context) (uuid.UUID, error)
	close    func()
}

// Open connects to the database, brings its schema up to date, makes the
// installation if this is the first time, and builds the features. The caller
// closes what it returns.
func Open(ctx context.Context, cfg Config) (*Central, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	queries := newQueries()
	pool, err := pg.Open(ctx, pg.Config{URL: cfg.DatabaseURL, Name: "central", Observe: queries.observe})
	if err != nil {
		return nil, err
	}
	c := &Central{
		counter: checkin.NewCounter(pool), queries: queries, logger: cfg.Logger, ping: pool.Ping, close: pool.Close,
		seal:     func(ctx context.Context, stream uuid.UUID) error { return roster.SealNow(ctx, pool, stream) },
		backlog:  func(ctx context.Context) (int64, error) { return roster.Backlog(ctx, pool) },
		diverged: func(ctx context.Context) (int, error) { return fleet.Diverged(ctx, pool) },
		epoch:    func(ctx context.Context) (uuid.UUID, error) { return roster.NewEpoch(ctx, pool) },
	}
	if err := c.build(ctx, cfg, &parts{
		programme: programme.Config{Pool: pool, CreateStream: roster.CreateStream, DropStream: roster.DropStream},
		keys:      fleet.KeysConfig{Pool: pool},
		fleet:     fleet.Config{Pool: pool, Watermark: checkin.Newest},
		tickets:   ticket.Config{Pool: pool},
		vault:     vault.Config{Pool: pool},
		roster:    roster.Config{Pool: pool, Logger: cfg.Logger},
		checkin:   checkin.Config{Pool: pool, Logger: cfg.Logger, Trade: walkup.Trade},
		walkup:    walkup.Config{Pool: pool},
		findings:  finding.Config{Pool: pool, Logger: cfg.Logger},
		staff:     staff.Config{Pool: pool, Logger: cfg.Logger},
	}); err != nil {
		pool.Close()
		return nil, err
	}
	return c, nil
}

// parts are the configurations of the features as far as the database goes.
type parts struct {
	programme programme.Config
	keys      fleet.KeysConfig
	fleet     fleet.Config
	tickets   ticket.Config
	vault     vault.Config
	roster    roster.Config
	checkin   checkin.Config
	walkup    walkup.Config
	findings  finding.Config
	staff     staff.Config
}

// build prepares the database and wires the features to each other.
func (c *Central) build(ctx context.Context, cfg Config, p *parts) (err error) {
	if err := pg.Migrate(ctx, cfg.DatabaseURL, migrations.Central(), cfg.Logger); err != nil {
		return err
	}
	if c.Staff, err = staff.New(p.staff); err != nil {
		return err
	}
	if err := c.Staff.Prepare(ctx); err != nil {
		return err
	}
	p.keys.Audit, p.programme.Audit, p.fleet.Audit, p.tickets.Audit = c.Staff.Audit, c.Staff.Audit, c.Staff.Audit, c.Staff.Audit
	if c.Keys, err = fleet.NewKeys(p.keys); err != nil {
		return err
	}
	if err := c.Keys.Prepare(ctx); err != nil {
		return err
	}
	if c.Programme, err = programme.New(p.programme); err != nil {
		return err
	}
	p.fleet.Events, p.fleet.Keys = c.Programme, c.Keys
	if c.Fleet, err = fleet.New(p.fleet); err != nil {
		return err
	}
	p.tickets.Programme, p.tickets.Keys = c.Programme, c.Keys
	if c.Tickets, err = ticket.New(p.tickets); err != nil {
		return err
	}
	p.vault.Stream = c.stream
	if c.Vault, err = vault.New(p.vault); err != nil {
		return err
	}
	p.roster.Rules, p.roster.Trust, p.roster.Vault = c.Programme.Rules, c.Keys.Trust, c.Vault
	if c.Roster, err = roster.New(p.roster); err != nil {
		return err
	}
	p.checkin.Rules, p.checkin.Quarantine, p.checkin.Touch = c.Programme.Rules, c.Fleet.Quarantine, c.Roster.Touch
	if c.Checkin, err = checkin.New(p.checkin); err != nil {
		return err
	}
	if c.Desk, err = checkin.NewDesk(c.desk(p)); err != nil {
		return err
	}
	p.walkup.Tickets, p.walkup.Open = c.Tickets, c.Keys.Open
	if c.WalkUp, err = walkup.New(p.walkup); err != nil {
		return err
	}
	p.findings.Touch = c.Roster.Touch
	if c.Findings, err = finding.New(p.findings); err != nil {
		return err
	}
	if c.Notify, err = notify.New(letters(c, p, &cfg)); err != nil {
		return err
	}
	if c.Registration, err = registration.New(c.orders(p, cfg.Orders)); err != nil {
		return err
	}
	if c.Replay, err = replay.New(replay.Config{Pool: p.tickets.Pool}); err != nil {
		return err
	}
	if c.Agenda, err = agenda.New(agenda.Config{Pool: p.tickets.Pool, Audit: c.Staff.Audit}); err != nil {
		return err
	}
	c.Handout, err = handout.New(handout.Config{
		Pool: p.tickets.Pool, Programme: c.Programme, Tickets: c.Tickets, URL: cfg.Handout.URL, Apple: cfg.Handout.Apple, Google: cfg.Handout.Google,
	})
	return err
}

// stream names the change log of an event.
func (c *Central) stream(ctx context.Context, event syncproto.EventNo) (uuid.UUID, error) {
	e, err := c.Programme.Event(ctx, event)
	return e.Stream, err
}

// Close gives the database back. It waits for what is still using it.
func (c *Central) Close() { c.close() }

// Release takes a gate out of quarantine, and has what it added meanwhile judged
// as of a gate that is trusted. It reports how many entries those are. Beginning
// again what was broken off brings it to its end.
func (c *Central) Release(ctx context.Context, event syncproto.EventNo, which fleet.Which, reason string) (entries int, err error) {
	gate, err := c.Fleet.Release(ctx, event, which, reason)
	if err != nil {
		return 0, err
	}
	return c.Checkin.Trust(ctx, gate.ID)
}

// NewEpoch declares that the database was restored from a backup: each gate takes
// a new snapshot, and sends what central lacks of its journal.
func (c *Central) NewEpoch(ctx context.Context) error {
	_, err := c.epoch(ctx)
	return err
}

// sealPatience is how long Publish tries.
const sealPatience = 5 * time.Second

// Publish seals what a command has told the gates of an event, so that they hear
// of it now and not with the next sweep of a serving central. The change itself
// is durable without it.
func (c *Central) Publish(ctx context.Context, event syncproto.EventNo) error {
	ctx, cancel := context.WithTimeout(ctx, sealPatience)
	defer cancel()
	e, err := c.Programme.Event(ctx, event)
	if err != nil {
		return err
	}
	if err := c.seal(ctx, e.Stream); err != nil {
		return fmt.Errorf("publish the change: %w", err)
	}
	return nil
}
