package handout

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/central/pass"
	"gatehouse/central/programme"
	"gatehouse/central/ticket"
	"gatehouse/syncproto"
)

// Config is what the service needs.
type Config struct {
	// Pool is the database. Required.
	Pool *pgxpool.Pool
	// Programme and Tickets are asked for what is shown. Required.
	Programme *programme.Service
	Tickets   *ticket.Service
	// URL is where people reach central, without a slash at the end. Defaults to none:
	// links are paths then.
	URL string
	// Apple and Google make passes. Default to none, and then there are no such passes.
	Apple  *pass.Apple
	Google *pass.Google
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
	// Random makes the key of links. Defaults to crypto/rand.
	Random io.Reader
}

// Service hands tickets out. It is safe for concurrent use.
type Service struct {
	cfg     Config
	printer *pass.Printer

	mu  sync.Mutex
	key []byte // of links; nil until it was read
}

// New returns the service.
func New(cfg Config) (*Service, error) {
	if cfg.Pool == nil || cfg.Programme == nil || cfg.Tickets == nil {
		return nil, errors.New("new handout: pool, programme and tickets are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	printer, err := pass.NewPrinter()
	if err != nil {
		return nil, err
	}
	return &Service{cfg: cfg, printer: printer}, nil
}

// secret is the key of links, which is made if there is none yet.
func (s *Service) secret(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key != nil {
		return s.key, nil
	}
	fresh := make([]byte, keyBytes)
	if _, err := io.ReadFull(s.cfg.Random, fresh); err != nil {
		return nil, fmt.Errorf("make key of ticket links: %w", err)
	}
	// Of two copies at once the second waits for the first, and has its key.
	if _, err := s.cfg.Pool.Exec(ctx, `INSERT INTO handout_key (secret) VALUES ($1) ON CONFLICT DO NOTHING`, fresh); err != nil {
		return nil, fmt.Errorf("store key of ticket links: %w", err)
	}
	var key []byte
	if err := s.cfg.Pool.QueryRow(ctx, `SELECT secret FROM handout_key`).Scan(&key); err != nil {
		return nil, fmt.Errorf("read key of ticket links: %w", err)
	}
	s.key = key
	return key, nil
}

// Open is the ticket of a link: [ErrLink] where it is none, [ErrReplaced] where the ticket
// has another code by now.
func (s *Service) Open(ctx context.Context, link string) (Ticket, error) {
	key, err := s.secret(ctx)
	if err != nil {
		return Ticket{}, err
	}
	id, issue, err := openLink(key, link)
	if err != nil {
		return Ticket{}, err
	}
	at, err := s.cfg.Tickets.Find(ctx, id)
	if errors.Is(err, ticket.ErrNoTicket) {
		return Ticket{}, ErrLink
	}
	if err != nil {
		return Ticket{}, err
	}
	found, err := s.Tickets(ctx, at.Event, []syncproto.TicketNo{at.Number})
	if err != nil {
		return Ticket{}, err
	}
	if len(found) == 0 {
		return Ticket{}, ErrLink
	}
	if found[0].Issue != issue {
		return Ticket{}, ErrReplaced
	}
	return found[0], nil
}

// Tickets are tickets of an event as they are handed out, by number. One that is not there
// is left out.
func (s *Service) Tickets(ctx context.Context, event syncproto.EventNo, numbers []syncproto.TicketNo) ([]Ticket, error) {
	held, err := s.cfg.Tickets.Held(ctx, event, numbers)
	if err != nil || len(held) == 0 {
		return nil, err
	}
	d, err := s.cfg.Programme.Detail(ctx, event)
	if err != nil {
		return nil, err
	}
	key, err := s.secret(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Ticket, len(held))
	for i := range held {
		if out[i], err = s.show(key, &d, &held[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Link is where a ticket opens, as [Ticket.Page] of it; for an answer that has no more
// than a ticket's id and the issue of its code.
func (s *Service) Link(ctx context.Context, id uuid.UUID, issue int) (string, error) {
	key, err := s.secret(ctx)
	if err != nil {
		return "", err
	}
	link, err := sealLink(key, id, issue)
	if err != nil {
		return "", err
	}
	return s.cfg.URL + Path + link, nil
}
