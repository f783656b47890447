package checkin

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/admission"
	"gatehouse/syncproto/credential"
)

// CheckInsMax is how many check-ins one request may bring.
const CheckInsMax = 500

// ownLane is the lane of what is checked in at central without naming one.
const ownLane = "central"

// Limits of the texts of a check-in.
const (
	laneMax = 64
	byMax   = 64
	keyMax  = 200
)

// Errors of CheckIn that are the caller's to mend.
var (
	// ErrTooMany means that a request brings no check-in, or more than CheckInsMax.
	ErrTooMany = fmt.Errorf("a request brings between 1 and %d check-ins", CheckInsMax)
	// ErrKeyReused means that a key came again with another request.
	ErrKeyReused = errors.New("this key was used with another request; use a new key for each request")
	// ErrBadRequest means that a text is too long, or a direction or zone is none.
	ErrBadRequest = errors.New("check-in request")
)

// Own is central as a gate of its own: who signs what it checks in.
type Own struct {
	Device uuid.UUID
	Key    ed25519.PrivateKey
}

// CheckIn is somebody who is let in or out at central, or is refused.
type CheckIn struct {
	// Code is what was presented; or Ticket is the ticket, where whoever asks may
	// name it.
	Code   string
	Ticket uuid.UUID
	// Zone is where to; empty for the perimeter. Direction defaults to in, Lane to
	// "central".
	Zone      string
	Direction syncproto.Direction
	Lane      string
	// By is the account of whoever asked, a pseudonym.
	By string
}

// Answer is what became of a CheckIn, as a lane would have answered it.
type Answer struct {
	Decision string            `json:"decision"` // admit, exit or deny
	Reason   syncproto.Reason  `json:"reason"`
	Event    syncproto.EventNo `json:"event,omitempty"`
	Ticket   uuid.UUID         `json:"ticket,omitzero"` // Nil where the code names none
	Type     string            `json:"type,omitempty"`
	At       time.Time         `json:"at"`
	// First is the earlier use that stands in the way of a duplicate.
	First *Earlier `json:"first,omitempty"`
}

// Earlier is an admission of before.
type Earlier struct {
	At   time.Time `json:"at"`
	Gate string    `json:"gate"`
	Lane string    `json:"lane"`
}

// hashers hash codes, one for each event.
type hashers struct {
	mu      sync.Mutex
	byEvent map[syncproto.EventNo]*credential.Hasher
}

func (h *hashers) of(ctx context.Context, event syncproto.EventNo, key func(context.Context, syncproto.EventNo) ([]byte, error)) (*credential.Hasher, error) {
	h.mu.Lock()
	found := h.byEvent[event]
	h.mu.Unlock()
	if found != nil {
		return found, nil
	}
	k, err := key(ctx, event) // whoever comes meanwhile reads the same
	if err != nil || k == nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byEvent == nil {
		h.byEvent = map[syncproto.EventNo]*credential.Hasher{}
	}
	h.byEvent[event] = credential.NewHasher(k)
	return h.byEvent[event], nil
}

// CheckIn decides on each of in, in their order, by the rules and the facts that
// central holds at that moment, as a gate would, and writes what it decides into
// central's own journal of the event, through which every gate hears of it. It
// returns when that is durable. A ticket that two requests bring at the same time
// gets in once.
//
// A request with a key, which is one of who's, is done once: the same again gets the
// same answers, also when the first was never heard; another with it is ErrKeyReused.
// All events of a request are one transaction.
func (s *Desk) CheckIn(ctx context.Context, in []CheckIn, who, key string) ([]Answer, error) {
	if err := check(in, key); err != nil {
		return nil, err
	}
	visits, err := s.visits(ctx, in)
	if err != nil {
		return nil, err
	}
	owns, err := s.ownGates(ctx, visits)
	if err != nil {
		return nil, err
	}
	answers, err := s.attend(ctx, visits, owns, requestOf(in, who, key))
	if err != nil {
		return nil, fmt.Errorf("check in at central: %w", err)
	}
	return answers, nil
}

