package live

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"gatehouse/central/checkin"
	"gatehouse/central/programme"
	"gatehouse/central/ticket"
	"gatehouse/syncproto"
)

// Topic is what a stream shows: an event, to one kind of reader.
type Topic struct {
	Event syncproto.EventNo
	// Counts: the reader may see attendance.
	Counts bool
	// Drafts: he may change the event, and so sees it before it is published.
	Drafts bool
}

// Source has what is told.
type Source interface {
	// Marks has, of each event that there is, something that differs whenever its state does.
	Marks(ctx context.Context, events []syncproto.EventNo) (map[syncproto.EventNo]string, error)
	// State is how an event stands now, as far as a reader may know; [ErrGone] where there is
	// nothing for him.
	State(ctx context.Context, of Topic) (State, error)
}

// ErrGone means that the event is not there, or not for this reader.
var ErrGone = errors.New("there is no such event to be seen")

// State is how an event stands.
type State struct {
	Event      syncproto.EventNo `json:"event_id"`
	Status     string            `json:"status"`
	Rev        int64             `json:"rev"`
	Types      []Type            `json:"ticket_types"`
	Attendance *checkin.Count    `json:"attendance,omitempty"` // nil for those who may not see it
}

// Type is how a ticket type stands.
type Type struct {
	Key     string `json:"key"`
	SoldOut bool   `json:"sold_out"`
	// Left is how many may still be sold; nil where that is not limited, or not for
	// everybody.
	Left *int `json:"left,omitempty"`
}

// Message is something that is sent, as it is sent (WHATWG HTML, 9.2.5).
type Message struct {
	ID   string // of the state; empty for a heartbeat
	Text []byte
}

// heartbeat is a comment, which clients pass over.
const heartbeat = ":\n\n"

// idBytes is how much of the state's hash is its id.
const idBytes = 8

// message is what a state is sent as. Its id is a hash of it, so that it is the same in
// every copy of central, and after a restart.
func message(s *State) (*Message, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("state of event %d: %w", s.Event, err)
	}
	sum := sha256.Sum256(body)
	id := hex.EncodeToString(sum[:idBytes])
	return &Message{ID: id, Text: []byte("id: " + id + "\ndata: " + string(body) + "\n\n")}, nil
}

// Features are what states are made of. All are required.
type Features struct {
	// Event reads an event.
	Event func(ctx context.Context, no syncproto.EventNo) (programme.Event, error)
	// Left reads what may still be sold of each type.
	Left func(ctx context.Context, no syncproto.EventNo) ([]ticket.Left, error)
	// Count counts attendance.
	Count func(ctx context.Context, no syncproto.EventNo) (checkin.Count, error)
	// Changed has the marks of a [Source].
	Changed func(ctx context.Context, events []syncproto.EventNo) (map[syncproto.EventNo]string, error)
}

// Marks implements [Source].
func (f Features) Marks(ctx context.Context, events []syncproto.EventNo) (map[syncproto.EventNo]string, error) {
	return f.Changed(ctx, events)
}

// State implements [Source].
func (f Features) State(ctx context.Context, of Topic) (State, error) {
	e, err := f.Event(ctx, of.Event)
	if errors.Is(err, programme.ErrNoEvent) || err == nil && e.Status == programme.Draft && !of.Drafts {
		return State{}, ErrGone
	}
	if err != nil {
		return State{}, err
	}
	left, err := f.Left(ctx, of.Event)
	if err != nil {
		return State{}, err
	}
	out := State{Event: e.No, Status: string(e.Status), Rev: e.Rev, Types: make([]Type, len(left))}
	for i, l := range left {
		out.Types[i] = Type{Key: l.Key, SoldOut: l.Places != nil && *l.Places <= 0}
		if of.Counts {
			out.Types[i].Left = l.Places
		}
	}
	if !of.Counts {
		return out, nil
	}
	count, err := f.Count(ctx, of.Event)
	if err != nil {
		return State{}, err
	}
	out.Attendance = &count
	return out, nil
}
