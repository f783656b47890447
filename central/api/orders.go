package api

import (
	"context"
	"time"

	"github.com/google/uuid"

	"gatehouse/central/payment"
	"gatehouse/central/registration"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

// orderOps are the operations of those who buy.
type orderOps struct{ s *Server }

// find finds an order for whoever may see it: it is his account's, he has its key, or
// he has a permission for its event. To anybody else there is no such order.
func (o orderOps) find(ctx context.Context, id uuid.UUID, key *string, need staff.Permission) (registration.Order, error) {
	who := staff.FromContext(ctx)
	got, err := o.s.cfg.Registration.Orders.Get(ctx, id)
	if err != nil {
		return registration.Order{}, err
	}
	if owns(who, got.Account) || who.May(need, got.Event) {
		return got, nil
	}
	return o.s.cfg.Registration.Orders.Shown(ctx, id, orElse(key, ""))
}

func owns(who staff.Principal, account uuid.UUID) bool {
	return who.Kind == staff.KindAccount && account != uuid.Nil && who.ID == account
}

func (o orderOps) show(r *registration.Order) Order {
	out := Order{
		Id: r.ID, EventId: int32(r.Event), Name: r.Name, Email: r.Email, State: OrderState(r.State), Total: r.Total, Refunded: r.Refunded,
		Currency: orNil(r.Currency), PromoCode: orNil(r.Promo), Provider: orNil(r.Provider), PayWith: []string{}, HoldUntil: timeOrNil(r.HoldUntil),
		CreatedAt: r.CreatedAt, PaidAt: timeOrNil(r.PaidAt), EndedAt: timeOrNil(r.EndedAt), Rev: r.Rev, Items: each(r.Items, showItem),
	}
	if r.State == registration.Pending {
		out.PayWith = o.s.cfg.Registration.Payments.Providers()
		if r.Total == 0 {
			out.PayWith = []string{payment.NameFree}
		}
	}
	return out
}

func showItem(it *registration.Item) OrderItem {
	out := OrderItem{
		No: it.No, TicketType: it.Type, Price: it.Price, Name: it.Name, Email: it.Email, Answers: it.Answers, Returned: it.Ended,
		TicketId: orNil(it.Ticket), Status: orNil(string(it.Status)),
	}
	if out.Answers == nil {
		out.Answers = Answers{}
	}
	if it.Ticket == uuid.Nil {
		out.Status = nil
	}
	return out
}

// pages are where the tickets of an order open, by their ids. One that was handed to
// somebody else is his alone.
func (o orderOps) pages(ctx context.Context, order *registration.Order) (map[uuid.UUID]string, error) {
	var numbers []syncproto.TicketNo
	for i := range order.Items {
		if order.Items[i].Number != 0 {
			numbers = append(numbers, order.Items[i].Number)
		}
	}
	if len(numbers) == 0 {
		return nil, nil //nolint:nilnil // no map has no pages
	}
	all, err := o.s.cfg.Handout.Tickets(ctx, order.Event, numbers)
	if err != nil {
		return nil, err
	}
	out := make(map[uuid.UUID]string, len(all))
	for i := range all {
		if all[i].Issue == 0 || all[i].Email == order.Email {
			out[all[i].ID] = all[i].Page
		}
	}
	return out, nil
}

func (o orderOps) answer(r *registration.Order, message string) OrderAnswer {
	return OrderAnswer{Success: true, Message: message, Data: o.show(r)}
}

// CreateOrder implements StrictServerInterface.
func (o orderOps) CreateOrder(ctx context.Context, r CreateOrderRequestObject) (CreateOrderResponseObject, error) {
	b := r.Body
	in := registration.NewOrder{Event: syncproto.EventNo(b.EventId), Name: orElse(b.Name, ""), Promo: orElse(b.PromoCode, "")}
	if err := o.buyer(ctx, &in, b.Email); err != nil {
		return nil, err
	}
	for i := range b.Items {
		it := &b.Items[i]
		wanted := registration.NewItem{Type: it.TicketType, Name: orElse(it.Name, ""), Answers: orElse(it.Answers, nil)}
		if it.Email != nil {
			email, err := staff.ParseEmail(*it.Email)
			if err != nil {
				return nil, err
			}
			wanted.Email = email
		}
		in.Items = append(in.Items, wanted)
	}
	made, err := o.s.cfg.Registration.Create(ctx, in)
	if err != nil {
		return nil, err
	}
	out := CreateOrder201JSONResponse{Success: true, Message: "The tickets are kept for you until they are paid for."}
	if made.Order.State == registration.Paid {
		out.Message = "Here are your tickets."
	}
	out.Data.Order, out.Data.Key, out.Data.Tickets = o.show(&made.Order), made.Key, []Ticket{}
	for i, code := range made.Codes {
		it := &made.Order.Items[i]
		page, err := o.s.cfg.Handout.Link(ctx, it.Ticket, 0)
		if err != nil {
			return nil, err
		}
		out.Data.Tickets = append(out.Data.Tickets, Ticket{Id: it.Ticket, Code: code, Page: &page, EventId: &b.EventId, TicketType: &it.Type, OrderId: &made.Order.ID})
	}
	return out, nil
}

// buyer says whose an order is; without a name and an address it is whose account it is.
func (o orderOps) buyer(ctx context.Context, in *registration.NewOrder, email *string) (err error) {
	who := staff.FromContext(ctx)
	if who.Kind == staff.KindAccount {
		in.Account = who.ID
	}
	if email != nil {
		if in.Email, err = staff.ParseEmail(*email); err != nil {
			return err
		}
	}
	if in.Account != uuid.Nil && (in.Name == "" || in.Email == "") {
		account, err := o.s.cfg.Staff.Accounts.Get(ctx, who.ID)
		if err != nil {
			return err
		}
		if in.Name == "" {
			in.Name = account.Name
		}
		if in.Email == "" {
			in.Email = account.Email
		}
	}
	r := refuse(422, CodeInvalid, "Some of it is not acceptable.")
	if in.Name == "" {
		r.add("name", "is needed of whoever is not signed in")
	}
	if in.Email == "" {
		r.add("email", "is needed of whoever is not signed in")
	}
	if len(r.Fields) > 0 {
		return r
	}
	return nil
}

// GetOrder implements StrictServerInterface.
func (o orderOps) GetOrder(ctx context.Context, r GetOrderRequestObject) (GetOrderResponseObject, error) {
	got, err := o.find(ctx, r.OrderId, r.Params.OrderKey, staff.RegistrationRead)
	if err != nil {
		return nil, err
	}
	body := o.answer(&got, "Here is the order.")
	// Who reads it because he works there has no need of other people's tickets.
	if r.Params.OrderKey != nil || owns(staff.FromContext(ctx), got.Account) {
		pages, err := o.pages(ctx, &got)
		if err != nil {
			return nil, err
		}
		for i := range body.Data.Items {
			body.Data.Items[i].Page = orNil(pages[got.Items[i].Ticket])
		}
	}
	return GetOrder200JSONResponse{Headers: GetOrder200ResponseHeaders{ETag: new(tag(got.Rev))}, Body: body}, nil
}

// PayOrder implements StrictServerInterface.
func (o orderOps) PayOrder(ctx context.Context, r PayOrderRequestObject) (PayOrderResponseObject, error) {
	if _, err := o.find(ctx, r.OrderId, r.Params.OrderKey, staff.RegistrationWrite); err != nil {
		return nil, err
	}
	p, err := o.s.cfg.Registration.Payments.Pay(ctx, r.OrderId, r.Body.Provider, orElse(r.Params.OrderKey, ""))
	if err != nil {
		return nil, err
	}
	out := PayOrder200JSONResponse{Success: true, Message: "The order can be paid for."}
	if p.Order.State == registration.Paid {
		out.Message = "The order is paid for."
	}
	out.Data.Provider, out.Data.Url, out.Data.Order = p.Provider, orNil(p.URL), o.show(&p.Order)
	return out, nil
}

// CancelOrder implements StrictServerInterface.
func (o orderOps) CancelOrder(ctx context.Context, r CancelOrderRequestObject) (CancelOrderResponseObject, error) {
	rev, err := revOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	if _, err := o.find(ctx, r.OrderId, r.Params.OrderKey, staff.RegistrationWrite); err != nil {
		return nil, err
	}
	got, err := o.s.cfg.Registration.Cancel(ctx, r.OrderId, rev)
	if err != nil {
		return nil, err
	}
	return CancelOrder200JSONResponse{
		Headers: CancelOrder200ResponseHeaders{ETag: new(tag(got.Rev))}, Body: o.answer(&got, "The order is cancelled."),
	}, nil
}

// cursorOfOrders is where a page of orders ended.
type cursorOfOrders struct {
	At int64     `json:"t"` // Unix microseconds
	ID uuid.UUID `json:"i"`
}

// ListOrders implements StrictServerInterface.
func (o orderOps) ListOrders(ctx context.Context, r ListOrdersRequestObject) (ListOrdersResponseObject, error) {
	e, err := o.s.cfg.Programme.Event(ctx, syncproto.EventNo(r.Id))
	if err != nil {
		return nil, err
	}
	at, err := open[cursorOfOrders](r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	limit := orElse(r.Params.Limit, pageDefault)
	f := registration.OrderFilter{Event: e.No, State: registration.State(orElse(r.Params.State, "")), Limit: limit + 1}
	if r.Params.Email != nil {
		if f.Email, err = staff.ParseEmail(*r.Params.Email); err != nil {
			return nil, err
		}
	}
	if at != nil {
		if _, ok := instant(at.At / 1000); !ok {
			return nil, badCursor()
		}
		f.Before = registration.Before{At: time.UnixMicro(at.At), ID: at.ID}
	}
	all, err := o.s.cfg.Registration.Orders.List(ctx, f)
	if err != nil {
		return nil, err
	}
	all, next := paged(all, limit, func(last *registration.Order) any { return cursorOfOrders{last.CreatedAt.UnixMicro(), last.ID} })
	return ListOrders200JSONResponse{Success: true, Message: "Here are the orders.", Data: each(all, o.show), Next: next}, nil
}