func check(in []CheckIn, key string) error {
	if len(in) == 0 || len(in) > CheckInsMax {
		return ErrTooMany
	}
	if len(key) > keyMax {
		return fmt.Errorf("%w: a key has at most %d bytes", ErrBadRequest, keyMax)
	}
	for i := range in {
		c := &in[i]
		switch {
		case (c.Code == "") == (c.Ticket == uuid.Nil):
			return fmt.Errorf("%w: check-in %d names a code or a ticket, and not both", ErrBadRequest, i)
		case c.Direction != "" && c.Direction != syncproto.In && c.Direction != syncproto.Out:
			return fmt.Errorf("%w: the direction of check-in %d is in or out", ErrBadRequest, i)
		case len(c.Lane) > laneMax || len(c.By) > byMax:
			return fmt.Errorf("%w: lane or by of check-in %d is too long", ErrBadRequest, i)
		}
	}
	return nil
}

// request is what makes a request be done once; the zero value does not.
type request struct {
	key, content [sha256.Size]byte
}

func requestOf(in []CheckIn, who, key string) *request {
	if key == "" {
		return nil
	}
	body, err := json.Marshal(in)
	if err != nil {
		panic("a check-in is plain data: " + err.Error())
	}
	return &request{key: sha256.Sum256([]byte(who + "\x00" + key)), content: sha256.Sum256(body)}
}

// visit is a check-in whose ticket is known as far as the code goes.
type visit struct {
	CheckIn
	event  syncproto.EventNo
	no     syncproto.TicketNo
	hash   syncproto.CodeHash
	code   credential.Code
	signed syncproto.Reason // what the signature says: empty where it is genuine
	byID   bool
	reason syncproto.Reason // why it is refused at once; empty where it has to be decided
}

// identify judges the code of a visit against the ticket that central holds, known
// where it holds one, as a gate does (gate/node).
func (v *visit) identify(t admission.Ticket, hash syncproto.CodeHash) (admission.Ticket, syncproto.Reason) {
	switch {
	case v.byID, t.Known && hash == v.hash:
		return t, ""
	case v.signed != "":
		return admission.Ticket{}, v.signed
	case t.Known: // the code was replaced
		return t, syncproto.ReasonRevoked
	case v.code.NeedsRoster, v.code.Provisional: // its sale has not come yet
		return admission.Ticket{}, syncproto.ReasonUnknown
	}
	return admission.Ticket{No: v.no, Type: v.code.Type, NotBefore: v.code.NotBefore, NotAfter: v.code.NotAfter}, ""
}

// eventsOf are the events of visits that have to be decided, in ascending order: the
// order in which they are locked.
func eventsOf(visits []visit) []syncproto.EventNo {
	var out []syncproto.EventNo
	for i := range visits {
		if v := &visits[i]; v.reason == "" && !slices.Contains(out, v.event) {
			out = append(out, v.event)
		}
	}
	slices.Sort(out)
	return out
}

// place resolves where a visit leads; an empty zone is the first of the perimeter.
func (v *visit) place(rules *admission.Rules) (admission.Lane, error) {
	if v.Zone == "" {
		v.Zone = rules.Perimeter()
	}
	if v.Direction == "" {
		v.Direction = syncproto.In
	}
	lane, err := rules.Lane(v.Zone, v.Direction)
	if err != nil {
		return lane, fmt.Errorf("%w: %w", ErrBadRequest, err)
	}
	return lane, nil
}

// decide is what a lane would answer.
func decide(rules *admission.Rules, lane admission.Lane, d *dossier, t admission.Ticket, now time.Time) admission.Verdict {
	facts := make([]admission.Fact, len(d.rows))
	for i := range d.rows {
		facts[i] = d.rows[i].fact
	}
	usage := admission.Fold(rules, t, facts).Usage
	return admission.Decide(rules, lane, t, &usage, now.UnixMilli())
}
