package walkup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/central/pg"
	"gatehouse/central/ticket"
	"gatehouse/syncproto"
	"gatehouse/syncproto/lease"
)

// ErrNoLease means that an event has no lease of that id.
var ErrNoLease = errors.New("there is no such lease; `central lease list` prints those that there are")

// Tickets is what is asked of the tickets.
type Tickets interface {
	// Name stores who a ticket was sold to; see ticket.Service.Name.
	Name(ctx context.Context, event syncproto.EventNo, d syncproto.SaleDetails) error
}

// Config says what the service works on. All fields are required but Now.
type Config struct {
	// Pool is central's database.
	Pool *pgxpool.Pool
	// Tickets takes the names of holders.
	Tickets Tickets
	// Open decrypts what a gate sealed to central.
	Open func(ctx context.Context, key syncproto.KeyID, purpose string, sealed []byte) ([]byte, error)
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

// Service leases numbers. It is safe for concurrent use.
type Service struct{ cfg Config }

// New returns the service.
func New(cfg Config) (*Service, error) {
	if cfg.Pool == nil || cfg.Tickets == nil || cfg.Open == nil {
		return nil, errors.New("new walk-up service: a pool, the tickets and what opens sealed sales are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg: cfg}, nil
}

// now is the clock in the precision in which gates are told times.
func (s *Service) now() time.Time { return s.cfg.Now().Truncate(time.Millisecond) }

const bookColumns = `id, rev, device_id, incarnation, type_no, first_no, count, granted_at, expires_at, state, sold, last_sold`

func scanBook(row pgx.CollectableRow) (b lease.Book, err error) {
	var granted, expires time.Time
	err = row.Scan(&b.ID, &b.Rev, &b.Device, &b.Incarnation, &b.Type, &b.First, &b.Count, &granted, &expires, &b.State, &b.Sold, &b.LastSold)
	b.Granted, b.Expires = granted.UnixMilli(), expires.UnixMilli()
	return b, err
}

// Lease answers a lease request of a gate. Refusals are *syncproto.Error.
func (s *Service) Lease(ctx context.Context, device uuid.UUID, req syncproto.LeaseRequest) (syncproto.LeaseReply, error) {
	var reply syncproto.LeaseReply
	err := pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		event, err := lockGate(ctx, tx, device)
		if err != nil {
			return err
		}
		var b lease.Book
		if req.Extend != uuid.Nil {
			b, err = s.extend(ctx, tx, device, req.Extend)
		} else {
			b, err = s.grant(ctx, tx, event, device, req)
		}
		if err != nil {
			return err
		}
		reply = syncproto.LeaseReply{}
		typ := req.Type
		if b.ID != uuid.Nil {
			reply.Lease, typ = &b.Lease, b.Type
		}
		reply.Left, err = left(ctx, tx, event, typ)
		return err
	})
	if err != nil {
		return syncproto.LeaseReply{}, fmt.Errorf("lease numbers: %w", err)
	}
	return reply, nil
}

// lockGate reads the event of a gate that may sell, and makes a revocation of it
// wait until this transaction has ended.
func lockGate(ctx context.Context, tx pgx.Tx, device uuid.UUID) (syncproto.EventNo, error) {
	var event syncproto.EventNo
	var revoked, quarantined bool
	err := tx.QueryRow(ctx, `
		SELECT event_id, revoked_at IS NOT NULL, quarantined_at IS NOT NULL
		FROM gate
		WHERE device_id = $1
		FOR KEY SHARE`, device).Scan(&event, &revoked, &quarantined)
	switch {
	case err != nil:
		return 0, fmt.Errorf("read gate: %w", err)
	case revoked:
		return 0, syncproto.Errorf(syncproto.CodeRevoked, "This gate was revoked; enrol it again with a new token.")
	case quarantined:
		return 0, syncproto.Errorf(syncproto.CodeForbidden, "This gate is in quarantine, so it gets no tickets to sell until an operator releases it.")
	}
	return event, nil
}

// extend gives an open lease more time, up to LeaseAgeMax from when it was granted:
// a gate keeps its journal for longer than that.
func (s *Service) extend(ctx context.Context, tx pgx.Tx, device, id uuid.UUID) (lease.Book, error) {
	rows, err := tx.Query(ctx, `
		UPDATE lease
		SET expires_at = greatest(expires_at, least($3, granted_at + $4::interval))
		WHERE id = $1 AND device_id = $2 AND state = 'open'
		RETURNING `+bookColumns, id, device, s.now().Add(syncproto.LeaseValidity), syncproto.LeaseAgeMax)
	if err != nil {
		return lease.Book{}, fmt.Errorf("extend: %w", err)
	}
	b, err := pgx.CollectExactlyOneRow(rows, scanBook)
	if errors.Is(err, pgx.ErrNoRows) {
		return b, syncproto.Errorf(syncproto.CodeNotFound, "This gate has no such open lease.")
	}
	return b, err
}

// grant makes a lease, or finds the one that the same request got. The zero book
// is no lease: nothing is left. Numbers are locked first and the places last.
func (s *Service) grant(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, device uuid.UUID, req syncproto.LeaseRequest) (lease.Book, error) {
	var none lease.Book
	first, err := ticket.NextNumber(ctx, tx, event)
	if err != nil {
		return none, err
	}
	rows, err := tx.Query(ctx, `SELECT `+bookColumns+` FROM lease WHERE device_id = $1 AND request = $2`, device, req.Request)
	if err != nil {
		return none, err
	}
	before, err := pgx.CollectExactlyOneRow(rows, scanBook)
	if err == nil || !errors.Is(err, pgx.ErrNoRows) {
		return before, err
	}
	account, err := ticket.LockAccount(ctx, tx, event, req.Type)
	if errors.Is(err, pgx.ErrNoRows) {
		return none, syncproto.Errorf(syncproto.CodeNotFound, "The event has no ticket type %d.", req.Type)
	}
	if err != nil {
		return none, err
	}
	var held int
	err = tx.QueryRow(ctx, `
		SELECT coalesce(sum(count - sold), 0)
		FROM lease
		WHERE device_id = $1 AND type_no = $2 AND state = 'open'`, device, req.Type).Scan(&held)
	if err != nil {
		return none, err
	}
	n := account.Grant(req.Count, held)
	if n == 0 {
		return none, nil
	}
	if int64(first)+int64(n) > 1<<31-1 {
		return none, syncproto.Errorf(syncproto.CodeNotFound, "The event has no ticket numbers left.")
	}
	b, err := s.insert(ctx, tx, event, device, req, first, n)
	if err != nil {
		return none, err
	}
	return b, ticket.Take(ctx, tx, event, ticket.Places{req.Type: n})
}

func (s *Service) insert(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, device uuid.UUID, req syncproto.LeaseRequest, first syncproto.TicketNo, n int) (lease.Book, error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return lease.Book{}, fmt.Errorf("lease id: %w", err)
	}
	rows, err := tx.Query(ctx, `
		INSERT INTO lease (id, event_id, device_id, request, incarnation, type_no, first_no, block, count, granted_at, expires_at, state)
		VALUES ($1, $2::bigint, $3, $4, $5, $6, $7::bigint, $8, $8, $9, $10, 'open')
		RETURNING `+bookColumns,
		id, int64(event), device, req.Request, req.Incarnation, req.Type, int64(first), n, s.now(), s.now().Add(syncproto.LeaseValidity))
	if err != nil {
		return lease.Book{}, fmt.Errorf("store lease: %w", err)
	}
	return pgx.CollectExactlyOneRow(rows, scanBook)
}

