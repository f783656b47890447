package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"
	openapi_types "github.com/oapi-codegen/runtime/types"

	"gatehouse/central/registration"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

// moneyOps are the operations of those who take money, and give it back.
type moneyOps struct{ s *Server }

// orderOf finds an order for those who may do something with all of its event; to those
// who may do it at another one there is no such order.
func (o moneyOps) orderOf(ctx context.Context, id uuid.UUID, need staff.Permission) (registration.Order, error) {
	got, err := o.s.cfg.Registration.Orders.Get(ctx, id)
	if err == nil && !staff.FromContext(ctx).May(need, got.Event) {
		err = registration.ErrNoOrder
	}
	return got, err
}

// MarkOrderPaid implements StrictServerInterface.
func (o moneyOps) MarkOrderPaid(ctx context.Context, r MarkOrderPaidRequestObject) (MarkOrderPaidResponseObject, error) {
	if _, err := o.orderOf(ctx, r.OrderId, staff.RegistrationWrite); err != nil {
		return nil, err
	}
	got, err := o.s.cfg.Registration.Payments.MarkPaid(ctx, r.OrderId, orElse(r.Body.Note, ""))
	if err != nil {
		return nil, err
	}
	return MarkOrderPaid200JSONResponse{
		Headers: MarkOrderPaid200ResponseHeaders{ETag: new(tag(got.Rev))}, Body: orderOps(o).answer(&got, "The order is paid for."),
	}, nil
}

// RefundOrder implements StrictServerInterface.
func (o moneyOps) RefundOrder(ctx context.Context, r RefundOrderRequestObject) (RefundOrderResponseObject, error) {
	rev, err := revOf(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	if _, err := o.orderOf(ctx, r.OrderId, staff.OrderRefund); err != nil {
		return nil, err
	}
	got, err := o.s.cfg.Registration.Refunds.Make(ctx, r.OrderId, rev, orElse(r.Body.Items, nil), orElse(r.Body.Reason, ""))
	if err != nil {
		return nil, err
	}
	return RefundOrder200JSONResponse{
		Headers: RefundOrder200ResponseHeaders{ETag: new(tag(got.Rev))}, Body: orderOps(o).answer(&got, "The tickets are taken back."),
	}, nil
}

// HearPayment implements StrictServerInterface.
func (o moneyOps) HearPayment(ctx context.Context, r HearPaymentRequestObject) (HearPaymentResponseObject, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("read message of payment provider: %w", err)
	}
	header := http.Header{}
	if r.Params.StripeSignature != nil {
		header.Set("Stripe-Signature", *r.Params.StripeSignature)
	}
	if err := o.s.cfg.Registration.Payments.Hear(ctx, r.Provider, header, body); err != nil {
		return nil, err
	}
	return HearPayment200JSONResponse{Success: true, Message: "Heard."}, nil
}

// GetRevenue implements StrictServerInterface.
func (o moneyOps) GetRevenue(ctx context.Context, r GetRevenueRequestObject) (GetRevenueResponseObject, error) {
	rows, err := o.s.cfg.Registration.Orders.Revenue(ctx, syncproto.EventNo(r.Id))
	if err != nil {
		return nil, err
	}
	return GetRevenue200JSONResponse{Success: true, Message: "Here is what was taken.", Data: each(rows, showTakings)}, nil
}

func showTakings(t *registration.Takings) Takings {
	day, err := time.Parse(time.DateOnly, t.Day)
	if err != nil {
		panic("a day of the database is one: " + err.Error())
	}
	return Takings{
		Day: openapi_types.Date{Time: day}, TicketType: t.Type, Currency: orNil(t.Currency), Tickets: t.Tickets, Gross: t.Gross, Refunded: t.Refunded,
	}
}
