package api

import (
	"net/http"

	"gatehouse/central/programme"
)

// eventOf is an event as the API shows it.
func eventOf(d *programme.Details) Event {
	e := Event{
		Id: int32(d.No), Title: d.Name, Description: orNil(d.Description), Category: orNil(d.Category), Status: EventStatus(d.Status),
		StartTime: timeOrNil(d.StartsAt), EndTime: timeOrNil(d.EndsAt), Timezone: d.Timezone, Capacity: orNil(int32(d.Capacity)), Rev: d.Rev,
		TicketTypes: make([]TicketType, 0, len(d.Types)),
	}
	if v := d.Venue; v.ID != 0 {
		e.Venue = new(venueOf(&v))
	}
	for i := range d.Types {
		t := &d.Types[i]
		e.TicketTypes = append(e.TicketTypes, typeOf(t))
		if e.TicketPrice == nil || t.Price < *e.TicketPrice {
			e.TicketPrice = new(t.Price)
		}
	}
	return e
}

func eventAnswer(d *programme.Details, message string) EventAnswer {
	return EventAnswer{Success: true, Message: message, Data: eventOf(d)}
}

// defaultType is the ticket type of an event that was made with a price and without
// types.
const defaultType = "ticket"

// newPlan is what an organiser's client says of a new event.
func newPlan(b *EventInput) (programme.Plan, error) {
	d := programme.Plan{
		EventInput: programme.EventInput{
			Name: b.Title, Description: orElse(b.Description, ""), Timezone: orElse(b.Timezone, "UTC"), Category: orElse(b.Category, ""),
			VenueID: int64(orElse(b.VenueId, 0)), Capacity: int(orElse(b.Capacity, 0)),
		},
	}
	if b.StartTime != nil {
		d.Starts = programme.At(*b.StartTime)
	}
	if b.EndTime != nil {
		d.Ends = programme.At(*b.EndTime)
	}
	if b.Venue != nil {
		if b.VenueId != nil {
			return d, refuse(http.StatusUnprocessableEntity, CodeInvalid, "Some of it is not acceptable.").field("venue", "name a venue or its id, and not both")
		}
		d.Venue = &programme.Venue{Name: b.Venue.Name, Capacity: int(orElse(b.Venue.Capacity, 0))}
	}
	currency := orElse(b.Currency, defaultCurrency)
	for _, t := range orElse(b.TicketTypes, nil) {
		d.Types = append(d.Types, newType(&t, currency))
	}
	if len(d.Types) == 0 {
		d.Types = append(d.Types, newType(&TicketTypeInput{Key: defaultType, Price: b.TicketPrice}, currency))
	}
	return d, nil
}

// defaultCurrency is that of a price without one.
const defaultCurrency = "EUR"

// changed is an event with what a body says; what it does not say stays.
func changed(before *programme.Details, b *EventInput) (programme.EventInput, error) {
	if b.TicketTypes != nil || b.TicketPrice != nil {
		return programme.EventInput{}, refuse(http.StatusUnprocessableEntity, CodeInvalid, "Some of it is not acceptable.").
			field("ticket_types", "are not changed with their event")
	}
	if b.Venue != nil {
		return programme.EventInput{}, refuse(http.StatusUnprocessableEntity, CodeInvalid, "Some of it is not acceptable.").
			field("venue", "another venue is given by venue_id")
	}
	e := &before.Event
	in := programme.EventInput{
		Name: b.Title, Description: orElse(b.Description, e.Description), Timezone: orElse(b.Timezone, e.Timezone), Category: orElse(b.Category, e.Category),
		VenueID: int64(orElse(b.VenueId, int32(e.Venue.ID))), Capacity: int(orElse(b.Capacity, int32(e.Capacity))),
		Starts: programme.At(e.StartsAt), Ends: programme.At(e.EndsAt),
		Image: e.Image, Gallery: e.Gallery, Requirements: e.Requirements, Notes: e.Notes, Policy: e.Policy,
	}
	for _, p := range e.Performers {
		in.Performers = append(in.Performers, p.ID)
	}
	if b.StartTime != nil {
		in.Starts = programme.At(*b.StartTime)
	}
	if b.EndTime != nil {
		in.Ends = programme.At(*b.EndTime)
	}
	return in, nil
}