// left is how many places of a type are free; -1 where it has no quota.
func left(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, typ syncproto.TypeNo) (int, error) {
	a, err := ticket.LockAccount(ctx, tx, event, typ)
	return a.Left(), err
}

// WalkUp stores who tickets were sold to, a sale at a time: each is durable when
// it is among those that were taken. What cannot be opened or does not belong to
// its ticket is refused for good; of a sale whose journal entry is still on its way
// the gate is told nothing, and keeps the name.
func (s *Service) WalkUp(ctx context.Context, device uuid.UUID, req syncproto.WalkUpRequest) (syncproto.WalkUpReply, error) {
	var reply syncproto.WalkUpReply
	var event syncproto.EventNo
	if err := s.cfg.Pool.QueryRow(ctx, `SELECT event_id FROM gate WHERE device_id = $1`, device).Scan(&event); err != nil {
		return reply, fmt.Errorf("read gate: %w", err)
	}
	for i := range req.Sales {
		n := req.Sales[i].Ticket
		err := s.name(ctx, event, &req.Sales[i])
		if errors.Is(err, ticket.ErrNotYet) {
			var awaited bool
			if awaited, err = s.awaited(ctx, event, n); err == nil && awaited {
				continue
			}
			if err == nil {
				err = ticket.ErrNotSold
			}
		}
		switch {
		case err == nil:
			reply.Taken = append(reply.Taken, n)
		case errors.Is(err, ticket.ErrNotSold):
			reply.Refused = append(reply.Refused, n)
		default:
			return syncproto.WalkUpReply{}, fmt.Errorf("name holder of ticket %d: %w", n, err)
		}
	}
	return reply, nil
}

// name opens a sale and has its name stored. ErrNotSold stands for all that is not
// what it says to be.
func (s *Service) name(ctx context.Context, event syncproto.EventNo, sale *syncproto.SealedSale) error {
	var d syncproto.SaleDetails
	plain, err := s.cfg.Open(ctx, sale.Key, syncproto.PurposeWalkUp, sale.Sealed)
	if err != nil || json.Unmarshal(plain, &d) != nil || d.Event != event || d.Ticket != sale.Ticket || !wellFormed(d.Name) || !wellFormed(d.Email) {
		return ticket.ErrNotSold
	}
	return s.cfg.Tickets.Name(ctx, event, d)
}

// wellFormed reports whether a text of a sale can be stored and shown.
func wellFormed(text string) bool {
	if len(text) > syncproto.TextMax || !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		if r < ' ' || r == 0x7f {
			return false
		}
	}
	return true
}

// awaited reports whether a number may become a ticket by a sale that is on its way.
func (s *Service) awaited(ctx context.Context, event syncproto.EventNo, n syncproto.TicketNo) (bool, error) {
	var open bool
	err := s.cfg.Pool.QueryRow(ctx, `
		SELECT EXISTS (
		  SELECT FROM lease
		  WHERE event_id = $1::bigint AND state = 'open' AND $2::bigint >= first_no AND $2::bigint < first_no + count)`,
		int64(event), int64(n)).Scan(&open)
	return open, err
}
