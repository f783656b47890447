package notify

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	netmail "net/mail"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

// Limits.
const (
	// TriesMax is how often one letter is tried; it fails for good then.
	TriesMax = 20
	// RetryMin and RetryMax bound the pause before a letter is tried again.
	RetryMin = time.Minute
	RetryMax = 6 * time.Hour
	// ClaimFor is how long a letter is left to the process that took it.
	ClaimFor = 5 * time.Minute
	// claimsMax bounds the letters that one process takes at a time.
	claimsMax = 20
	// serverPauseMin and serverPauseMax bound the pause while the server takes nothing.
	serverPauseMin = time.Second
	serverPauseMax = 5 * time.Minute
	// PollEvery is how often the worker looks for what nobody has woken it for.
	PollEvery = time.Second
	// KeepFor is how long a letter that went, or failed for good, is remembered.
	KeepFor = 30 * 24 * time.Hour
	// sweepEvery is how often those that are older are looked for, sweepMax how many go at a
	// time.
	sweepEvery = time.Hour
	sweepMax   = 10_000
	// ErrorMax bounds what is kept of an error, in bytes.
	ErrorMax = 500
	// AttachmentsMax bounds the files of one letter, in bytes; one that would be beyond is
	// left out, and the links stay.
	AttachmentsMax = 5 << 20
	// TicketsMax bounds the tickets of one letter; more make further letters.
	TicketsMax = 50
	// ListMax bounds the letters of one answer.
	ListMax = 500
)

var (
	// ErrNoLetter means that there is no such letter.
	ErrNoLetter = errors.New("there is no such letter")
	// ErrGone means that a letter cannot be made again.
	ErrGone = errors.New("what the letter was made of is a secret and is not kept: have another one sent")
	// ErrSent means that a letter was sent.
	ErrSent = errors.New("the letter was sent")
)

// errVoid is a letter that has nothing to say any more.
var errVoid = errors.New("what it tells is not true any more, so that it was not sent")

// Kind is what a letter is about.
type Kind string

// The kinds of letters.
const (
	VerifyEmail   Kind = "verify_email"
	ResetPassword Kind = "reset_password"
	TicketsReady  Kind = "tickets_ready"
	SeatOffered   Kind = "seat_offered"
)

// State is how far a letter is.
type State string

// The states of a letter.
const (
	Queued State = "queued"
	Sent   State = "sent"
	Failed State = "failed" // for good
)

// Ticket is a ticket as a letter has it.
type Ticket struct {
	Number   syncproto.TicketNo
	Void     bool   // it lets nobody in
	Code     string // empty where it is not known yet
	Holder   string
	Email    string // of the holder; a letter to somebody else leaves the ticket out
	Type     string
	Event    string
	Venue    string
	StartsAt time.Time
	Timezone string
	Link     string // where it is shown; empty for nowhere
}

// Bundle is tickets of an event as they are at one moment.
type Bundle struct {
	Tickets []Ticket
	// Files makes what is attached to a letter about some of Tickets, by index: of what was
	// read with them, so that nothing comes in that belongs to somebody else since. Nil is
	// nothing.
	Files func(of []int) ([]File, error)
}

// File is what is attached to a letter.
type File struct {
	Name string
	Type string // media type
	Body []byte

	cid string // Content-ID of a picture in the letter
}

// Link is a letter that proves that somebody reads mail.
type Link struct {
	To, Name string
	Token    string // secret
	Until    time.Time
}

// Holder is somebody who has got a ticket, or another code for one.
type Holder struct {
	Ticket      syncproto.TicketNo
	Name, Email string
}

// Seat is an offer to somebody who waited.
type Seat struct {
	Event    syncproto.EventNo
	To, Name string
	Order    uuid.UUID
	Key      string // secret
	Until    time.Time
}

// params are what a letter is made of.
type params struct {
	Token   string               `json:"token,omitempty"`
	Until   time.Time            `json:"until,omitzero"`
	Order   uuid.UUID            `json:"order,omitzero"`
	Key     string               `json:"key,omitempty"`
	Tickets []syncproto.TicketNo `json:"tickets,omitempty"`
}

// Settings are what letters say of their sender.
type Settings struct {
	// Sender takes letters to a server. Required where letters are sent.
	Sender Sender
	// From is whom they are from. Required where letters are sent.
	From netmail.Address
	// Lang is the language of letters, "en" or "ar". Defaults to "en".
	Lang string
	// AccountURL is a page that takes #verify=TOKEN and #reset=TOKEN. Defaults to none:
	// Config.AccountPage is.
	AccountURL string
	// OrderURL is a page that takes ?order=ID&key=KEY. Defaults to none: the letter has both
	// to copy.
	OrderURL string
}

// Config is what the service needs. Pool is required.
type Config struct {
	Store
	Settings
	// AccountPage is the page for a token that is to "verify" or to "reset", in the language
	// of the letter. Defaults to none: the letter has the token to copy.
	AccountPage func(what, token, lang string) string
	// Tickets are tickets of an event as they are now; those that are not there are left
	// out. Defaults to none, so that nobody is told of tickets.
	Tickets func(ctx context.Context, event syncproto.EventNo, numbers []syncproto.TicketNo) (Bundle, error)
	// Event names an event. Defaults to no name.
	Event func(ctx context.Context, event syncproto.EventNo) (name string, err error)
	// Logger hears of what an operator may want to know. Defaults to slog.Default().
	Logger *slog.Logger
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
	// Chance is a random number from 0 to below 1 for pauses. Defaults to math/rand/v2.
	Chance func() float64
}

// Service queues and sends letters. It is safe for concurrent use.
type Service struct {
	cfg Config
	// Desk is for those who look after letters.
	Desk *Desk

	writer *writer
	woken  chan struct{}

	sent, failed atomic.Int64
}

// New returns the service.
func New(cfg Config) (*Service, error) {
	if cfg.Pool == nil {
		return nil, errors.New("new notify service: a pool is required")
	}
	if cfg.Sender != nil && checkAddress(cfg.From.Address) != nil {
		return nil, errors.New("new notify service: letters need an address that they are from, of ASCII alone")
	}
	if cfg.Lang == "" {
		cfg.Lang = English
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Chance == nil {
		cfg.Chance = rand.Float64
	}
	if cfg.Event == nil {
		cfg.Event = func(context.Context, syncproto.EventNo) (string, error) { return "", nil }
	}
	s := &Service{cfg: cfg, woken: make(chan struct{}, 1)}
	s.Desk = &Desk{s}
	var err error
	s.writer, err = newWriter(&s.cfg)
	return s, err
}

// Sends reports whether letters are sent.
func (s *Service) Sends() bool { return s.cfg.Sender != nil }

// Wake has the worker of this process look for letters now. It neither blocks nor fails:
// one that is not heard of costs PollEvery.
func (s *Service) Wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// Counts are how many letters this process has sent, and how many failed for good.
func (s *Service) Counts() (sent, failed int64) { return s.sent.Load(), s.failed.Load() }
