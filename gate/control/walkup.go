package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
)

// Seller sells tickets at a running gate.
type Seller interface {
	// Sell sells a ticket; the code in the answer may be handed out.
	Sell(ctx context.Context, w WalkUp) (Sold, error)
	// Return gives back what is not sold of the leases of a type, or of all types
	// where it is empty, and says how many numbers those were.
	Return(ctx context.Context, typ string) (int, error)
}

// WalkUp is a guest who buys a ticket of a type, by its key. Email may be empty.
type WalkUp struct {
	Type  string `json:"type"`
	Name  string `json:"name"`
	Email string `json:"email"`
}

// Sold is a ticket that was sold. Scripts rely on the keys.
type Sold struct {
	Code      string             `json:"code"`
	Reference string             `json:"reference"` // of the ticket, once central has heard of it
	TicketID  uuid.UUID          `json:"ticket_id"`
	Number    syncproto.TicketNo `json:"number"`
	Type      string             `json:"type"` // name of the ticket type
	Left      int                `json:"left"` // of the type, that this gate can still sell
	Warning   string             `json:"warning,omitempty"`
}

// Lease is a block of numbers that this gate may sell.
type Lease struct {
	Lease   uuid.UUID          `json:"lease"`
	Type    string             `json:"type"` // key of the ticket type
	First   syncproto.TicketNo `json:"first"`
	Count   int                `json:"count"`
	Left    int                `json:"left"`
	Expires time.Time          `json:"expires"`
}

// leasesOf translates the leases of a node's status.
func leasesOf(leases []node.LeaseStatus) []Lease {
	out := make([]Lease, len(leases))
	for i, l := range leases {
		out[i] = Lease{
			Lease: l.ID, Type: l.Key, First: l.First, Count: l.Count, Left: l.Left, Expires: time.UnixMilli(l.Expires).UTC(),
		}
	}
	return out
}

type returnRequest struct {
	Type string `json:"type"`
}

type returnReply struct {
	Returned int `json:"returned"`
}

// walkUpBytesMax bounds the body of a sale.
const walkUpBytesMax = 8 << 10

// mountSeller adds what a running gate sells with.
func mountSeller(mux *http.ServeMux, s Seller) {
	mux.HandleFunc("POST /walkup", func(w http.ResponseWriter, r *http.Request) {
		var req WalkUp
		if !read(w, r, &req) {
			return
		}
		sold, err := s.Sell(r.Context(), req)
		reply(w, sold, err)
	})
	mux.HandleFunc("POST /walkup/return", func(w http.ResponseWriter, r *http.Request) {
		var req returnRequest
		if !read(w, r, &req) {
			return
		}
		n, err := s.Return(r.Context(), req.Type)
		reply(w, returnReply{n}, err)
	})
}

// read decodes a request; false means that it was answered.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, walkUpBytesMax)).Decode(into)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		send(w, http.StatusRequestEntityTooLarge, errorReply{"The request is too large."})
	case err != nil:
		send(w, http.StatusBadRequest, errorReply{"walk-up request: " + err.Error()})
	}
	return err == nil
}

// Sell sells a ticket at the gate.
func (c *Client) Sell(ctx context.Context, w WalkUp) (Sold, error) {
	var sold Sold
	body, err := json.Marshal(w)
	if err != nil {
		return sold, err
	}
	err = c.call(ctx, http.MethodPost, "/walkup", body, &sold)
	return sold, err
}

// Return gives back what is not sold; see Seller.
func (c *Client) Return(ctx context.Context, typ string) (int, error) {
	var out returnReply
	body, err := json.Marshal(returnRequest{typ})
	if err != nil {
		return 0, err
	}
	err = c.call(ctx, http.MethodPost, "/walkup/return", body, &out)
	return out.Returned, err
}
