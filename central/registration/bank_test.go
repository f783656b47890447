package registration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"gatehouse/central/payment"
)

// bankHold is how long somebody has who pays by bank transfer.
const bankHold = 72 * time.Hour

// bank is a payment provider that the tests make pay, fail and tell.
type bank struct {
	mu      sync.Mutex
	begun   map[string]payment.Charge    // by ref
	ended   map[string]bool              // by ref
	given   map[uuid.UUID]payment.Refund // what went back, by its id
	fails   error                        // of the next Refund, and those after it
	instant bool                         // Begin is all that it takes
}

func (b *bank) Begin(_ context.Context, c payment.Charge) (payment.Begun, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ref := "pay_" + c.Attempt.String()
	if b.begun == nil {
		b.begun = map[string]payment.Charge{}
	}
	b.begun[ref] = c
	return payment.Begun{Ref: ref, URL: "https://bank.example/" + ref, Paid: b.instant}, nil
}

func (b *bank) End(_ context.Context, ref string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended == nil {
		b.ended = map[string]bool{}
	}
	b.ended[ref] = true
	return nil
}

func (b *bank) Read(h http.Header, body []byte) (payment.Message, error) {
	if h.Get("Signature") != "genuine" {
		return payment.Message{}, payment.ErrForged
	}
	var m payment.Message
	if err := json.Unmarshal(body, &m); err != nil {
		return m, fmt.Errorf("read message of the bank: %w", err)
	}
	return m, nil
}

func (b *bank) Refund(_ context.Context, r payment.Refund) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fails != nil {
		return b.fails
	}
	if b.given == nil {
		b.given = map[uuid.UUID]payment.Refund{}
	}
	b.given[r.ID] = r
	return nil
}

// back is how much went back for a payment.
func (b *bank) back(ref string) (sum int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.given {
		if r.Ref == ref {
			sum += r.Amount
		}
	}
	return sum
}

// errBank is that the bank does not answer.
var errBank = errors.New("the bank does not answer")

// tells sends the message that a payment was made.
func (w *town) tells(s teller, m payment.Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return s.Hear(w.t.Context(), payment.NameStripe, http.Header{"Signature": {"genuine"}}, body)
}

type teller interface {
	Hear(ctx context.Context, provider string, header http.Header, body []byte) error
}
