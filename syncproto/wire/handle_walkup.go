package wire

import (
	"context"

	"github.com/google/uuid"

	"gatehouse/syncproto"
)

func serveLease(ctx context.Context, s *Server, c *call) (reply, error) {
	var req syncproto.LeaseRequest
	if err := parseMessage(c.body, &req); err != nil {
		return reply{}, err
	}
	if req.Request == uuid.Nil || req.Incarnation == uuid.Nil {
		return reply{}, malformed("a lease request names itself and the journal that it is for")
	}
	if req.Extend == uuid.Nil && (req.Type == 0 || req.Count < 1) {
		return reply{}, malformed("a lease request asks for numbers of a ticket type, or for more time")
	}
	if req.Count > syncproto.LeaseCountMax {
		return reply{}, syncproto.Errorf(syncproto.CodeTooLarge, "A lease has at most %d numbers.", syncproto.LeaseCountMax)
	}
	return jsonReply(s.cfg.Service.Lease(ctx, c.auth.device, req))
}

func serveWalkUp(ctx context.Context, s *Server, c *call) (reply, error) {
	var req syncproto.WalkUpRequest
	if err := parseMessage(c.body, &req); err != nil {
		return reply{}, err
	}
	if len(req.Sales) > syncproto.WalkUpSalesMax {
		return reply{}, syncproto.Errorf(syncproto.CodeTooLarge, "A request has at most %d sales.", syncproto.WalkUpSalesMax)
	}
	for i := range req.Sales {
		switch sale := &req.Sales[i]; {
		case len(sale.Sealed) > syncproto.SealedSaleMax:
			return reply{}, syncproto.Errorf(syncproto.CodeTooLarge, "A sealed sale has at most %d bytes.", syncproto.SealedSaleMax)
		case sale.Ticket == 0 || sale.Ticket > 1<<31-1 || len(sale.Sealed) == 0:
			return reply{}, malformed("a sale names its ticket and holds something sealed")
		}
	}
	return jsonReply(s.cfg.Service.WalkUp(ctx, c.auth.device, req))
}
