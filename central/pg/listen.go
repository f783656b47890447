package pg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// listenBackoffMin and listenBackoffMax bound the random pause before a
	// listener connects again.
	listenBackoffMin = 50 * time.Millisecond
	listenBackoffMax = 5 * time.Second
)

// ListenConfig describes a [Listener].
type ListenConfig struct {
	// Pool gives the address and settings of the listener's own connection,
	// which is not one of the pool's. Required.
	Pool *pgxpool.Pool
	// Channels are what to listen on. Required.
	Channels []string
	// OnNotify is called for each notification, in order. Required.
	OnNotify func(channel, payload string)
	// OnConnect is called each time the listener has begun to listen, the
	// first time included. Notifications sent while it was away are lost, so
	// this is when to read the state they are about again. Required.
	OnConnect func()
	// PingEvery is how long the connection may be silent before it is tried.
	// It bounds how long a lost server goes unnoticed. Defaults to 30 s.
	PingEvery time.Duration
	// Logger hears of lost connections. Defaults to slog.Default().
	Logger *slog.Logger
}

// Listener follows Postgres notifications over one connection of its own.
type Listener struct {
	cfg ListenConfig
	sql string
}

// NewListener returns a listener that does nothing until Run.
func NewListener(cfg ListenConfig) (*Listener, error) {
	if cfg.Pool == nil || len(cfg.Channels) == 0 || cfg.OnNotify == nil || cfg.OnConnect == nil {
		return nil, errors.New("new listener: pool, channels and both callbacks are required")
	}
	cfg.PingEvery = orDefault(cfg.PingEvery, 30*time.Second)
	cfg.Logger = orDefault(cfg.Logger, slog.Default())
	l := &Listener{cfg: cfg}
	for _, channel := range cfg.Channels {
		// LISTEN takes no parameters.
		l.sql += "LISTEN " + pgx.Identifier{channel}.Sanitize() + ";"
	}
	return l, nil
}

// Run listens until ctx is done, connecting again whenever the connection is
// lost. The callbacks run on this goroutine, one at a time; while one runs,
// notifications wait. It returns nil.
func (l *Listener) Run(ctx context.Context) error {
	for failures := 0; ; {
		began, err := l.listen(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if began {
			failures = 0
		}
		failures++
		pause := jittered(listenBackoffMin, listenBackoffMax, failures)
		l.cfg.Logger.Warn("listener lost its connection", "error", err, "again_in", pause)
		if sleep(ctx, pause) != nil {
			return nil
		}
	}
}

// listen serves one connection until it fails. It reports whether it got as
// far as listening.
func (l *Listener) listen(ctx context.Context) (began bool, err error) {
	conn, err := pgx.ConnectConfig(ctx, l.cfg.Pool.Config().ConnConfig)
	if err != nil {
		return false, fmt.Errorf("connect listener: %w", err)
	}
	defer l.hangUp(ctx, conn)
	if _, err := conn.Exec(ctx, l.sql); err != nil {
		return false, fmt.Errorf("listen: %w", err)
	}
	l.cfg.OnConnect()
	for {
		if err := l.next(ctx, conn); err != nil {
			return true, err
		}
	}
}

// pingWaitMin is how long a tried connection has to answer at the least: a busy
// server is not a lost one.
const pingWaitMin = 5 * time.Second

// next waits for one notification and hands it on. After a silence of
// PingEvery it tries the connection instead.
func (l *Listener) next(ctx context.Context, conn *pgx.Conn) error {
	quiet, cancel := context.WithTimeout(ctx, l.cfg.PingEvery)
	defer cancel()
	notice, err := conn.WaitForNotification(quiet)
	if err == nil {
		l.cfg.OnNotify(notice.Channel, notice.Payload)
		return nil
	}
	if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) || conn.IsClosed() {
		return fmt.Errorf("await notification: %w", err)
	}
	probe, cancel := context.WithTimeout(ctx, max(l.cfg.PingEvery, pingWaitMin))
	defer cancel()
	if err := conn.Ping(probe); err != nil {
		return fmt.Errorf("try silent connection: %w", err)
	}
	return nil
}

// hangUp closes a connection that may be broken without waiting for it long.
func (l *Listener) hangUp(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // It is given up either way.
}
