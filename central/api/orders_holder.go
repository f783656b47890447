package api

import (
	"context"

	"github.com/google/uuid"

	"gatehouse/central/registration"
	"gatehouse/central/staff"
	"gatehouse/central/ticket"
)

// holderOps are the operations of those who hold a ticket.
type holderOps struct{ s *Server }

// held finds out whose a ticket is, for whoever may change it: it was ordered by his
// account, he has the order's key, or he may change the event's tickets. To anybody else
// there is no such ticket.
func (o holderOps) held(ctx context.Context, tick uuid.UUID, key *string) (registration.Owner, error) {
	owner, err := o.s.cfg.Registration.Orders.OwnerOf(ctx, tick)
	if err != nil {
		return owner, err
	}
	if who := staff.FromContext(ctx); owns(who, owner.Account) || who.May(staff.TicketWrite, owner.Event) {
		return owner, nil
	}
	if owner.Order == uuid.Nil {
		return owner, ticket.ErrNoTicket
	}
	_, err = o.s.cfg.Registration.Orders.Shown(ctx, owner.Order, orElse(key, ""))
	return owner, err
}

// TransferTicket implements StrictServerInterface.
func (o holderOps) TransferTicket(ctx context.Context, r TransferTicketRequestObject) (TransferTicketResponseObject, error) {
	owner, err := o.held(ctx, r.TicketId, r.Params.OrderKey)
	if err != nil {
		return nil, err
	}
	email, err := staff.ParseEmail(r.Body.Email)
	if err != nil {
		return nil, err
	}
	code, err := o.s.cfg.Registration.Holders.Hand(ctx, r.TicketId, r.Body.Name, email)
	if err != nil {
		return nil, err
	}
	out := TransferTicket200JSONResponse{Success: true, Message: "The ticket is handed over. Its old code is not valid any more."}
	out.Data.Ticket = &Ticket{Id: r.TicketId, Code: code, EventId: new(int32(owner.Event)), OrderId: orNil(owner.Order)}
	return out, nil
}

// AnswerQuestions implements StrictServerInterface.
func (o holderOps) AnswerQuestions(ctx context.Context, r AnswerQuestionsRequestObject) (AnswerQuestionsResponseObject, error) {
	if _, err := o.held(ctx, r.TicketId, r.Params.OrderKey); err != nil {
		return nil, err
	}
	complete, err := o.s.cfg.Registration.Questions.Answer(ctx, r.TicketId, r.Body.Answers)
	if err != nil {
		return nil, err
	}
	out := AnswerQuestions200JSONResponse{Success: true, Message: "Answers are still missing."}
	if complete {
		out.Message = "Nothing is missing."
	}
	out.Data.Complete = complete
	return out, nil
}
