package finding

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// Limits of what people write on a finding, in bytes.
const (
	NameMax = 100
	NoteMax = 2000
)

// Errors that callers tell apart.
var (
	ErrNoFinding = errors.New("there is no such finding; `central findings` lists them")
	ErrText      = errors.New("text is not acceptable")
)

// Config says what the service works on.
type Config struct {
	// Pool is central's database. Required.
	Pool *pgxpool.Pool
	// Touch is called when a stream has something to seal. Defaults to nothing.
	Touch func(stream uuid.UUID)
	// FollowEvery is how often Run looks for what is new. Defaults to 500 ms.
	FollowEvery time.Duration
	// Logger hears of failures in the background. Defaults to slog.Default().
	Logger *slog.Logger
}

// Service keeps the findings. It is safe for concurrent use.
type Service struct{ cfg Config }

// New returns the service.
func New(cfg Config) (*Service, error) {
	if cfg.Pool == nil {
		return nil, errors.New("new finding: pool is required")
	}
	if cfg.Touch == nil {
		cfg.Touch = func(uuid.UUID) {}
	}
	if cfg.FollowEvery == 0 {
		cfg.FollowEvery = 500 * time.Millisecond
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Service{cfg: cfg}, nil
}

// List is findings of an event as of one moment, those that nobody has looked at
// first, then those that are noted, then closed ones; the newest of each first.
type List struct {
	Open     int       `json:"open"`
	Noted    int       `json:"noted"`
	Closed   int       `json:"closed"`
	Findings []Finding `json:"findings"` // the first of them, where there are more than were asked for
}

// List reads the findings of an event, at most max; 0 is all.
func (s *Service) List(ctx context.Context, event syncproto.EventNo, max int) (List, error) {
	out := List{Findings: []Finding{}}
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pg.InTxWith(ctx, s.cfg.Pool, options, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `
			SELECT count(*) FILTER (WHERE state = 'open'), count(*) FILTER (WHERE state = 'noted'), count(*) FILTER (WHERE state = 'closed')
			FROM finding
			WHERE event_id = $1`, event).Scan(&out.Open, &out.Noted, &out.Closed)
		if err != nil {
			return err
		}
		if out.Findings, err = selectFindings(ctx, tx, event, max); err != nil {
			return err
		}
		return addSteps(ctx, tx, out.Findings)
	})
	if err != nil {
		return List{}, fmt.Errorf("list findings: %w", err)
	}
	return out, nil
}

// selectFindings reads findings without their steps.
func selectFindings(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, max int) ([]Finding, error) {
	rows, err := tx.Query(ctx, `
		SELECT f.id, f.kind, f.detail, f.state, f.state_by, f.state_at, f.note, f.moot_at, f.ticket, e.stream, t.reference,
		       f.evidence, f.count, f.first_at, f.last_at, f.found_at, f.sides
		FROM finding f
		JOIN event e ON e.id = f.event_id
		LEFT JOIN ticket t ON t.event_id = f.event_id AND t.number = f.ticket
		WHERE f.event_id = $1
		ORDER BY CASE f.state WHEN 'open' THEN 0 WHEN 'noted' THEN 1 ELSE 2 END, f.id DESC
		LIMIT $2`, event, pg.OrNull(max))
	if err != nil {
		return nil, err
	}
	out := []Finding{}
	var f Finding
	var stream uuid.UUID
	var sides []side
	row := []any{
		&f.ID, &f.Kind, &f.Detail, &f.State, &f.By, &f.At, &f.Note, &f.Moot, &f.Ticket, &stream, &f.Reference,
		&f.Evidence, &f.Count, &f.FirstAt, &f.LastAt, &f.FoundAt, &sides,
	}
	err = forEach(rows, row, func() error {
		one := f
		one.At, one.FirstAt, one.LastAt, one.FoundAt = f.At.UTC(), f.FirstAt.UTC(), f.LastAt.UTC(), f.FoundAt.UTC()
		one.Sides, one.Steps = make([]Side, len(sides)), []Step{}
		for i := range sides {
			one.Sides[i] = sides[i].shown()
		}
		if f.Ticket != nil {
			id := syncproto.TicketID(stream, syncproto.TicketNo(*f.Ticket))
			one.TicketID = &id
		}
		out, sides = append(out, one), nil
		return nil
	})
	return out, err
}

