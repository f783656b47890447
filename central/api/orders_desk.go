package api

import (
	"context"

	"github.com/google/uuid"

	"gatehouse/central/registration"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

// typeNames are the ticket types of an event by their keys, and the keys by number.
type typeNames struct {
	nos  map[string]syncproto.TypeNo
	keys map[syncproto.TypeNo]string
}

func typeNamesOf(ctx context.Context, s *Server, event int32) (syncproto.EventNo, typeNames, error) {
	out := typeNames{map[string]syncproto.TypeNo{}, map[syncproto.TypeNo]string{}}
	shop, err := s.cfg.Programme.Types.Shop(ctx, syncproto.EventNo(event))
	for key, offer := range shop.Types {
		out.nos[key], out.keys[offer.No] = offer.No, key
	}
	return syncproto.EventNo(event), out, err
}

// numbers are the types of keys; nil are all.
func (n typeNames) numbers(keys *[]string) ([]syncproto.TypeNo, error) {
	var out []syncproto.TypeNo
	for _, key := range orElse(keys, nil) {
		no, ok := n.nos[key]
		if !ok {
			return nil, refuse(422, CodeInvalid, "Some of it is not acceptable.").field("ticket_types", "the event has no such ticket type")
		}
		out = append(out, no)
	}
	return out, nil
}

func (n typeNames) names(nos []syncproto.TypeNo) []string {
	out := []string{}
	for _, no := range nos {
		if key, ok := n.keys[no]; ok {
			out = append(out, key)
		}
	}
	return out
}

// promoOps are the operations on promo and access codes.
type promoOps struct{ s *Server }

func (n typeNames) promo(p *registration.Promo) PromoCode {
	return PromoCode{
		Id: p.ID, Code: p.Code, Kind: PromoCodeKind(p.Kind), Value: p.Value, TicketTypes: n.names(p.Types), UsesMax: orNil(int32(p.Max)), Used: int32(p.Used),
		From: timeOrNil(p.From), Until: timeOrNil(p.Until), Rev: p.Rev,
	}
}

func (n typeNames) newPromo(b *PromoCodeInput) (registration.Promo, error) {
	types, err := n.numbers(b.TicketTypes)
	p := registration.Promo{Code: b.Code, Kind: registration.PromoKind(b.Kind), Value: orElse(b.Value, 0), Types: types, Max: int(orElse(b.UsesMax, 0))}
	if b.From != nil {
		p.From = *b.From
	}
	if b.Until != nil {
		p.Until = *b.Until
	}
	return p, err
}

// ListPromoCodes implements StrictServerInterface.
func (o promoOps) ListPromoCodes(ctx context.Context, r ListPromoCodesRequestObject) (ListPromoCodesResponseObject, error) {
	event, names, err := typeNamesOf(ctx, o.s, r.Id)
	if err != nil {
		return nil, err
	}
	all, err := o.s.cfg.Registration.Promos.List(ctx, event)
	if err != nil {
		return nil, err
	}
	return ListPromoCodes200JSONResponse{Success: true, Message: "Here are the codes.", Data: each(all, names.promo)}, nil
}

// CreatePromoCode implements StrictServerInterface.
func (o promoOps) CreatePromoCode(ctx context.Context, r CreatePromoCodeRequestObject) (CreatePromoCodeResponseObject, error) {
	event, names, err := typeNamesOf(ctx, o.s, r.Id)
	if err != nil {
		return nil, err
	}
	in, err := names.newPromo(r.Body)
	if err != nil {
		return nil, err
	}
	p, err := o.s.cfg.Registration.Promos.Create(ctx, event, in)
	if err != nil {
		return nil, err
	}
	answer := PromoCodeAnswer{Success: true, Message: "The code is made.", Data: names.promo(&p)}
	return CreatePromoCode201JSONResponse{Headers: CreatePromoCode201ResponseHeaders{ETag: new(tag(p.Rev))}, Body: answer}, nil
}

// UpdatePromoCode implements StrictServerInterface.
func (o promoOps) UpdatePromoCode(ctx context.Context, r UpdatePromoCodeRequestObject) (UpdatePromoCodeResponseObject, error) {
	rev, err := revOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	event, names, err := typeNamesOf(ctx, o.s, r.Id)
	if err != nil {
		return nil, err
	}
	in, err := names.newPromo(r.Body)
	if err != nil {
		return nil, err
	}
	in.ID = r.PromoId
	p, err := o.s.cfg.Registration.Promos.Update(ctx, event, rev, in)
	if err != nil {
		return nil, err
	}
	answer := PromoCodeAnswer{Success: true, Message: "The code is changed.", Data: names.promo(&p)}
	return UpdatePromoCode200JSONResponse{Headers: UpdatePromoCode200ResponseHeaders{ETag: new(tag(p.Rev))}, Body: answer}, nil
}

// DeletePromoCode implements StrictServerInterface.
func (o promoOps) DeletePromoCode(ctx context.Context, r DeletePromoCodeRequestObject) (DeletePromoCodeResponseObject, error) {
	rev, err := revOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	if err := o.s.cfg.Registration.Promos.Delete(ctx, syncproto.EventNo(r.Id), r.PromoId, rev); err != nil {
		return nil, err
	}
	return DeletePromoCode200JSONResponse{Success: true, Message: "The code is deleted."}, nil
}

// questionOps are the operations on what holders are asked.
type questionOps struct{ s *Server }

func (n typeNames) question(q *registration.Question) Question {
	out := Question{
		Id: q.ID, Key: q.Key, Label: q.Label, Kind: QuestionKind(q.Kind), Choices: q.Choices, Required: q.Required, TicketTypes: n.names(q.Types),
		Sort: int32(q.Position), Rev: q.Rev,
	}
	if out.Choices == nil {
		out.Choices = []string{}
	}
	return out
}

func (n typeNames) newQuestion(b *QuestionInput) (registration.Question, error) {
	types, err := n.numbers(b.TicketTypes)
	return registration.Question{
		Key: b.Key, Label: b.Label, Kind: registration.QuestionKind(b.Kind), Choices: orElse(b.Choices, nil), Required: orElse(b.Required, false),
		Types: types, Position: int(orElse(b.Sort, 0)),
	}, err
}

// ListQuestions implements StrictServerInterface.
func (o questionOps) ListQuestions(ctx context.Context, r ListQuestionsRequestObject) (ListQuestionsResponseObject, error) {
	if _, err := o.s.seen(ctx, syncproto.EventNo(r.Id)); err != nil {
		return nil, err
	}
	event, names, err := typeNamesOf(ctx, o.s, r.Id)
	if err != nil {
		return nil, err
	}
	all, err := o.s.cfg.Registration.Questions.List(ctx, event)
	if err != nil {
		return nil, err
	}
	return ListQuestions200JSONResponse{Success: true, Message: "Here is what is asked.", Data: each(all, names.question)}, nil
}

// CreateQuestion implements StrictServerInterface.
func (o questionOps) CreateQuestion(ctx context.Context, r CreateQuestionRequestObject) (CreateQuestionResponseObject, error) {
	event, names, err := typeNamesOf(ctx, o.s, r.Id)
	if err != nil {
		return nil, err
	}
	in, err := names.newQuestion(r.Body)
	if err != nil {
		return nil, err
	}
	q, err := o.s.cfg.Registration.Questions.Create(ctx, event, in)
	if err != nil {
		return nil, err
	}
	answer := QuestionAnswer{Success: true, Message: "It is asked from now on.", Data: names.question(&q)}
	return CreateQuestion201JSONResponse{Headers: CreateQuestion201ResponseHeaders{ETag: new(tag(q.Rev))}, Body: answer}, nil
}

// UpdateQuestion implements StrictServerInterface.
func (o questionOps) UpdateQuestion(ctx context.Context, r UpdateQuestionRequestObject) (UpdateQuestionResponseObject, error) {
	rev, err := revOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	event, names, err := typeNamesOf(ctx, o.s, r.Id)
	if err != nil {
		return nil, err
	}
	in, err := names.newQuestion(r.Body)
	if err != nil {
		return nil, err
	}
	in.ID = r.QuestionId
	q, err := o.s.cfg.Registration.Questions.Update(ctx, event, rev, in)
	if err != nil {
		return nil, err
	}
	answer := QuestionAnswer{Success: true, Message: "The question is changed.", Data: names.question(&q)}
	return UpdateQuestion200JSONResponse{Headers: UpdateQuestion200ResponseHeaders{ETag: new(tag(q.Rev))}, Body: answer}, nil
}

// DeleteQuestion implements StrictServerInterface.
func (o questionOps) DeleteQuestion(ctx context.Context, r DeleteQuestionRequestObject) (DeleteQuestionResponseObject, error) {
	rev, err := revOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	if err := o.s.cfg.Registration.Questions.Delete(ctx, syncproto.EventNo(r.Id), r.QuestionId, rev); err != nil {
		return nil, err
	}
	return DeleteQuestion200JSONResponse{Success: true, Message: "It is asked no longer."}, nil
}

// waitOps are the operations on wait lists.
type waitOps struct{ s *Server }

// placeOf shows a place on a wait list to whoever has its id; the people on it are shown
// to the organiser alone.
func placeOf(w *registration.Waiter) WaitPlace {
	return WaitPlace{
		Id: w.ID, EventId: int32(w.Event), TicketType: w.Type, State: WaitPlaceState(w.State), Ahead: w.Ahead, OrderId: orNil(w.Order), CreatedAt: w.CreatedAt,
	}
}

// JoinWaitList implements StrictServerInterface.
func (o waitOps) JoinWaitList(ctx context.Context, r JoinWaitListRequestObject) (JoinWaitListResponseObject, error) {
	email, err := staff.ParseEmail(r.Body.Email)
	if err != nil {
		return nil, err
	}
	in := registration.Request{Event: syncproto.EventNo(r.Id), Type: r.Body.TicketType, Name: r.Body.Name, Email: email}
	if who := staff.FromContext(ctx); who.Kind == staff.KindAccount {
		in.Account = who.ID
	}
	at, err := o.s.cfg.Registration.Waiters.Join(ctx, in)
	if err != nil {
		return nil, err
	}
	return JoinWaitList201JSONResponse{Success: true, Message: "You are on the wait list.", Data: placeOf(&at)}, nil
}

// GetWaitListPlace implements StrictServerInterface.
func (o waitOps) GetWaitListPlace(ctx context.Context, r GetWaitListPlaceRequestObject) (GetWaitListPlaceResponseObject, error) {
	at, err := o.s.cfg.Registration.Waiters.Get(ctx, r.PlaceId)
	if err != nil {
		return nil, err
	}
	return GetWaitListPlace200JSONResponse{Success: true, Message: "Here is your place.", Data: placeOf(&at)}, nil
}

// LeaveWaitList implements StrictServerInterface.
func (o waitOps) LeaveWaitList(ctx context.Context, r LeaveWaitListRequestObject) (LeaveWaitListResponseObject, error) {
	if err := o.s.cfg.Registration.Waiters.Leave(ctx, r.PlaceId); err != nil {
		return nil, err
	}
	return LeaveWaitList200JSONResponse{Success: true, Message: "You wait no longer."}, nil
}

// ListWaitList implements StrictServerInterface.
func (o waitOps) ListWaitList(ctx context.Context, r ListWaitListRequestObject) (ListWaitListResponseObject, error) {
	e, err := o.s.cfg.Programme.Event(ctx, syncproto.EventNo(r.Id))
	if err != nil {
		return nil, err
	}
	after, err := open[uuid.UUID](r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	limit := orElse(r.Params.Limit, pageDefault)
	all, err := o.s.cfg.Registration.Waiters.List(ctx, e.No, orElse(after, uuid.Nil), limit+1)
	if err != nil {
		return nil, err
	}
	all, next := paged(all, limit, func(last *registration.Waiter) any { return last.ID })
	show := func(w *registration.Waiter) WaitPlace {
		p := placeOf(w)
		p.Name, p.Email = &w.Name, &w.Email
		return p
	}
	return ListWaitList200JSONResponse{Success: true, Message: "Here is the wait list.", Data: each(all, show), Next: next}, nil
}
