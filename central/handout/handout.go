package handout

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"gatehouse/central/pass"
	"gatehouse/central/programme"
	"gatehouse/central/programme/ics"
	"gatehouse/central/ticket"
	"gatehouse/syncproto"
)

// Path is where links begin, below the address of central.
const Path = "/tickets/"

var (
	// ErrReplaced means that a ticket has another code than when the link was made.
	ErrReplaced = errors.New("this ticket was given another code since, and opens by its new link only")
	// ErrVoid means that a ticket lets nobody in, so that it is not handed out.
	ErrVoid = errors.New("this ticket is not valid any more")
	// ErrKind means that this central makes no such file.
	ErrKind = errors.New("there is no such file of a ticket")
)

// Ticket is a ticket as it is handed out.
type Ticket struct {
	pass.Ticket
	Number syncproto.TicketNo
	Status syncproto.Status
	Email  string // of the holder

	event programme.Event
}

// No is the event that the ticket is of.
func (t *Ticket) No() syncproto.EventNo { return t.event.No }

// Void reports whether the ticket lets nobody in for good, and why not.
func (t *Ticket) Void() (bool, string) {
	switch t.Status { //nolint:exhaustive // the others are valid, or will be
	case syncproto.StatusCancelled:
		return true, "This ticket was cancelled."
	case syncproto.StatusRevoked:
		return true, "This ticket was withdrawn."
	}
	return false, ""
}

// show is a ticket with what belongs to it.
func (s *Service) show(key []byte, d *programme.Details, h *ticket.Held) (Ticket, error) {
	link, err := sealLink(key, h.ID, h.Issue)
	if err != nil {
		return Ticket{}, err
	}
	name := ""
	for i := range d.Types {
		if t := &d.Types[i]; t.No == h.Type {
			if name = t.Name; name == "" {
				name = t.Key
			}
		}
	}
	return Ticket{
		Number: h.Number, Status: h.Status, Email: h.Email, event: d.Event,
		Ticket: pass.Ticket{
			ID: h.ID, Issue: h.Issue, Code: h.Code, Holder: h.Name, Type: name, Reference: h.Reference, EventNo: int64(d.No),
			Event: d.Name, Venue: d.Venue.Name, Address: strings.ReplaceAll(d.Venue.Address, "\n", ", "),
			StartsAt: d.StartsAt, EndsAt: d.EndsAt, Timezone: d.Timezone, Page: s.cfg.URL + Path + link,
		},
	}, nil
}

// Kind is what a ticket can be had as: the last part of its address.
type Kind string

// The kinds. GoogleWallet is an address to go to, and no file.
const (
	QRSVG        Kind = "qr.svg"
	QRPNG        Kind = "qr.png"
	PDF          Kind = "ticket.pdf"
	AppleWallet  Kind = "pass.pkpass"
	GoogleWallet Kind = "google-wallet"
	Calendar     Kind = "event.ics"
)

// Kinds are those that this central makes.
func (s *Service) Kinds() []Kind {
	out := []Kind{QRSVG, QRPNG, PDF, Calendar}
	if s.cfg.Apple != nil {
		out = append(out, AppleWallet)
	}
	if s.cfg.Google != nil {
		out = append(out, GoogleWallet)
	}
	return out
}

// File is a ticket as a file, or the address where it is taken.
type File struct {
	Name string // to store it under
	Type string // media type; empty for an address
	Body []byte
	URL  string // of kind GoogleWallet
}

// File makes a file of a ticket: [ErrVoid] of one that lets nobody in, [pass.ErrNoCode] of
// one that has no code yet, [ErrKind] where central does not make it.
func (s *Service) File(_ context.Context, t *Ticket, kind Kind) (File, error) {
	if void, _ := t.Void(); void && kind != Calendar {
		return File{}, ErrVoid
	}
	f, err := s.make(t, kind)
	if err != nil {
		return File{}, fmt.Errorf("make %s of a ticket: %w", kind, err)
	}
	return f, nil
}

func (s *Service) make(t *Ticket, kind Kind) (f File, err error) {
	now := s.cfg.Now()
	f.Name = string(kind)
	switch {
	case kind == QRSVG:
		f.Type = "image/svg+xml"
		f.Body, err = t.QRSVG()
	case kind == QRPNG:
		f.Type = "image/png"
		f.Body, err = t.QRPNG()
	case kind == PDF:
		f.Type = "application/pdf"
		f.Body, err = s.printer.PDF([]pass.Ticket{t.Ticket}, now)
	case kind == Calendar:
		f.Type = "text/calendar; charset=utf-8"
		f.Body = ics.Feed(ics.Calendar{Name: t.Event, Timezone: t.Timezone, Entries: []ics.Entry{t.event.Entry(t.Page)}})
	case kind == AppleWallet && s.cfg.Apple != nil:
		f.Type = "application/vnd.apple.pkpass"
		f.Body, err = s.cfg.Apple.Pass(&t.Ticket, now)
	case kind == GoogleWallet && s.cfg.Google != nil:
		f.URL, err = s.cfg.Google.Link(&t.Ticket, now)
	default:
		err = ErrKind
	}
	return f, err
}

// Printed is several tickets as one PDF; those that let nobody in, or have no code yet, are
// left out, and so are those behind [pass.PagesMax]. [ErrVoid] where none is left.
func (s *Service) Printed(tickets []Ticket) ([]byte, error) {
	var good []pass.Ticket
	for i := range tickets {
		if void, _ := tickets[i].Void(); !void && tickets[i].Code != "" && len(good) < pass.PagesMax {
			good = append(good, tickets[i].Ticket)
		}
	}
	if len(good) == 0 {
		return nil, ErrVoid
	}
	return s.printer.PDF(good, s.cfg.Now())
}
