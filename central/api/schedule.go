package api

import (
	"bytes"
	"context"
	"time"

	"gatehouse/central/programme"
	"gatehouse/central/programme/ics"
	"gatehouse/syncproto"
)

// scheduleOps are the operations of those who want to know what is on: sessions of
// published and live events, whoever asks.
type scheduleOps struct{ s *Server }

// list answers a query from where a cursor is.
func (o scheduleOps) list(ctx context.Context, q programme.ScheduleQuery, cursor *string, limit *int) (SessionsAnswer, error) {
	var err error
	if q.After, err = openSessions(cursor); err != nil {
		return SessionsAnswer{}, err
	}
	q.Limit = orElse(limit, pageDefault)
	sessions, next, err := o.s.cfg.Programme.Sessions.Schedule(ctx, q)
	if err != nil {
		return SessionsAnswer{}, err
	}
	return SessionsAnswer{Success: true, Message: "Here is what is on.", Data: each(sessions, sessionOf), Next: sealSessions(next)}, nil
}

// ListSchedule implements StrictServerInterface.
func (o scheduleOps) ListSchedule(ctx context.Context, r ListScheduleRequestObject) (ListScheduleResponseObject, error) {
	p := &r.Params
	q := programme.ScheduleQuery{
		Event: syncproto.EventNo(orElse(p.Event, 0)), Venue: int64(orElse(p.Venue, 0)), Stage: int64(orElse(p.Stage, 0)),
		Performer: int64(orElse(p.Performer, 0)), From: orElse(p.From, time.Time{}), Until: orElse(p.Until, time.Time{}),
	}
	answer, err := o.list(ctx, q, p.Cursor, p.Limit)
	return ListSchedule200JSONResponse(answer), err
}

// ListScheduleToday implements StrictServerInterface.
func (o scheduleOps) ListScheduleToday(ctx context.Context, r ListScheduleTodayRequestObject) (ListScheduleTodayResponseObject, error) {
	p := &r.Params
	q := programme.ScheduleQuery{
		Event: syncproto.EventNo(orElse(p.Event, 0)), Venue: int64(orElse(p.Venue, 0)), Stage: int64(orElse(p.Stage, 0)),
		Performer: int64(orElse(p.Performer, 0)), Today: o.s.cfg.Now(),
	}
	answer, err := o.list(ctx, q, p.Cursor, p.Limit)
	return ListScheduleToday200JSONResponse(answer), err
}

// ListScheduleOfVenue implements StrictServerInterface.
func (o scheduleOps) ListScheduleOfVenue(ctx context.Context, r ListScheduleOfVenueRequestObject) (ListScheduleOfVenueResponseObject, error) {
	v, err := o.s.cfg.Programme.Venues.Get(ctx, int64(r.Id))
	if err != nil {
		return nil, err
	}
	q := programme.ScheduleQuery{Venue: v.ID, From: orElse(r.Params.From, time.Time{}), Until: orElse(r.Params.Until, time.Time{})}
	answer, err := o.list(ctx, q, r.Params.Cursor, r.Params.Limit)
	return ListScheduleOfVenue200JSONResponse(answer), err
}

// GetEventCalendar implements StrictServerInterface.
func (o scheduleOps) GetEventCalendar(ctx context.Context, r GetEventCalendarRequestObject) (GetEventCalendarResponseObject, error) {
	e, err := o.s.seen(ctx, syncproto.EventNo(r.Id))
	if err != nil {
		return nil, err
	}
	q := programme.ScheduleQuery{Event: e.No, Statuses: []programme.Status{e.Status}}
	feed, err := o.feed(ctx, e.Name, e.Timezone, q)
	return GetEventCalendar200TextcalendarResponse{Body: bytes.NewReader(feed), ContentLength: int64(len(feed))}, err
}

// GetStageCalendar implements StrictServerInterface.
func (o scheduleOps) GetStageCalendar(ctx context.Context, r GetStageCalendarRequestObject) (GetStageCalendarResponseObject, error) {
	stage, err := o.s.cfg.Programme.Venues.Stage(ctx, int64(r.Id))
	if err != nil {
		return nil, err
	}
	venue, err := o.s.cfg.Programme.Venues.Get(ctx, stage.VenueID)
	if err != nil {
		return nil, err
	}
	feed, err := o.feed(ctx, stage.Name+", "+venue.Name, venue.Timezone, programme.ScheduleQuery{Stage: stage.ID})
	return GetStageCalendar200TextcalendarResponse{Body: bytes.NewReader(feed), ContentLength: int64(len(feed))}, err
}

// feed is a calendar of the first [programme.SchedulePageMax] sessions of a query.
func (o scheduleOps) feed(ctx context.Context, name, timezone string, q programme.ScheduleQuery) ([]byte, error) {
	sessions, _, err := o.s.cfg.Programme.Sessions.Schedule(ctx, q)
	if err != nil {
		return nil, err
	}
	return ics.Feed(programme.Calendar(name, timezone, sessions, nil)), nil
}