// addSteps reads what was done about each finding.
func addSteps(ctx context.Context, tx pgx.Tx, findings []Finding) error {
	ids, at := make([]int64, len(findings)), make(map[int64]int, len(findings))
	for i := range findings {
		ids[i], at[findings[i].ID] = findings[i].ID, i
	}
	rows, err := tx.Query(ctx, `
		SELECT finding_id, at, state, by, note
		FROM finding_step
		WHERE finding_id = ANY ($1)
		ORDER BY finding_id, no`, ids)
	if err != nil {
		return err
	}
	var id int64
	var step Step
	return forEach(rows, []any{&id, &step.At, &step.State, &step.By, &step.Note}, func() error {
		f := &findings[at[id]]
		step.At = step.At.UTC()
		f.Steps = append(f.Steps, step)
		return nil
	})
}

// Open is how many findings of all events nobody has looked at.
func (s *Service) Open(ctx context.Context) (int, error) {
	var n int
	if err := s.cfg.Pool.QueryRow(ctx, `SELECT count(*) FROM finding WHERE state = 'open'`).Scan(&n); err != nil {
		return 0, fmt.Errorf("count open findings: %w", err)
	}
	return n, nil
}

// Note records that somebody has seen a finding, and Close that it needs nobody
// any more. Both take a finding in any state, so that a closed one is taken up
// again by noting it, and return the event it is of. Unknown ids are ErrNoFinding;
// a name that is missing, or a text that is too long, is ErrText.
func (s *Service) Note(ctx context.Context, id int64, by, note string) (syncproto.EventNo, error) {
	return s.set(ctx, id, syncproto.FindingNoted, by, note)
}

// Close is described at [Service.Note].
func (s *Service) Close(ctx context.Context, id int64, by, note string) (syncproto.EventNo, error) {
	return s.set(ctx, id, syncproto.FindingClosed, by, note)
}

func (s *Service) set(ctx context.Context, id int64, state syncproto.FindingState, by, note string) (event syncproto.EventNo, err error) {
	by, note = strings.TrimSpace(by), strings.TrimSpace(note)
	if err := checkText(by, note); err != nil {
		return 0, err
	}
	var stream uuid.UUID
	err = pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `
			UPDATE finding f
			SET state = $2, state_by = $3, state_at = now(), note = $4
			FROM event e
			WHERE f.id = $1 AND e.id = f.event_id
			RETURNING e.id, e.stream`, id, state, by, note).Scan(&event, &stream)
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("finding %d: %w", id, ErrNoFinding)
		}
		if err != nil {
			return fmt.Errorf("change finding %d: %w", id, err)
		}
		return addStep(ctx, tx, id, state, by, note)
	})
	if err == nil {
		s.cfg.Touch(stream)
	}
	return event, err
}

func checkText(by, note string) error {
	switch {
	case by == "":
		return fmt.Errorf("%w: say who you are, for whoever asks later", ErrText)
	case len(by) > NameMax || len(note) > NoteMax:
		return fmt.Errorf("%w: a name has at most %d bytes and a note %d", ErrText, NameMax, NoteMax)
	case !utf8.ValidString(by+note) || strings.ContainsRune(by+note, 0):
		return fmt.Errorf("%w: it must be UTF-8", ErrText)
	}
	return nil
}

func addStep(ctx context.Context, tx pgx.Tx, id int64, state syncproto.FindingState, by, note string) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO finding_step (finding_id, no, state, by, note)
		SELECT $1, coalesce(max(no), 0) + 1, $2, $3, $4
		FROM finding_step
		WHERE finding_id = $1`, id, state, by, note)
	if err != nil {
		return fmt.Errorf("record what was done about finding %d: %w", id, err)
	}
	return nil
}

// forEach scans each of rows into row and calls fn, and closes rows. An error of
// fn ends it and is returned as it is. It stands in each package that needs it,
// because the linter that finds a forgotten rows.Err does not look into others.
func forEach(rows pgx.Rows, row []any, fn func() error) error {
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(row...); err != nil {
			return err
		}
		if err := fn(); err != nil {
			return err
		}
	}
	return rows.Err()
}
