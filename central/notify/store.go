package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// Store is where letters are kept.
type Store struct {
	// Pool is the database. Required.
	Pool *pgxpool.Pool
}

// letter is a row to be.
type letter struct {
	kind     Kind
	to, name string
	event    syncproto.EventNo
	params
}

// queue puts letters into a batch, as one statement.
func (s *Service) queue(batch *pgx.Batch, letters ...letter) error {
	if len(letters) == 0 {
		return nil
	}
	now := s.cfg.Now()
	n := len(letters)
	ids, kinds, to, names, made, events := make([]uuid.UUID, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]*int32, n)
	for i := range letters {
		l := &letters[i]
		id, err := uuid.NewV7()
		if err != nil {
			return fmt.Errorf("queue letter: %w", err)
		}
		text, err := json.Marshal(l.params)
		if err != nil {
			return fmt.Errorf("queue letter: %w", err)
		}
		ids[i], kinds[i], to[i], names[i], made[i] = id, string(l.kind), l.to, l.name, string(text)
		events[i] = pg.OrNull(int32(l.event))
	}
	batch.Queue(`
		INSERT INTO mail (id, kind, recipient, name, lang, params, event_id, created_at, next_at)
		SELECT l.id, l.kind, l.recipient, l.name, $1, l.params::jsonb, l.event_id, $2, $2
		FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::integer[]) AS l (id, kind, recipient, name, params, event_id)`,
		s.cfg.Lang, now, ids, kinds, to, names, made, events)
	return nil
}

// post queues letters in a transaction of their own.
func (s *Service) post(ctx context.Context, letters ...letter) error {
	if !s.Sends() {
		return errors.New("queue letter: this central sends none")
	}
	batch := &pgx.Batch{}
	if err := s.queue(batch, letters...); err != nil {
		return err
	}
	// A batch without BEGIN is one transaction.
	if err := s.cfg.Pool.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("queue letter: %w", err)
	}
	s.Wake()
	return nil
}

// Verify queues the letter by which somebody shows that mail reaches him.
func (s *Service) Verify(ctx context.Context, l Link) error {
	return s.post(ctx, linked(VerifyEmail, &l))
}

// Reset queues the letter by which somebody sets another password.
func (s *Service) Reset(ctx context.Context, l Link) error {
	return s.post(ctx, linked(ResetPassword, &l))
}

func linked(kind Kind, l *Link) letter {
	return letter{kind: kind, to: l.To, name: l.Name, params: params{Token: l.Token, Until: l.Until}}
}

// QueueTickets has those who have got tickets, or other codes, told of them with the
// transaction that the batch is a part of: one letter for each address. The caller wakes the
// worker after its commit. Where letters are not sent it does nothing.
func (s *Service) QueueTickets(batch *pgx.Batch, event syncproto.EventNo, holders []Holder) error {
	if !s.Sends() || s.cfg.Tickets == nil {
		return nil
	}
	var letters []letter
	at := map[string]int{} // of the newest letter to an address
	for _, h := range holders {
		if h.Email == "" {
			continue
		}
		key := strings.ToLower(h.Email)
		i, ok := at[key]
		if !ok || len(letters[i].Tickets) == TicketsMax {
			i = len(letters)
			at[key] = i
			letters = append(letters, letter{kind: TicketsReady, to: h.Email, name: h.Name, event: event})
		}
		letters[i].Tickets = append(letters[i].Tickets, h.Ticket)
	}
	return s.queue(batch, letters...)
}

// QueueSeat has somebody who waited told of an offer within a transaction. Where letters are
// not sent it does nothing.
func (s *Service) QueueSeat(ctx context.Context, tx pgx.Tx, seat Seat) error {
	if !s.Sends() {
		return nil
	}
	batch := &pgx.Batch{}
	err := s.queue(batch, letter{kind: SeatOffered, to: seat.To, name: seat.Name, event: seat.Event, params: params{
		Order: seat.Order, Key: seat.Key, Until: seat.Until,
	}})
	if err != nil {
		return err
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("queue letter: %w", err)
	}
	return nil
}
