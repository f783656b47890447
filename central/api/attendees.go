package api

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/central/checkin"
	"gatehouse/central/registration"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

// attendeeOps are the operations of those who come, and of those who let them in.
type attendeeOps struct{ s *Server }

// Register implements StrictServerInterface.
func (o attendeeOps) Register(ctx context.Context, r RegisterRequestObject) (RegisterResponseObject, error) {
	b, who := r.Body, staff.FromContext(ctx)
	if b.EventId == nil && b.TicketType != nil || b.EventId != nil && b.TicketType == nil {
		return nil, refuse(422, CodeInvalid, "Some of it is not acceptable.").field("ticket_type", "goes with event_id, and event_id with it")
	}
	if b.EventId == nil && b.Password == nil {
		return nil, refuse(422, CodeInvalid, "Some of it is not acceptable.").field("password", "an account needs one; a ticket needs event_id and ticket_type")
	}
	email, err := staff.ParseEmail(b.Email)
	if err != nil {
		return nil, err
	}
	account := uuid.Nil
	if who.Kind == staff.KindAccount {
		account = who.ID
	}
	if b.Password != nil {
		made, err := o.s.cfg.Staff.Accounts.Register(ctx, who.Origin, staff.NewAccount{Email: email, Name: b.Name, Password: *b.Password})
		// Who has an account is nobody else's business: the answer is the same.
		if err != nil && !errors.Is(err, staff.ErrEmailTaken) {
			return nil, err
		}
		if account == uuid.Nil {
			account = made.ID
		}
		if made.ID != uuid.Nil {
			if err := authOps(o).mailVerification(ctx, staff.Principal{Kind: staff.KindAccount, ID: made.ID, Role: made.Role, Origin: who.Origin}); err != nil {
				o.s.cfg.Logger.Warn("the letter that verifies an address was not sent; it can be asked for again", "account", made.ID, "error", err)
			}
		}
	}
	out := Register201JSONResponse{Success: true, Message: "Registered."}
	if b.EventId == nil {
		return out, nil
	}
	got, err := o.s.cfg.Registration.Register(ctx, registration.Request{
		Event: syncproto.EventNo(*b.EventId), Type: *b.TicketType, Name: b.Name, Email: email, Account: account,
	})
	if err != nil {
		return nil, err
	}
	page, err := o.s.cfg.Handout.Link(ctx, got.Ticket, 0)
	if err != nil {
		return nil, err
	}
	out.Data.Ticket = &Ticket{Id: got.Ticket, Code: got.Code, Page: &page, EventId: b.EventId, TicketType: b.TicketType, OrderId: &got.Order}
	return out, nil
}

// GetProfile implements StrictServerInterface.
func (o attendeeOps) GetProfile(ctx context.Context, _ GetProfileRequestObject) (GetProfileResponseObject, error) {
	p, err := o.profile(ctx)
	if err != nil {
		return nil, err
	}
	return GetProfile200JSONResponse{
		Headers: GetProfile200ResponseHeaders{ETag: new(tag(p.Rev))},
		Body:    ProfileAnswer{Success: true, Message: "Here is your profile.", Data: p},
	}, nil
}

// UpdateProfile implements StrictServerInterface.
func (o attendeeOps) UpdateProfile(ctx context.Context, r UpdateProfileRequestObject) (UpdateProfileResponseObject, error) {
	rev, err := revOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	who := staff.FromContext(ctx)
	if _, err := o.s.cfg.Staff.Accounts.SetName(ctx, who, who.ID, r.Body.Name, rev); err != nil {
		return nil, err
	}
	p, err := o.profile(ctx)
	if err != nil {
		return nil, err
	}
	return UpdateProfile200JSONResponse{
		Headers: UpdateProfile200ResponseHeaders{ETag: new(tag(p.Rev))},
		Body:    ProfileAnswer{Success: true, Message: "Your profile is changed.", Data: p},
	}, nil
}

