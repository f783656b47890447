package central

import (
	"context"

	"gatehouse/central/api"
	"gatehouse/central/handout"
	"gatehouse/central/notify"
	"gatehouse/central/portal"
	"gatehouse/central/registration"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

// shown is what letters show. They ask for it when they are sent, so that the features are
// there by then.
type shown struct{ c *Central }

// letters is what letters go by.
func letters(c *Central, p *parts, cfg *Config) notify.Config {
	show := shown{c}
	return notify.Config{
		AccountPage: accountPage(cfg.Handout.URL),
		Store:       notify.Store{Pool: p.tickets.Pool}, Settings: cfg.Mail, Logger: c.logger, Tickets: show.tickets,
		Event: func(ctx context.Context, event syncproto.EventNo) (string, error) {
			e, err := c.Programme.Event(ctx, event)
			return e.Name, err
		},
	}
}

// accountPage makes the links of letters about accounts; nil where nobody said by which URL
// people reach central.
func accountPage(base string) func(what, token, lang string) string {
	if base == "" {
		return nil
	}
	return func(what, token, lang string) string {
		return portal.AccountLink(base, portal.Purpose(what), token, lang)
	}
}

// tickets are tickets as letters have them.
func (s shown) tickets(ctx context.Context, event syncproto.EventNo, numbers []syncproto.TicketNo) (notify.Bundle, error) {
	all, err := s.c.Handout.Tickets(ctx, event, numbers)
	if err != nil {
		return notify.Bundle{}, err
	}
	out := make([]notify.Ticket, len(all))
	for i := range all {
		t := &all[i]
		void, _ := t.Void()
		out[i] = notify.Ticket{
			Number: t.Number, Void: void, Code: t.Code, Holder: t.Holder, Email: t.Email, Type: t.Type, Event: t.Event, Venue: t.Venue,
			StartsAt: t.StartsAt, Timezone: t.Timezone, Link: t.Page,
		}
	}
	return notify.Bundle{Tickets: out, Files: func(of []int) ([]notify.File, error) {
		some := make([]handout.Ticket, len(of))
		for i, at := range of {
			some[i] = all[at]
		}
		return s.files(ctx, some)
	}}, nil
}

// files are what is attached to a letter about tickets: all of them on paper, and the
// event for calendars.
func (s shown) files(ctx context.Context, all []handout.Ticket) ([]notify.File, error) {
	var out []notify.File
	if coded(all) {
		pdf, err := s.c.Handout.Printed(all)
		if err != nil {
			return nil, err
		}
		out = append(out, notify.File{Name: "tickets.pdf", Type: "application/pdf", Body: pdf})
	}
	calendar, err := s.c.Handout.File(ctx, &all[0], handout.Calendar)
	if err != nil {
		return nil, err
	}
	return append(out, notify.File{Name: calendar.Name, Type: calendar.Type, Body: calendar.Body}), nil
}

// coded reports whether there is something to print.
func coded(all []handout.Ticket) bool {
	for i := range all {
		if void, _ := all[i].Void(); !void && all[i].Code != "" {
			return true
		}
	}
	return false
}

// issued has letters queued with tickets. What they are queued in is the features' alone.
func issued[Batch any](queue func(Batch, syncproto.EventNo, []notify.Holder) error) func(Batch, syncproto.EventNo, []registration.Issued) error {
	return func(batch Batch, event syncproto.EventNo, tickets []registration.Issued) error {
		holders := make([]notify.Holder, len(tickets))
		for i, t := range tickets {
			holders[i] = notify.Holder(t)
		}
		return queue(batch, event, holders)
	}
}

// offered has a letter queued with an offer.
func offered[Tx any](queue func(context.Context, Tx, notify.Seat) error) func(context.Context, Tx, registration.Offered) error {
	return func(ctx context.Context, tx Tx, o registration.Offered) error {
		return queue(ctx, tx, notify.Seat{Event: o.Event, To: o.Email, Name: o.Name, Order: o.Order, Key: o.Key, Until: o.Until})
	}
}

// mailer sends the letters of the API; nil where none are sent.
func mailer(n *notify.Service) api.Mailer {
	if !n.Sends() {
		return nil
	}
	return accountLetters{n}
}

// accountLetters implements api.Mailer.
type accountLetters struct{ letters *notify.Service }

// Verify implements api.Mailer.
func (l accountLetters) Verify(ctx context.Context, m staff.Mail) error {
	return l.letters.Verify(ctx, link(m))
}

// Reset implements api.Mailer.
func (l accountLetters) Reset(ctx context.Context, m staff.Mail) error {
	return l.letters.Reset(ctx, link(m))
}

func link(m staff.Mail) notify.Link {
	return notify.Link{To: m.To, Name: m.Name, Token: m.Token, Until: m.Expires}
}
