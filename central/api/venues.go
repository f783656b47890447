package api

import (
	"context"

	"gatehouse/central/programme"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

// venueOps are the operations on venues and their stages.
type venueOps struct{ s *Server }

func venueOf(v *programme.Venue) Venue {
	out := Venue{
		Id: int32(v.ID), Name: v.Name, Capacity: orNil(int32(v.Capacity)), Address: orNil(v.Address), Timezone: orNil(v.Timezone), Rev: v.Rev,
	}
	if len(v.Zones) > 0 {
		out.Zones = new(each(v.Zones, func(z *syncproto.Zone) Zone { return Zone{Name: z.Name, Parent: orNil(z.Parent)} }))
	}
	return out
}

func venueAnswer(v *programme.Venue, message string) VenueAnswer {
	return VenueAnswer{Success: true, Message: message, Data: venueOf(v)}
}

// changedVenue is a venue with what a body says; what it does not say stays.
func changedVenue(v programme.Venue, b *VenueBody) programme.Venue {
	v.Name, v.Address, v.Timezone = b.Name, orElse(b.Address, v.Address), orElse(b.Timezone, v.Timezone)
	v.Capacity = int(orElse(b.Capacity, int32(v.Capacity)))
	if b.Zones != nil {
		v.Zones = each(*b.Zones, func(z *Zone) syncproto.Zone { return syncproto.Zone{Name: z.Name, Parent: orElse(z.Parent, "")} })
	}
	return v
}

// mayChangeVenue refuses a change of a venue to whom it is not theirs: not every event
// there is, or there is none yet.
func (s *Server) mayChangeVenue(ctx context.Context, venue int64) error {
	events, err := s.cfg.Programme.Venues.Events(ctx, venue)
	if err != nil {
		return err
	}
	if len(events) == 0 {
		events = []syncproto.EventNo{0}
	}
	return mayAll(ctx, staff.VenueWrite, events)
}

// mayAll refuses whoever may not do something at each of some events.
func mayAll(ctx context.Context, need staff.Permission, events []syncproto.EventNo) error {
	who := staff.FromContext(ctx)
	for _, e := range events {
		if !who.May(need, e) {
			return forbidden(who)
		}
	}
	return nil
}

// ListVenues implements StrictServerInterface.
func (o venueOps) ListVenues(ctx context.Context, r ListVenuesRequestObject) (ListVenuesResponseObject, error) {
	after, err := open[programme.Named](r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	limit := orElse(r.Params.Limit, pageDefault)
	venues, err := o.s.cfg.Programme.Venues.Page(ctx, orElse(r.Params.Q, ""), after, limit+1)
	if err != nil {
		return nil, err
	}
	venues, next := paged(venues, limit, func(v *programme.Venue) any { return programme.Named{ID: v.ID, Name: v.Name} })
	return ListVenues200JSONResponse{Success: true, Message: "Here are the venues.", Data: each(venues, venueOf), Next: next}, nil
}

// GetVenue implements StrictServerInterface.
func (o venueOps) GetVenue(ctx context.Context, r GetVenueRequestObject) (GetVenueResponseObject, error) {
	v, err := o.s.cfg.Programme.Venues.Get(ctx, int64(r.Id))
	if err != nil {
		return nil, err
	}
	return GetVenue200JSONResponse{Headers: GetVenue200ResponseHeaders{ETag: new(tag(v.Rev))}, Body: venueAnswer(&v, "Here is the venue.")}, nil
}

// CreateVenue implements StrictServerInterface.
func (o venueOps) CreateVenue(ctx context.Context, r CreateVenueRequestObject) (CreateVenueResponseObject, error) {
	v, err := o.s.cfg.Programme.Venues.Create(ctx, changedVenue(programme.Venue{}, r.Body))
	if err != nil {
		return nil, err
	}
	return CreateVenue201JSONResponse{Headers: CreateVenue201ResponseHeaders{ETag: new(tag(v.Rev))}, Body: venueAnswer(&v, "The venue is made.")}, nil
}

// UpdateVenue implements StrictServerInterface.
func (o venueOps) UpdateVenue(ctx context.Context, r UpdateVenueRequestObject) (UpdateVenueResponseObject, error) {
	rev, err := revOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	before, err := o.s.cfg.Programme.Venues.Get(ctx, int64(r.Id))
	if err != nil {
		return nil, err
	}
	if err := o.s.mayChangeVenue(ctx, before.ID); err != nil {
		return nil, err
	}
	in := changedVenue(before, r.Body)
	if rev != 0 {
		in.Rev = rev
	}
	v, err := o.s.cfg.Programme.Venues.Update(ctx, in)
	if err != nil {
		return nil, err
	}
	return UpdateVenue200JSONResponse{Headers: UpdateVenue200ResponseHeaders{ETag: new(tag(v.Rev))}, Body: venueAnswer(&v, "The venue is changed.")}, nil
}

// DeleteVenue implements StrictServerInterface.
func (o venueOps) DeleteVenue(ctx context.Context, r DeleteVenueRequestObject) (DeleteVenueResponseObject, error) {
	rev, err := revOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	if _, err := o.s.cfg.Programme.Venues.Get(ctx, int64(r.Id)); err != nil {
		return nil, err
	}
	if err := o.s.mayChangeVenue(ctx, int64(r.Id)); err != nil {
		return nil, err
	}
	if err := o.s.cfg.Programme.Venues.Delete(ctx, int64(r.Id), rev); err != nil {
		return nil, err
	}
	return DeleteVenue200JSONResponse{Success: true, Message: "The venue is deleted."}, nil
}
