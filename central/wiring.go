package central

import (
	"context"
	"crypto/ed25519"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/central/api/live"
	"gatehouse/central/checkin"
	"gatehouse/central/fleet"
	"gatehouse/central/payment"
	"gatehouse/central/programme"
	"gatehouse/central/registration"
	"gatehouse/central/ticket"
	"gatehouse/syncproto"
)

// desk is what check-ins at central go by.
func (c *Central) desk(p *parts) checkin.DeskConfig {
	gates := fleet.NewOwnGates(p.fleet)
	return checkin.DeskConfig{
		Pool: p.checkin.Pool, Rules: p.checkin.Rules, Touch: p.checkin.Touch,
		OwnGate: func(ctx context.Context, event syncproto.EventNo) (checkin.Own, error) {
			own, err := gates.Of(ctx, event)
			return checkin.Own(own), err
		},
		HashKey: func(ctx context.Context, event syncproto.EventNo) ([]byte, error) {
			key, err := c.Programme.HashKey(ctx, event)
			if errors.Is(err, programme.ErrNoEvent) {
				return nil, nil
			}
			return key, err
		},
		TicketKey: func(ctx context.Context, kid syncproto.KeyID) (ed25519.PublicKey, error) {
			trust, err := c.Keys.Trust(ctx)
			if err != nil {
				return nil, err
			}
			if key := trust.Key(syncproto.PurposeTicket, kid); key != nil {
				return key.Public, nil
			}
			return nil, nil
		},
	}
}

// orders is what registration goes by.
func (c *Central) orders(p *parts, cfg OrderConfig) registration.Config {
	if cfg.Providers == nil {
		cfg.Providers = map[string]payment.Provider{payment.NameManual: payment.Manual{}}
	}
	touch := func(stream uuid.UUID) { // after a commit that changed tickets
		c.Roster.Touch(stream)
		c.Notify.Wake()
	}
	return registration.Config{
		Pool: p.tickets.Pool, Issuer: ticket.NewIssuer(c.Tickets), Tickets: c.Tickets, Touch: touch, Shop: newShops(c.shop, time.Now).of,
		Issued: issued(c.Notify.QueueTickets), Offered: offered(c.Notify.QueueSeat),
		Providers: cfg.Providers, Hold: cfg.Hold, OfferHold: cfg.OfferHold, Back: cfg.Back, Audit: c.Staff.Audit, Logger: c.logger,
	}
}

// hub is what live streams go by.
func (c *Central) hub(cfg *ServeConfig) (*live.Hub, error) {
	return live.New(live.Config{
		Source:     live.Features{Event: c.Programme.Event, Left: c.Tickets.Left, Count: c.counter.Count, Changed: c.counter.Changed},
		StreamsMax: cfg.LiveMax, AddressMax: cfg.LiveAddressMax, Logger: c.logger,
	})
}
