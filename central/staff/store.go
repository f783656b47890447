package staff

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/central/pg"
)

// Config is what the service needs.
type Config struct {
	// Pool is the database. Required.
	Pool *pgxpool.Pool
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
	// Rand gives secrets; it must be safe for concurrent use. Defaults to crypto/rand.
	Rand io.Reader
	// Issuer is what authenticator apps show beside a code. Defaults to "Gatehouse".
	Issuer string
	// Logger hears of failures in the background. Defaults to slog.Default().
	Logger *slog.Logger
}

// Service is all of the package on one database. Its parts are safe for concurrent use.
type Service struct {
	Accounts *Accounts // people, their roles and passwords
	Own      *Own      // what people do with their own account
	SignIns  *SignIns  // cookies and tokens
	Mails    *Mails    // links that verify an address or reset a password
	Factors  *Factors  // authenticator apps
	APIKeys  *APIKeys  // keys of programs
	Audit    *Audit    // what was done

	*parts
}

// parts are what the parts of the service share.
type parts struct {
	cfg    Config
	hasher *hasher
	audit  *Audit
	tokens *tokenKeys
	states *states
}

// New returns the service.
func New(cfg Config) (*Service, error) {
	if cfg.Pool == nil {
		return nil, errors.New("new staff: a pool is required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Issuer == "" {
		cfg.Issuer = "Gatehouse"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	p := &parts{cfg: cfg, hasher: newHasher(), audit: &Audit{cfg: cfg}, tokens: &tokenKeys{cfg: cfg}, states: newStates()}
	return &Service{
		Accounts: &Accounts{p}, Own: &Own{p}, SignIns: &SignIns{p}, Mails: &Mails{p}, Factors: &Factors{p}, APIKeys: &APIKeys{p}, Audit: p.audit, parts: p,
	}, nil
}

// Prepare makes what every copy of central needs, if this is the first time: the key
// of the access tokens. Of two processes at once one makes it.
func (s *Service) Prepare(ctx context.Context) error { return s.tokens.prepare(ctx) }

// inTx runs fn in a transaction, and lets go of what is remembered of accounts once it
// has been committed: whatever it was, this copy acts on it at once.
func (p *parts) inTx(ctx context.Context, fn func(tx pgx.Tx) error) error {
	if err := pg.InTx(ctx, p.cfg.Pool, fn); err != nil {
		return err
	}
	p.states.forget()
	return nil
}

// newID makes an id that sorts by when it was made.
func (p *parts) newID() (uuid.UUID, error) { return uuid.NewV7FromReader(p.cfg.Rand) }

// queryer is a pool or a transaction.
type queryer interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}
