package api

import (
	"bytes"
	"context"
	"errors"

	"github.com/google/uuid"

	"gatehouse/central/programme"
	"gatehouse/central/programme/ics"
	"gatehouse/central/staff"
)

// agendaOps are the operations on what somebody means to go to.
type agendaOps struct{ s *Server }

// sessions are those of an account's agenda that are shown, by their start.
func (o agendaOps) sessions(ctx context.Context, account uuid.UUID) ([]programme.Session, error) {
	ids, err := o.s.cfg.Agenda.Sessions(ctx, account)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	q := programme.ScheduleQuery{IDs: ids, Statuses: []programme.Status{programme.Published, programme.Live, programme.Completed}}
	out, _, err := o.s.cfg.Programme.Sessions.Schedule(ctx, q)
	return out, err
}

// GetAgenda implements StrictServerInterface.
func (o agendaOps) GetAgenda(ctx context.Context, _ GetAgendaRequestObject) (GetAgendaResponseObject, error) {
	all, err := o.sessions(ctx, staff.FromContext(ctx).ID)
	if err != nil {
		return nil, err
	}
	return GetAgenda200JSONResponse{Success: true, Message: "This is where you mean to go.", Data: each(all, sessionOf)}, nil
}

// AddToAgenda implements StrictServerInterface.
func (o agendaOps) AddToAgenda(ctx context.Context, r AddToAgendaRequestObject) (AddToAgendaResponseObject, error) {
	v, err := sessionOps(o).seen(ctx, r.SessionId)
	if err != nil {
		return nil, err
	}
	if err := o.s.cfg.Agenda.Add(ctx, staff.FromContext(ctx).ID, v.Event, v.ID); err != nil {
		return nil, err
	}
	return AddToAgenda200JSONResponse{Success: true, Message: "It is in your programme."}, nil
}

// RemoveFromAgenda implements StrictServerInterface.
func (o agendaOps) RemoveFromAgenda(ctx context.Context, r RemoveFromAgendaRequestObject) (RemoveFromAgendaResponseObject, error) {
	// One that is not shown any more can be in it, and is taken out all the same.
	v, err := sessionOps(o).seen(ctx, r.SessionId)
	if err != nil && !errors.Is(err, programme.ErrNotFound) {
		return nil, err
	}
	if err := o.s.cfg.Agenda.Remove(ctx, staff.FromContext(ctx).ID, v.Event, int64(r.SessionId)); err != nil {
		return nil, err
	}
	return RemoveFromAgenda200JSONResponse{Success: true, Message: "It is not in your programme."}, nil
}

// LinkAgenda implements StrictServerInterface.
func (o agendaOps) LinkAgenda(ctx context.Context, _ LinkAgendaRequestObject) (LinkAgendaResponseObject, error) {
	link, err := o.s.cfg.Agenda.NewLink(ctx, staff.FromContext(ctx).ID)
	if err != nil {
		return nil, err
	}
	out := LinkAgenda201JSONResponse{Success: true, Message: "Subscribe to this in your calendar. Whoever has it sees where you mean to go."}
	out.Data.Path = Prefix + "/calendars/" + link + "/programme.ics"
	return out, nil
}

// UnlinkAgenda implements StrictServerInterface.
func (o agendaOps) UnlinkAgenda(ctx context.Context, _ UnlinkAgendaRequestObject) (UnlinkAgendaResponseObject, error) {
	if err := o.s.cfg.Agenda.EndLink(ctx, staff.FromContext(ctx).ID); err != nil {
		return nil, err
	}
	return UnlinkAgenda200JSONResponse{Success: true, Message: "No calendar follows your programme any more."}, nil
}

// GetAgendaCalendar implements StrictServerInterface.
func (o agendaOps) GetAgendaCalendar(ctx context.Context, r GetAgendaCalendarRequestObject) (GetAgendaCalendarResponseObject, error) {
	account, err := o.s.cfg.Agenda.ByLink(ctx, r.Link)
	if err != nil {
		return nil, err
	}
	all, err := o.sessions(ctx, account)
	if err != nil {
		return nil, err
	}
	timezone := "UTC"
	if len(all) > 0 {
		timezone = all[0].Timezone
	}
	feed := ics.Feed(programme.Calendar("My programme", timezone, all, nil))
	return GetAgendaCalendar200TextcalendarResponse{Body: bytes.NewReader(feed), ContentLength: int64(len(feed))}, nil
}
