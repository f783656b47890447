package agenda

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

const (
	// SessionsMax bounds what one account means to go to.
	SessionsMax = 500
	// linkBytes are the random bytes of a link, which nobody guesses.
	linkBytes = 20
)

var (
	// ErrFull means that the account has chosen SessionsMax sessions.
	ErrFull = errors.New("there are too many sessions in your programme: take some out first")
	// ErrNoLink means that no agenda has that link, or not any more.
	ErrNoLink = errors.New("there is no such calendar, or its link was replaced")
	// ErrNoSession means that there is no such session.
	ErrNoSession = errors.New("there is no such session")
)

// Audit is told of every write within its transaction; its error undoes the write.
type Audit interface {
	// Record hears what was done to a subject, and how that was before and after, as
	// encoding/json writes it; nil for what was not there.
	Record(ctx context.Context, tx pgx.Tx, action, kind, id string, event syncproto.EventNo, before, after any) error
}

// Config is what the service needs.
type Config struct {
	// Pool is the database. Required.
	Pool *pgxpool.Pool
	// Audit is told of every write. Required.
	Audit Audit
	// Random makes links. Defaults to crypto/rand.
	Random io.Reader
}

// Service keeps agendas. It is safe for concurrent use.
type Service struct{ cfg Config }

// New returns the service.
func New(cfg Config) (*Service, error) {
	if cfg.Pool == nil || cfg.Audit == nil {
		return nil, errors.New("new agenda: a pool and an audit are required")
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	return &Service{cfg}, nil
}

// Sessions are the ids of what an account means to go to, ascending; none where it has
// chosen nothing.
func (s *Service) Sessions(ctx context.Context, account uuid.UUID) ([]int64, error) {
	rows, err := s.cfg.Pool.Query(ctx, `SELECT session_id FROM agenda_session WHERE account_id = $1 ORDER BY session_id`, account)
	if err != nil {
		return nil, fmt.Errorf("read agenda: %w", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("read agenda: %w", err)
	}
	return out, nil
}

// Add puts a session into an account's agenda. One that is in it already stays;
// [ErrNoSession], [ErrFull].
func (s *Service) Add(ctx context.Context, account uuid.UUID, event syncproto.EventNo, session int64) error {
	err := pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		if err := lock(ctx, tx, account); err != nil {
			return err
		}
		var chosen int
		var has bool
		err := tx.QueryRow(ctx, `
			SELECT count(*), coalesce(bool_or(session_id = $2::bigint), false)
			FROM agenda_session
			WHERE account_id = $1`, account, session).Scan(&chosen, &has)
		if err != nil || has {
			return err
		}
		if chosen >= SessionsMax {
			return ErrFull
		}
		if _, err := tx.Exec(ctx, `INSERT INTO agenda_session (account_id, session_id) VALUES ($1, $2::bigint)`, account, session); err != nil {
			return err
		}
		return s.record(ctx, tx, "agenda.add", session, event, nil, choice{account})
	})
	if err != nil {
		return fmt.Errorf("add to agenda: %w", pg.MapViolation(err, map[string]error{"agenda_session_session_id_fkey": ErrNoSession}))
	}
	return nil
}

// Remove takes a session out of an account's agenda; one that is not in it is no error.
func (s *Service) Remove(ctx context.Context, account uuid.UUID, event syncproto.EventNo, session int64) error {
	err := pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, `DELETE FROM agenda_session WHERE account_id = $1 AND session_id = $2::bigint`, account, session)
		if err != nil || done.RowsAffected() == 0 {
			return err
		}
		return s.record(ctx, tx, "agenda.remove", session, event, choice{account}, nil)
	})
	if err != nil {
		return fmt.Errorf("remove from agenda: %w", err)
	}
	return nil
}

// choice is what the audit is told of a session in an agenda.
type choice struct {
	Account uuid.UUID `json:"account"`
}

func (s *Service) record(ctx context.Context, tx pgx.Tx, action string, session int64, event syncproto.EventNo, before, after any) error {
	return s.cfg.Audit.Record(ctx, tx, action, "session", strconv.FormatInt(session, 10), event, before, after)
}

// lock makes an account's agenda if there is none, and keeps others from changing it.
func lock(ctx context.Context, tx pgx.Tx, account uuid.UUID) error {
	if _, err := tx.Exec(ctx, `INSERT INTO agenda (account_id) VALUES ($1) ON CONFLICT DO NOTHING`, account); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `SELECT FROM agenda WHERE account_id = $1 FOR NO KEY UPDATE`, account)
	return err
}

// NewLink makes the link of an account's agenda; the one before is none any more.
func (s *Service) NewLink(ctx context.Context, account uuid.UUID) (link string, err error) {
	raw := make([]byte, linkBytes)
	if _, err := io.ReadFull(s.cfg.Random, raw); err != nil {
		return "", fmt.Errorf("make link of agenda: %w", err)
	}
	link = strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw))
	return link, s.setLink(ctx, account, "agenda.link", hashOf(link))
}

// EndLink ends the link of an account's agenda, if it has one.
func (s *Service) EndLink(ctx context.Context, account uuid.UUID) error {
	return s.setLink(ctx, account, "agenda.unlink", nil)
}

func (s *Service) setLink(ctx context.Context, account uuid.UUID, action string, hash []byte) error {
	err := pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		if err := lock(ctx, tx, account); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE agenda SET link_hash = $2 WHERE account_id = $1`, account, hash); err != nil {
			return err
		}
		return s.cfg.Audit.Record(ctx, tx, action, "account", account.String(), 0, nil, nil)
	})
	if err != nil {
		return fmt.Errorf("change link of agenda: %w", err)
	}
	return nil
}

// ByLink is the account whose agenda has a link; [ErrNoLink].
func (s *Service) ByLink(ctx context.Context, link string) (uuid.UUID, error) {
	var account uuid.UUID
	err := s.cfg.Pool.QueryRow(ctx, `SELECT account_id FROM agenda WHERE link_hash = $1`, hashOf(link)).Scan(&account)
	if errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, ErrNoLink
	}
	if err != nil {
		return uuid.Nil, fmt.Errorf("find agenda: %w", err)
	}
	return account, nil
}

func hashOf(link string) []byte {
	sum := sha256.Sum256([]byte(link))
	return sum[:]
}

// Erase forgets an account's agenda and its link.
func (s *Service) Erase(ctx context.Context, account uuid.UUID) error {
	if _, err := s.cfg.Pool.Exec(ctx, `DELETE FROM agenda WHERE account_id = $1`, account); err != nil {
		return fmt.Errorf("erase agenda: %w", err)
	}
	return nil
}
