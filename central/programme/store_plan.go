package programme

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse/syncproto"
)

// Plan is a draft with all that a client knows of it when it makes it.
type Plan struct {
	EventInput
	// Venue stands in place of VenueID: the one of that name and capacity, which is made
	// if there is none.
	Venue *Venue
	// Types are its ticket types, in their order.
	Types []TypeInput
}

// CreatePlan stores a draft with its ticket types, all of it or nothing. A category
// that is not there is made, and called by its key.
func (s *Service) CreatePlan(ctx context.Context, plan Plan) (Event, error) {
	in, err := plan.check()
	if err != nil {
		return Event{}, err
	}
	loc, err := time.LoadLocation(in.Timezone)
	if err != nil {
		return Event{}, invalid("timezone", "is no timezone that is known here")
	}
	types, err := checkTypes(plan.Types, loc)
	if err != nil {
		return Event{}, err
	}
	event, err := makeEvent(ctx, s.b, func(tx pgx.Tx) (syncproto.EventNo, error) {
		if plan.Venue != nil {
			venue, err := plan.Venue.check()
			if err != nil {
				return 0, err
			}
			if in.VenueID, err = venueOf(ctx, s.b, tx, venue); err != nil {
				return 0, err
			}
		}
		if err := categoryOf(ctx, s.b, tx, in.Category); err != nil {
			return 0, err
		}
		zones, err := zonesOf(ctx, tx, in.VenueID)
		if err != nil {
			return 0, err
		}
		return s.insert(ctx, tx, in, Draft, zones, types)
	})
	if err != nil {
		return Event{}, fmt.Errorf("create event: %w", err)
	}
	return event, nil
}

// checkTypes checks ticket types among each other, too.
func checkTypes(inputs []TypeInput, loc *time.Location) ([]TicketType, error) {
	var all InvalidError
	keys, out := map[string]bool{}, make([]TicketType, 0, len(inputs))
	for i := range inputs {
		t, err := inputs[i].check(loc)
		one := (*InvalidError)(nil)
		switch {
		case errors.As(err, &one):
			for _, p := range one.Problems {
				all.Problems = append(all.Problems, Problem{Field: fmt.Sprintf("ticket_types[%d].%s", i, p.Field), What: p.What})
			}
		case err != nil:
			return nil, err
		case keys[t.Key]:
			all.Problems = append(all.Problems, Problem{Field: fmt.Sprintf("ticket_types[%d].key", i), What: "is the key of another ticket type"})
		}
		keys[t.Key] = true
		out = append(out, t)
	}
	if len(all.Problems) > 0 {
		return nil, &all
	}
	return out, nil
}

// categoryOf makes a category if there is none of that key.
func categoryOf(ctx context.Context, b *base, tx pgx.Tx, key string) error {
	if key == "" {
		return nil
	}
	category, err := Category{Key: key, Name: key}.check()
	if err != nil {
		return err
	}
	var id int64
	err = tx.QueryRow(ctx, `
		INSERT INTO category (key, name, sort)
		VALUES ($1, $2, 0)
		ON CONFLICT (key) DO NOTHING
		RETURNING id`, category.Key, category.Name).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // it is there
	}
	if err != nil {
		return err
	}
	made, err := categoryThing().get(ctx, tx, id)
	if err != nil {
		return err
	}
	return b.record(ctx, tx, categoryThing().entry("create", id), nil, made)
}
