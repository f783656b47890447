package replay

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/central/pg"
)

const (
	// Kept is for how long a request is known by its key.
	Kept = 24 * time.Hour
	// UnderWayMax is after how long a request without an answer was broken off: longer
	// than any may take.
	UnderWayMax = 5 * time.Minute
	// BodyMax bounds an answer that is kept, in bytes. One that is larger is not kept, and
	// the request is as one that was broken off.
	BodyMax = 256 << 10
	// forgotten is how many old rows a request takes away.
	forgotten = 10
)

// Errors that callers tell apart.
var (
	// ErrReused means that a key came with another request.
	ErrReused = errors.New("this key was used with another request; use a new key for each request")
	// ErrUnderWay means that the first request with the key has no answer yet.
	ErrUnderWay = errors.New("the first request with this key is still under way; ask again in a moment")
	// ErrBrokenOff means that nobody knows what became of the first request.
	ErrBrokenOff = errors.New("the first request with this key was broken off, and may have been done or not; look, and use a new key")
)

// Answer is what was answered.
type Answer struct {
	Status int
	ETag   string
	Body   []byte
}

// Config is what the service needs.
type Config struct {
	// Pool is the database. Required.
	Pool *pgxpool.Pool
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

// Service remembers requests. It is safe for concurrent use, also by several copies of
// central.
type Service struct{ cfg Config }

// New returns the service.
func New(cfg Config) (*Service, error) {
	if cfg.Pool == nil {
		return nil, errors.New("new replay: a pool is required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg: cfg}, nil
}

// Request is one that came with a key. Who, What and Key name it together.
type Request struct {
	Who     string // whose key it is
	What    string // the operation
	Key     string
	Content []byte // all that makes it this request
}

func (r *Request) name() [sha256.Size]byte {
	return sha256.Sum256([]byte(fmt.Sprintf("%d %s %d %s %s", len(r.Who), r.Who, len(r.What), r.What, r.Key)))
}

// Once has do called for the first request of its name, and returns what it answered
// for every further one. What do answers with an error, or with a fault of central's own
// (500 and above), is not kept: such a request may be sent again.
func (s *Service) Once(ctx context.Context, r Request, do func(context.Context) (Answer, error)) (Answer, error) {
	first, answer, err := s.claim(ctx, &r)
	if err != nil || !first {
		return answer, err
	}
	answer, err = do(ctx)
	// What was done was done, also where the caller has gone.
	after := context.WithoutCancel(ctx)
	if err != nil || answer.Status >= 500 {
		return answer, errors.Join(err, s.forget(after, &r))
	}
	if len(answer.Body) > BodyMax {
		return answer, nil
	}
	return answer, s.keep(after, &r, answer)
}

// claim makes this the first request of its name, or finds the answer to that.
func (s *Service) claim(ctx context.Context, r *Request) (first bool, a Answer, err error) {
	name, content, now := r.name(), sha256.Sum256(r.Content), s.cfg.Now()
	if err := s.trim(ctx, now); err != nil {
		return false, a, err
	}
	made, err := s.cfg.Pool.Exec(ctx, `
		INSERT INTO request_key (key_hash, request_hash, created_at)
		VALUES ($1, $2, $3)
		ON CONFLICT (key_hash) DO NOTHING`, name[:], content[:], now)
	if err != nil {
		return false, a, fmt.Errorf("note request: %w", err)
	}
	if made.RowsAffected() == 1 {
		return true, a, nil
	}
	var hash, sealed []byte
	var status *int
	var etag *string
	var at time.Time
	err = s.cfg.Pool.QueryRow(ctx, `
		SELECT request_hash, status, etag, body, created_at
		FROM request_key
		WHERE key_hash = $1`, name[:]).Scan(&hash, &status, &etag, &sealed, &at)
	switch {
	case errors.Is(err, pgx.ErrNoRows): // it was given up just now
		return false, a, ErrUnderWay
	case err != nil:
		return false, a, fmt.Errorf("read request: %w", err)
	case string(hash) != string(content[:]):
		return false, Answer{}, ErrReused
	case status == nil && now.Sub(at) < UnderWayMax:
		return false, Answer{}, ErrUnderWay
	case status == nil:
		return false, Answer{}, ErrBrokenOff
	}
	a.Status, a.ETag = *status, pg.OrZero(etag)
	a.Body, err = r.open(sealed)
	return false, a, err
}

// trim takes away some rows that are too old.
func (s *Service) trim(ctx context.Context, now time.Time) error {
	_, err := s.cfg.Pool.Exec(ctx, `
		DELETE FROM request_key
		WHERE key_hash IN (
		  SELECT key_hash FROM request_key
		  WHERE created_at < $1
		  ORDER BY created_at
		  LIMIT $2
		  FOR UPDATE SKIP LOCKED)`, now.Add(-Kept), forgotten)
	if err != nil {
		return fmt.Errorf("forget old requests: %w", err)
	}
	return nil
}

func (s *Service) keep(ctx context.Context, r *Request, a Answer) error {
	name := r.name()
	sealed, err := r.seal(a.Body)
	if err != nil {
		return err
	}
	_, err = s.cfg.Pool.Exec(ctx, `
		UPDATE request_key SET status = $2, etag = $3, body = $4 WHERE key_hash = $1`, name[:], a.Status, pg.OrNull(a.ETag), sealed)
	if err != nil {
		return fmt.Errorf("keep answer: %w", err)
	}
	return nil
}

func (s *Service) forget(ctx context.Context, r *Request) error {
	name := r.name()
	if _, err := s.cfg.Pool.Exec(ctx, `DELETE FROM request_key WHERE key_hash = $1`, name[:]); err != nil {
		return fmt.Errorf("forget request: %w", err)
	}
	return nil
}
