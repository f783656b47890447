package api

import (
	"context"

	"gatehouse/central/programme"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

// sessionOps are the operations on the sessions of events.
type sessionOps struct{ s *Server }

func sessionOf(v *programme.Session) Session {
	return Session{
		Id: int32(v.ID), Event: Named{Id: int32(v.Event), Name: v.EventName}, Title: v.Title, Description: orNil(v.Description),
		Stage: named(v.Stage), Venue: named(v.Venue), Performers: each(v.Performers, func(p *programme.Named) Named { return *named(*p) }),
		StartTime: v.StartsAt, EndTime: v.EndsAt, Timezone: v.Timezone, Cancelled: v.Cancelled, Rev: v.Rev,
	}
}

func sessionAnswer(v *programme.Session, message string) SessionAnswer {
	return SessionAnswer{Success: true, Message: message, Data: sessionOf(v)}
}

// changedSession is a session with what a body says; what it does not say stays.
func changedSession(v *programme.Session, b *SessionInput) programme.SessionInput {
	in := programme.SessionInput{
		Title: b.Title, Description: orElse(b.Description, v.Description), StageID: int64(orElse(b.StageId, int32(v.Stage.ID))),
		Starts: programme.At(orElse(b.StartTime, v.StartsAt)), Ends: programme.At(orElse(b.EndTime, v.EndsAt)), Cancelled: orElse(b.Cancelled, v.Cancelled),
	}
	for _, p := range v.Performers {
		in.Performers = append(in.Performers, p.ID)
	}
	if b.Performers != nil {
		in.Performers = each(*b.Performers, func(id *int32) int64 { return int64(*id) })
	}
	return in
}

// seen finds an event. A draft is not there for whoever may not change it.
func (s *Server) seen(ctx context.Context, no syncproto.EventNo) (programme.Event, error) {
	e, err := s.cfg.Programme.Event(ctx, no)
	if err == nil && hidden(ctx, no, e.Status) {
		return programme.Event{}, programme.ErrNoEvent
	}
	return e, err
}

func hidden(ctx context.Context, no syncproto.EventNo, status programme.Status) bool {
	return status == programme.Draft && !staff.FromContext(ctx).May(staff.EventWrite, no)
}

// seen finds a session. One of a draft is not there for whoever may not change that.
func (o sessionOps) seen(ctx context.Context, id int32) (programme.Session, error) {
	v, err := o.s.cfg.Programme.Sessions.Get(ctx, int64(id))
	if err == nil && hidden(ctx, v.Event, v.EventStatus) {
		return programme.Session{}, programme.ErrNotFound
	}
	return v, err
}

// mine is seen that refuses a session of others' events.
func (o sessionOps) mine(ctx context.Context, id int32) (programme.Session, error) {
	v, err := o.seen(ctx, id)
	if err != nil {
		return v, err
	}
	return v, mayAll(ctx, staff.ProgrammeWrite, []syncproto.EventNo{v.Event})
}

// ListSessions implements StrictServerInterface.
func (o sessionOps) ListSessions(ctx context.Context, r ListSessionsRequestObject) (ListSessionsResponseObject, error) {
	after, err := openSessions(r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	e, err := o.s.seen(ctx, syncproto.EventNo(r.Id))
	if err != nil {
		return nil, err
	}
	sessions, next, err := o.s.cfg.Programme.Sessions.Schedule(ctx, programme.ScheduleQuery{
		Event: e.No, Statuses: []programme.Status{e.Status}, After: after, Limit: orElse(r.Params.Limit, pageDefault),
	})
	if err != nil {
		return nil, err
	}
	return ListSessions200JSONResponse{Success: true, Message: "Here are the sessions.", Data: each(sessions, sessionOf), Next: sealSessions(next)}, nil
}

// CreateSession implements StrictServerInterface.
func (o sessionOps) CreateSession(ctx context.Context, r CreateSessionRequestObject) (CreateSessionResponseObject, error) {
	v, err := o.s.cfg.Programme.Sessions.Create(ctx, syncproto.EventNo(r.Id), changedSession(&programme.Session{}, r.Body))
	if err != nil {
		return nil, err
	}
	return CreateSession201JSONResponse{Headers: CreateSession201ResponseHeaders{ETag: new(tag(v.Rev))}, Body: sessionAnswer(&v, "The session is made.")}, nil
}

// GetSession implements StrictServerInterface.
func (o sessionOps) GetSession(ctx context.Context, r GetSessionRequestObject) (GetSessionResponseObject, error) {
	v, err := o.seen(ctx, r.Id)
	if err != nil {
		return nil, err
	}
	return GetSession200JSONResponse{Headers: GetSession200ResponseHeaders{ETag: new(tag(v.Rev))}, Body: sessionAnswer(&v, "Here is the session.")}, nil
}

// UpdateSession implements StrictServerInterface.
func (o sessionOps) UpdateSession(ctx context.Context, r UpdateSessionRequestObject) (UpdateSessionResponseObject, error) {
	rev, err := revOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	before, err := o.mine(ctx, r.Id)
	if err != nil {
		return nil, err
	}
	if rev == 0 {
		rev = before.Rev // what is not in the body stays as it was read
	}
	v, err := o.s.cfg.Programme.Sessions.Update(ctx, before.ID, rev, changedSession(&before, r.Body))
	if err != nil {
		return nil, err
	}
	return UpdateSession200JSONResponse{Headers: UpdateSession200ResponseHeaders{ETag: new(tag(v.Rev))}, Body: sessionAnswer(&v, "The session is changed.")}, nil
}

// DeleteSession implements StrictServerInterface.
func (o sessionOps) DeleteSession(ctx context.Context, r DeleteSessionRequestObject) (DeleteSessionResponseObject, error) {
	rev, err := revOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	if _, err := o.mine(ctx, r.Id); err != nil {
		return nil, err
	}
	if err := o.s.cfg.Programme.Sessions.Delete(ctx, int64(r.Id), rev); err != nil {
		return nil, err
	}
	return DeleteSession200JSONResponse{Success: true, Message: "The session is deleted."}, nil
}

// ListConflicts implements StrictServerInterface.
func (o sessionOps) ListConflicts(ctx context.Context, r ListConflictsRequestObject) (ListConflictsResponseObject, error) {
	conflicts, err := o.s.cfg.Programme.Sessions.Conflicts(ctx, syncproto.EventNo(r.Id))
	if err != nil {
		return nil, err
	}
	return ListConflicts200JSONResponse{Success: true, Message: "Here is what is in conflict.", Data: each(conflicts, conflictOf)}, nil
}

func conflictOf(c *programme.Conflict) Conflict {
	return Conflict{On: ConflictOn(c.On), Id: int32(c.ID), Name: c.Name, Session: refOf(&c.Session), With: refOf(&c.With)}
}

func refOf(s *programme.SessionRef) SessionRef {
	return SessionRef{Id: int32(s.ID), EventId: int32(s.Event), Title: s.Title, StartTime: s.StartsAt, EndTime: s.EndsAt}
}
