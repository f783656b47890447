package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"gatehouse/central/programme"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

// eventOps are the operations on events.
type eventOps struct{ s *Server }

// ListEvents implements StrictServerInterface.
func (o eventOps) ListEvents(ctx context.Context, r ListEventsRequestObject) (ListEventsResponseObject, error) {
	q, err := eventQuery(staff.FromContext(ctx), &r.Params)
	if err != nil {
		return nil, err
	}
	events, next, err := o.s.cfg.Programme.List(ctx, q)
	if err != nil {
		return nil, err
	}
	out := ListEvents200JSONResponse{Success: true, Message: "Here are the events.", Data: make([]Event, 0, len(events))}
	numbers := make([]syncproto.EventNo, len(events))
	for i := range events {
		numbers[i] = events[i].No
	}
	types, err := o.s.cfg.Programme.Types.Of(ctx, numbers)
	if err != nil {
		return nil, err
	}
	for i := range events {
		out.Data = append(out.Data, eventOf(&programme.Details{Event: events[i], Types: types[events[i].No]}))
	}
	out.Next = sealEvents(next)
	return out, nil
}

// eventQuery is what a list asks for. Drafts are for those who may change events.
func eventQuery(who staff.Principal, p *ListEventsParams) (programme.EventQuery, error) {
	q := programme.EventQuery{Limit: orElse(p.Limit, 0), Category: orElse(p.Category, ""), Venue: int64(orElse(p.Venue, 0)), Text: orElse(p.Q, "")}
	q.From, q.Until = orElse(p.From, time.Time{}), orElse(p.Until, time.Time{})
	if p.Status != nil {
		for _, s := range *p.Status {
			q.Statuses = append(q.Statuses, programme.Status(s))
		}
	}
	if !who.May(staff.EventCreate, 0) { // and not only for some events
		q.Statuses = shown(q.Statuses)
	}
	var err error
	q.After, err = openEvents(p.Cursor)
	return q, err
}

// shown leaves out what only its organisers see; of nothing it makes all the others.
func shown(wanted []programme.Status) []programme.Status {
	all := []programme.Status{programme.Published, programme.Live, programme.Completed}
	if len(wanted) == 0 {
		return all
	}
	out := []programme.Status{"none"} // of the empty list the programme makes all
	for _, s := range wanted {
		if s != programme.Draft {
			out = append(out, s)
		}
	}
	return out
}

// GetEvent implements StrictServerInterface.
func (o eventOps) GetEvent(ctx context.Context, r GetEventRequestObject) (GetEventResponseObject, error) {
	d, err := o.s.cfg.Programme.Detail(ctx, syncproto.EventNo(r.Id))
	if err != nil {
		return nil, err
	}
	if d.Status == programme.Draft && !staff.FromContext(ctx).May(staff.EventWrite, d.No) {
		return nil, programme.ErrNoEvent
	}
	return GetEvent200JSONResponse{Headers: GetEvent200ResponseHeaders{ETag: new(tag(d.Rev))}, Body: eventAnswer(&d, "Here is the event.")}, nil
}

// CreateEvent implements StrictServerInterface.
func (o eventOps) CreateEvent(ctx context.Context, r CreateEventRequestObject) (CreateEventResponseObject, error) {
	plan, err := newPlan(r.Body)
	if err != nil {
		return nil, err
	}
	e, err := o.s.cfg.Programme.CreatePlan(ctx, plan)
	if err != nil {
		return nil, err
	}
	d, err := o.s.cfg.Programme.Detail(ctx, e.No)
	if err != nil {
		return nil, err
	}
	return CreateEvent201JSONResponse{Headers: CreateEvent201ResponseHeaders{ETag: new(tag(d.Rev))}, Body: eventAnswer(&d, "The event is a draft.")}, nil
}

// UpdateEvent implements StrictServerInterface.
func (o eventOps) UpdateEvent(ctx context.Context, r UpdateEventRequestObject) (UpdateEventResponseObject, error) {
	rev, err := revOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	no := syncproto.EventNo(r.Id)
	before, err := o.s.cfg.Programme.Detail(ctx, no)
	if err != nil {
		return nil, err
	}
	in, err := changed(&before, r.Body)
	if err != nil {
		return nil, err
	}
	if rev == 0 {
		rev = before.Rev // what is not in the body stays as it was read
	}
	if _, err := o.s.cfg.Programme.Update(ctx, no, rev, in); err != nil {
		return nil, err
	}
	d, err := o.s.cfg.Programme.Detail(ctx, no)
	if err != nil {
		return nil, err
	}
	o.s.cfg.Touch(d.Stream)
	return UpdateEvent200JSONResponse{Headers: UpdateEvent200ResponseHeaders{ETag: new(tag(d.Rev))}, Body: eventAnswer(&d, "The event is changed.")}, nil
}

// DeleteEvent implements StrictServerInterface.
func (o eventOps) DeleteEvent(ctx context.Context, r DeleteEventRequestObject) (DeleteEventResponseObject, error) {
	rev, err := revOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	if err := o.s.cfg.Programme.Delete(ctx, syncproto.EventNo(r.Id), rev); err != nil {
		return nil, err
	}
	return DeleteEvent200JSONResponse{Success: true, Message: "The event is deleted."}, nil
}

// SetEventStatus implements StrictServerInterface.
func (o eventOps) SetEventStatus(ctx context.Context, r SetEventStatusRequestObject) (SetEventStatusResponseObject, error) {
	rev, err := revOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	no := syncproto.EventNo(r.Id)
	if _, err := o.s.cfg.Programme.Step(ctx, no, rev, programme.Status(r.Body.Status)); err != nil {
		return nil, err
	}
	d, err := o.s.cfg.Programme.Detail(ctx, no)
	if err != nil {
		return nil, err
	}
	o.s.cfg.Touch(d.Stream)
	answer := eventAnswer(&d, fmt.Sprintf("The event is %s.", d.Status))
	return SetEventStatus200JSONResponse{Headers: SetEventStatus200ResponseHeaders{ETag: new(tag(d.Rev))}, Body: answer}, nil
}

// revOf is the revision that If-Match names; 0 where it names none, or any.
func revOf(match *string) (int64, error) {
	if match == nil || strings.TrimSpace(*match) == "*" {
		return 0, nil
	}
	rev, err := strconv.ParseInt(versionOf(*match), 10, 64)
	if err != nil || rev < 1 {
		return 0, refuse(http.StatusPreconditionFailed, CodeStale, "If-Match has to be the ETag of the version that was read.")
	}
	return rev, nil
}

// cursorOfEvents is a cursor's text.
type cursorOfEvents struct {
	At int64             `json:"t,omitempty"` // Unix ms; 0 for an event without a beginning
	No syncproto.EventNo `json:"n"`
}

func sealEvents(c *programme.EventCursor) *string {
	if c == nil {
		return nil
	}
	out := cursorOfEvents{No: c.No}
	if !c.StartsAt.IsZero() {
		out.At = c.StartsAt.UnixMilli()
	}
	return seal(out)
}

func openEvents(text *string) (*programme.EventCursor, error) {
	in, err := open[cursorOfEvents](text)
	if in == nil {
		return nil, err
	}
	out := &programme.EventCursor{No: in.No}
	if in.At != 0 {
		var ok bool
		if out.StartsAt, ok = instant(in.At); !ok {
			return nil, badCursor()
		}
	}
	return out, nil
}

// orElse is what p points to, or a default.
func orElse[T any](p *T, other T) T {
	if p == nil {
		return other
	}
	return *p
}

// orNil points to v; nil for the zero value.
func orNil[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// timeOrNil points to a time, nil for none.
func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
