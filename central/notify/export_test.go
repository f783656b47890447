package notify

import (
	"context"
	netmail "net/mail"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// Worker is what Run does, step by step.
type Worker struct{ w worker }

// NewWorker returns a worker of a service.
func NewWorker(s *Service) *Worker { return &Worker{worker{Service: s}} }

// Step tries the letters that are due.
func (w *Worker) Step(ctx context.Context) (int, error) { return w.w.step(ctx) }

// HangUp ends the connection to the server.
func (w *Worker) HangUp() { w.w.hangUp() }

// Sweep forgets what is old.
func (w *Worker) Sweep(ctx context.Context) error { return w.w.sweep(ctx) }

// ClaimsMax is how many letters are taken at a time.
const ClaimsMax = claimsMax

// Write makes a letter about one ticket as it is sent, without a database.
func Write(name, to string, ticket Ticket) ([]byte, error) {
	w, err := newWriter(&Config{
		Settings: Settings{From: netmail.Address{Name: name, Address: "tickets@fair.example"}},
		Tickets: func(context.Context, syncproto.EventNo, []syncproto.TicketNo) (Bundle, error) {
			return Bundle{Tickets: []Ticket{ticket}}, nil
		},
		Now: time.Now,
	})
	if err != nil {
		return nil, err
	}
	l, err := w.compose(context.Background(), &due{
		id: uuid.Nil, kind: TicketsReady, to: to, name: name, event: 1, params: params{Tickets: []syncproto.TicketNo{ticket.Number}},
	})
	if err != nil {
		return nil, err
	}
	return message(l)
}
