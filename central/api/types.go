package api

import (
	"context"
	"time"

	"gatehouse/central/programme"
	"gatehouse/syncproto"
)

// typeOps are the operations on the ticket types of events. Gates hear of changes.
type typeOps struct{ s *Server }

func typeOf(t *programme.TicketType) TicketType {
	out := TicketType{
		Key: t.Key, Name: t.Name, Price: t.Price, Currency: orNil(t.Currency), Quota: orNil(int32(t.Quota)), Description: orNil(t.Description),
		SalesFrom: timeOrNil(t.SalesFrom), SalesUntil: timeOrNil(t.SalesUntil), ValidFrom: timeOrNil(t.ValidFrom), ValidUntil: timeOrNil(t.ValidUntil),
		EntriesTotal: orNil(int32(t.EntriesTotal)), EntriesPerDay: orNil(int32(t.EntriesPerDay)), Reentry: orNil(TicketTypeReentry(t.Reentry)),
		OrderMin: orNil(int32(t.OrderMin)), OrderMax: orNil(int32(t.OrderMax)), Rev: t.Rev,
	}
	if len(t.Zones) > 0 {
		out.Zones = &t.Zones
	}
	return out
}

func typeAnswer(t *programme.TicketType, message string) TicketTypeAnswer {
	return TicketTypeAnswer{Success: true, Message: message, Data: typeOf(t)}
}

// newType is a ticket type of a body; currency is that of a price without one.
func newType(b *TicketTypeInput, currency string) programme.TypeInput {
	in := changedType(&programme.TicketType{}, b)
	if b.EntriesTotal == nil && b.EntriesPerDay == nil {
		in.EntriesTotal = 1 // as in an event file
	}
	if in.Price > 0 && in.Currency == "" {
		in.Currency = currency
	}
	if in.Price == 0 {
		in.Currency = ""
	}
	return in
}

// changedType is a ticket type with what a body says; what it does not say stays.
func changedType(t *programme.TicketType, b *TicketTypeInput) programme.TypeInput {
	in := programme.TypeInput{
		Key: b.Key, Name: orElse(b.Name, t.Name), Description: orElse(b.Description, t.Description), Zones: orElse(b.Zones, t.Zones),
		ValidFrom: whenElse(b.ValidFrom, t.ValidFrom), ValidUntil: whenElse(b.ValidUntil, t.ValidUntil),
		SalesFrom: whenElse(b.SalesFrom, t.SalesFrom), SalesUntil: whenElse(b.SalesUntil, t.SalesUntil),
		EntriesTotal: countElse(b.EntriesTotal, t.EntriesTotal), EntriesPerDay: countElse(b.EntriesPerDay, t.EntriesPerDay),
		Quota: countElse(b.Quota, t.Quota), OrderMin: countElse(b.OrderMin, t.OrderMin), OrderMax: countElse(b.OrderMax, t.OrderMax),
		Price: orElse(b.Price, t.Price), Currency: orElse(b.Currency, t.Currency), Reentry: t.Reentry,
	}
	if b.Reentry != nil {
		in.Reentry = syncproto.Reentry(*b.Reentry)
	}
	return in
}

func countElse(n *int32, other int) int { return int(orElse(n, int32(other))) }

func whenElse(t *time.Time, other time.Time) programme.When { return programme.At(orElse(t, other)) }

// ListTicketTypes implements StrictServerInterface.
func (o typeOps) ListTicketTypes(ctx context.Context, r ListTicketTypesRequestObject) (ListTicketTypesResponseObject, error) {
	e, err := o.s.seen(ctx, syncproto.EventNo(r.Id))
	if err != nil {
		return nil, err
	}
	types, err := o.s.cfg.Programme.Types.List(ctx, e.No)
	if err != nil {
		return nil, err
	}
	return ListTicketTypes200JSONResponse{Success: true, Message: "Here are the ticket types.", Data: each(types, typeOf)}, nil
}

// CreateTicketType implements StrictServerInterface.
func (o typeOps) CreateTicketType(ctx context.Context, r CreateTicketTypeRequestObject) (CreateTicketTypeResponseObject, error) {
	e, err := o.s.cfg.Programme.Event(ctx, syncproto.EventNo(r.Id))
	if err != nil {
		return nil, err
	}
	t, err := o.s.cfg.Programme.Types.Create(ctx, e.No, newType(r.Body, defaultCurrency))
	if err != nil {
		return nil, err
	}
	o.s.cfg.Touch(e.Stream)
	answer := typeAnswer(&t, "The ticket type is made.")
	return CreateTicketType201JSONResponse{Headers: CreateTicketType201ResponseHeaders{ETag: new(tag(t.Rev))}, Body: answer}, nil
}

func (o typeOps) find(ctx context.Context, event int32, key string) (programme.Event, programme.TicketType, error) {
	e, err := o.s.cfg.Programme.Event(ctx, syncproto.EventNo(event))
	if err != nil {
		return e, programme.TicketType{}, err
	}
	t, err := o.s.cfg.Programme.Types.ByKey(ctx, e.No, key)
	return e, t, err
}

// UpdateTicketType implements StrictServerInterface.
func (o typeOps) UpdateTicketType(ctx context.Context, r UpdateTicketTypeRequestObject) (UpdateTicketTypeResponseObject, error) {
	rev, err := revOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	e, before, err := o.find(ctx, r.Id, r.Key)
	if err != nil {
		return nil, err
	}
	if rev == 0 {
		rev = before.Rev // what is not in the body stays as it was read
	}
	in := changedType(&before, r.Body)
	if in.Price > 0 && in.Currency == "" {
		in.Currency = defaultCurrency
	}
	t, err := o.s.cfg.Programme.Types.Update(ctx, e.No, before.No, rev, in)
	if err != nil {
		return nil, err
	}
	o.s.cfg.Touch(e.Stream)
	answer := typeAnswer(&t, "The ticket type is changed.")
	return UpdateTicketType200JSONResponse{Headers: UpdateTicketType200ResponseHeaders{ETag: new(tag(t.Rev))}, Body: answer}, nil
}

// DeleteTicketType implements StrictServerInterface.
func (o typeOps) DeleteTicketType(ctx context.Context, r DeleteTicketTypeRequestObject) (DeleteTicketTypeResponseObject, error) {
	rev, err := revOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	e, t, err := o.find(ctx, r.Id, r.Key)
	if err != nil {
		return nil, err
	}
	if err := o.s.cfg.Programme.Types.Delete(ctx, e.No, t.No, rev); err != nil {
		return nil, err
	}
	o.s.cfg.Touch(e.Stream)
	return DeleteTicketType200JSONResponse{Success: true, Message: "The ticket type is deleted."}, nil
}
