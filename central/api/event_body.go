package api

import (
	"net/http"

	"gatehouse/central/programme"
	"gatehouse/syncproto"
)

// eventOf is an event as the API shows it.
func eventOf(d *programme.Details) Event {
	e := Event{
		Id: int32(d.No), Title: d.Name, Description: orNil(d.Description), Category: orNil(d.Category), Status: EventStatus(d.Status),
		StartTime: timeOrNil(d.StartsAt), EndTime: timeOrNil(d.EndsAt), Timezone: d.Timezone, Capacity: orNil(int32(d.Capacity)), Rev: d.Rev,
		TicketTypes: make([]TicketType, 0, len(d.Types)),
	}
	if v := d.Venue; v.ID != 0 {
		e.Venue = &Venue{Id: int32(v.ID), Name: v.Name, Capacity: orNil(int32(v.Capacity))}
	}
	for i := range d.Types {
		t := &d.Types[i]
		e.TicketTypes = append(e.TicketTypes, TicketType{
			Key: t.Key, Name: t.Name, Price: t.Price, Currency: orNil(t.Currency), Quota: orNil(int32(t.Quota)),
			SalesFrom: timeOrNil(t.SalesFrom), SalesUntil: timeOrNil(t.SalesUntil),
		})
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
	for _, t := range orElse(b.TicketTypes, nil) {
		d.Types = append(d.Types, typeInput(&t, b))
	}
	if len(d.Types) == 0 {
		price := TicketTypeInput{Key: defaultType, Price: b.TicketPrice}
		d.Types = append(d.Types, typeInput(&price, b))
	}
	return d, nil
}

// defaultCurrency is that of a price without one.
const defaultCurrency = "EUR"

func typeInput(t *TicketTypeInput, b *EventInput) programme.TypeInput {
	in := programme.TypeInput{
		Key: t.Key, Name: orElse(t.Name, ""), Price: orElse(t.Price, 0), Quota: int(orElse(t.Quota, 0)),
		EntriesTotal: int(orElse(t.EntriesTotal, 0)), EntriesPerDay: int(orElse(t.EntriesPerDay, 0)),
	}
	if t.EntriesTotal == nil && t.EntriesPerDay == nil {
		in.EntriesTotal = 1 // as in an event file
	}
	if in.Price > 0 {
		in.Currency = orElse(t.Currency, orElse(b.Currency, defaultCurrency))
	}
	if t.Reentry != nil {
		in.Reentry = syncproto.Reentry(*t.Reentry)
	}
	if t.SalesFrom != nil {
		in.SalesFrom = programme.At(*t.SalesFrom)
	}
	if t.SalesUntil != nil {
		in.SalesUntil = programme.At(*t.SalesUntil)
	}
	if t.ValidFrom != nil {
		in.ValidFrom = programme.At(*t.ValidFrom)
	}
	if t.ValidUntil != nil {
		in.ValidUntil = programme.At(*t.ValidUntil)
	}
	return in
}

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