func (o attendeeOps) profile(ctx context.Context) (Profile, error) {
	a, err := o.s.cfg.Staff.Accounts.Get(ctx, staff.FromContext(ctx).ID)
	if err != nil {
		return Profile{}, err
	}
	orders, err := o.s.cfg.Registration.Orders.Of(ctx, a.ID)
	if err != nil {
		return Profile{}, err
	}
	p := Profile{Id: a.ID, Name: a.Name, Email: a.Email, EmailVerified: !a.VerifiedAt.IsZero(), Role: string(a.Role), Rev: a.Rev, Tickets: []ProfileTicket{}}
	for i := range orders {
		pages, err := orderOps(o).pages(ctx, &orders[i])
		if err != nil {
			return p, err
		}
		for _, it := range orders[i].Items {
			if it.Ticket != uuid.Nil {
				p.Tickets = append(p.Tickets, ProfileTicket{
					Id: it.Ticket, EventId: int32(orders[i].Event), TicketType: it.Type, Status: string(it.Status), Page: orNil(pages[it.Ticket]),
				})
			}
		}
	}
	return p, nil
}

// CheckIn implements StrictServerInterface.
func (o attendeeOps) CheckIn(ctx context.Context, r CheckInRequestObject) (CheckInResponseObject, error) {
	answers, err := o.decide(ctx, []CheckIn{*r.Body}, orElse(r.Params.IdempotencyKey, ""))
	if err != nil {
		return nil, err
	}
	return CheckIn200JSONResponse{Success: true, Message: said(&answers[0]), Data: decisionOf(&answers[0])}, nil
}

// CheckInBatch implements StrictServerInterface.
func (o attendeeOps) CheckInBatch(ctx context.Context, r CheckInBatchRequestObject) (CheckInBatchResponseObject, error) {
	answers, err := o.decide(ctx, r.Body.Checkins, orElse(r.Params.IdempotencyKey, ""))
	if err != nil {
		return nil, err
	}
	out := CheckInBatch200JSONResponse{Success: true, Message: "Decided.", Data: make([]Decision, len(answers))}
	for i := range answers {
		out.Data[i] = decisionOf(&answers[i])
	}
	return out, nil
}

// decide has the desk decide on what whoever asks may check in. A code of another
// event is answered as a gate would that is not of that event.
func (o attendeeOps) decide(ctx context.Context, in []CheckIn, key string) ([]checkin.Answer, error) {
	who := staff.FromContext(ctx)
	all := make([]checkin.CheckIn, len(in))
	for i := range in {
		c := &in[i]
		all[i] = checkin.CheckIn{Code: orElse(c.Code, ""), Ticket: orElse(c.TicketId, uuid.Nil), Zone: orElse(c.Zone, ""), Lane: orElse(c.Lane, ""), By: who.ID.String()}
		if c.Direction != nil {
			all[i].Direction = syncproto.Direction(*c.Direction)
		}
	}
	events, err := o.s.cfg.Desk.Events(ctx, all)
	if err != nil {
		return nil, err
	}
	out, mine := make([]checkin.Answer, len(all)), []int(nil)
	var asked []checkin.CheckIn
	for i, event := range events {
		switch {
		case event != 0 && !who.May(staff.CheckinWrite, event):
			out[i] = checkin.Answer{Decision: "deny", Reason: syncproto.ReasonWrongEvent, At: o.s.cfg.Now().UTC()}
		case all[i].Ticket != uuid.Nil && event != 0 && !who.May(staff.TicketRead, event):
			return nil, forbidden(who)
		default:
			mine, asked = append(mine, i), append(asked, all[i])
		}
	}
	if len(asked) == 0 {
		return out, nil
	}
	answers, err := o.s.cfg.Desk.CheckIn(ctx, asked, who.ID.String(), key)
	if err != nil {
		return nil, err
	}
	for i, at := range mine {
		out[at] = answers[i]
	}
	return out, nil
}

// said is an answer in a sentence.
func said(a *checkin.Answer) string {
	switch a.Decision {
	case "admit":
		return "Let in."
	case "exit":
		return "Let out."
	}
	return "Not let in: " + string(a.Reason) + "."
}

func decisionOf(a *checkin.Answer) Decision {
	d := Decision{
		Decision: DecisionDecision(a.Decision), Reason: string(a.Reason), EventId: orNil(int32(a.Event)), TicketId: orNil(a.Ticket),
		TicketType: orNil(a.Type), At: a.At,
	}
	if f := a.First; f != nil {
		d.First = &struct {
			At   time.Time `json:"at"`
			Gate string    `json:"gate"`
			Lane string    `json:"lane"`
		}{f.At, f.Gate, f.Lane}
	}
	return d
}
