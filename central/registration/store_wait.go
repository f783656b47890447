package registration

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/central/ticket"
	"gatehouse/syncproto"
)

// Waiters keeps the wait lists of ticket types that are sold out. What comes back is
// offered in the order in which people came, one ticket each: an offer is an order that
// is held for them. It is safe for concurrent use.
type Waiters struct{ s *Service }

// Waiter is somebody on a wait list.
type Waiter struct {
	ID        uuid.UUID
	Event     syncproto.EventNo
	Type      string
	Account   uuid.UUID // Nil for a guest
	Name      string
	Email     string
	State     WaiterState
	Order     uuid.UUID // the offer; Nil before
	Ahead     int       // how many come first; of who waits
	CreatedAt time.Time
}

// WaiterState is how far somebody on a wait list has come.
type WaiterState string

// The states of a waiter.
const (
	Waiting WaiterState = "waiting"
	HasBeen WaiterState = "offered" // their order says what became of it
	Left    WaiterState = "left"
)

const waiterColumns = `w.public_id, w.event_id, y.key, w.account_id, w.name, w.email, w.state, w.order_id,
	(SELECT count(*) FROM waiter f WHERE f.event_id = w.event_id AND f.type_no = w.type_no AND f.state = 'waiting' AND f.id < w.id), w.created_at`

const waiterTables = ` FROM waiter w JOIN ticket_type y ON y.event_id = w.event_id AND y.no = w.type_no `

func scanWaiter(row pgx.CollectableRow) (Waiter, error) {
	var w Waiter
	var account, order *uuid.UUID
	err := row.Scan(&w.ID, &w.Event, &w.Type, &account, &w.Name, &w.Email, &w.State, &order, &w.Ahead, &w.CreatedAt)
	w.Account, w.Order = pg.OrZero(account), pg.OrZero(order)
	return w, err
}

// Join puts somebody on the wait list of a type of which nothing is left; ErrNotFull
// else. Who is on it already stays where they are.
func (w *Waiters) Join(ctx context.Context, r Request) (Waiter, error) {
	s := w.s
	shop, err := s.cfg.Shop(ctx, r.Event)
	if err != nil {
		return Waiter{}, err
	}
	offer, ok := shop.Types[r.Type]
	switch now := s.cfg.Now(); {
	case !shop.Open:
		return Waiter{}, ErrClosed
	case !ok:
		return Waiter{}, ErrNoType
	case !offer.From.IsZero() && now.Before(offer.From) || !offer.Until.IsZero() && !now.Before(offer.Until):
		return Waiter{}, ErrNotSold
	}
	desk, err := s.counter(ctx, r.Event, "")
	if err != nil {
		return Waiter{}, err
	}
	if desk.hidden(offer.No, nil) {
		return Waiter{}, ErrNotSold
	}
	if !desk.waited[offer.No] {
		left, err := w.left(ctx, r.Event, offer.No)
		if err != nil {
			return Waiter{}, err
		}
		if left {
			return Waiter{}, ErrNotFull
		}
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return Waiter{}, fmt.Errorf("join wait list: %w", err)
	}
	if id, err = w.insert(ctx, id, offer.No, &r); err != nil {
		return Waiter{}, fmt.Errorf("join wait list: %w", err)
	}
	return w.Get(ctx, id)
}

// insert puts somebody on a wait list and returns the id of their place: the one of
// before where they have one.
func (w *Waiters) insert(ctx context.Context, id uuid.UUID, typ syncproto.TypeNo, r *Request) (place uuid.UUID, err error) {
	err = pg.InTx(ctx, w.s.cfg.Pool, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `
			INSERT INTO waiter (public_id, event_id, type_no, account_id, name, email, state, created_at)
			VALUES ($1, $2::bigint, $3, $4, $5, $6, 'waiting', $7)
			ON CONFLICT (event_id, type_no, lower(email)) WHERE state = 'waiting' DO UPDATE SET email = waiter.email
			RETURNING public_id`, id, int64(r.Event), int16(typ), pg.OrNull(r.Account), r.Name, r.Email, w.s.cfg.Now()).Scan(&place)
		if err != nil || place != id {
			return err
		}
		return w.s.cfg.Audit.Record(ctx, tx, "waiter.join", "waiter", id.String(), r.Event, nil, map[string]string{"ticket_type": r.Type})
	})
	return place, err
}

// left reports whether a ticket of a type could be had.
func (w *Waiters) left(ctx context.Context, event syncproto.EventNo, typ syncproto.TypeNo) (bool, error) {
	var left bool
	err := w.s.cfg.Pool.QueryRow(ctx, `
		SELECT (c.quota IS NULL OR c.used < c.quota) AND coalesce(l.used < l.quota, true)
		FROM capacity c
		LEFT JOIN event_limit l ON l.event_id = c.event_id
		WHERE c.event_id = $1::bigint AND c.type_no = $2`, int64(event), int16(typ)).Scan(&left)
	if err != nil {
		return false, fmt.Errorf("read what is left: %w", err)
	}
	return left, nil
}

// Get is the place of an id on a wait list; ErrNotFound. The id is known to whom it
// belongs to.
func (w *Waiters) Get(ctx context.Context, id uuid.UUID) (Waiter, error) {
	rows, err := w.s.cfg.Pool.Query(ctx, `SELECT `+waiterColumns+waiterTables+`WHERE w.public_id = $1`, id)
	if err != nil {
		return Waiter{}, fmt.Errorf("read wait list: %w", err)
	}
	out, err := pgx.CollectExactlyOneRow(rows, scanWaiter)
	if errors.Is(err, pgx.ErrNoRows) {
		return Waiter{}, ErrNotFound
	}
	if err != nil {
		return Waiter{}, fmt.Errorf("read wait list: %w", err)
	}
	return out, nil
}

// Leave takes somebody off a wait list; ErrState for who has an offer, which is an order
// that can be cancelled.
func (w *Waiters) Leave(ctx context.Context, id uuid.UUID) error {
	err := pg.InTx(ctx, w.s.cfg.Pool, func(tx pgx.Tx) error {
		var event syncproto.EventNo
		err := tx.QueryRow(ctx, `
			UPDATE waiter SET state = 'left' WHERE public_id = $1 AND state = 'waiting' RETURNING event_id`, id).Scan(&event)
		if err != nil {
			return err
		}
		return w.s.cfg.Audit.Record(ctx, tx, "waiter.leave", "waiter", id.String(), event, nil, nil)
	})
	if err == nil {
		return nil
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("leave wait list: %w", err)
	}
	at, err := w.Get(ctx, id)
	if err == nil && at.State == HasBeen {
		err = ErrState
	}
	return err
}

// List are who waits at an event, and who did, by type and in their order.
func (w *Waiters) List(ctx context.Context, event syncproto.EventNo, after uuid.UUID, limit int) ([]Waiter, error) {
	rows, err := w.s.cfg.Pool.Query(ctx, `
		SELECT `+waiterColumns+waiterTables+`
		WHERE w.event_id = $1::bigint AND w.id > coalesce((SELECT id FROM waiter WHERE public_id = $2), 0)
		ORDER BY w.id
		LIMIT $3`, int64(event), after, min(max(limit, 1), ordersMax+1))
	if err != nil {
		return nil, fmt.Errorf("read wait list: %w", err)
	}
	out, err := pgx.CollectRows(rows, scanWaiter)
	if err != nil {
		return nil, fmt.Errorf("read wait list: %w", err)
	}
	return out, nil
}

// Offer offers what came back to those who wait for it, and says to how many.
func (w *Waiters) Offer(ctx context.Context) (n int, err error) {
	rows, err := w.s.cfg.Pool.Query(ctx, `
		SELECT DISTINCT w.event_id, w.type_no, y.key
		FROM waiter w
		JOIN ticket_type y ON y.event_id = w.event_id AND y.no = w.type_no
		JOIN capacity c ON c.event_id = w.event_id AND c.type_no = w.type_no
		LEFT JOIN event_limit l ON l.event_id = c.event_id
		WHERE w.state = 'waiting' AND (c.quota IS NULL OR c.used < c.quota) AND coalesce(l.used < l.quota, true)
		ORDER BY 1, 2`)
	if err != nil {
		return 0, fmt.Errorf("read wait lists: %w", err)
	}
	type line struct {
		Event syncproto.EventNo
		No    syncproto.TypeNo
		Key   string
	}
	lines, err := pgx.CollectRows(rows, pgx.RowToStructByPos[line])
	if err != nil {
		return 0, fmt.Errorf("read wait lists: %w", err)
	}
	for _, l := range lines {
		shop, err := w.s.cfg.Shop(ctx, l.Event)
		if err != nil {
			return n, err
		}
		for offer := shop.Types[l.Key]; shop.Open; n++ {
			if until := offer.Until; !until.IsZero() && !w.s.cfg.Now().Before(until) {
				break
			}
			err := w.offer(ctx, l.Event, l.Key, &offer)
			if errors.Is(err, errNobody) || errors.Is(err, ErrSoldOut) {
				break
			}
			if err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// errNobody means that there is nobody to make an offer to, or somebody else does.
var errNobody = errors.New("nobody waits")

// offer makes an order for the first of a line.
func (w *Waiters) offer(ctx context.Context, event syncproto.EventNo, key string, offer *Offer) error {
	s := w.s
	now := s.cfg.Now()
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("make offer: %w", err)
	}
	secret, err := s.newKey()
	if err != nil {
		return err
	}
	err = pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		// One copy of central makes the offers of a line, in order.
		var mine bool
		err := tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock($1::int, $2::int)`, waitLock, int32(event)<<8|int32(offer.No)&0xff).Scan(&mine)
		if err != nil {
			return err
		}
		if !mine {
			return errNobody
		}
		var at int64
		var account *uuid.UUID
		o := Order{ID: id, Event: event, State: Pending, CreatedAt: now, HoldUntil: now.Add(s.cfg.OfferHold)}
		err = tx.QueryRow(ctx, `
			SELECT id, account_id, name, email
			FROM waiter
			WHERE event_id = $1::bigint AND type_no = $2 AND state = 'waiting'
			ORDER BY id
			LIMIT 1
			FOR UPDATE`, int64(event), int16(offer.No)).Scan(&at, &account, &o.Name, &o.Email)
		if errors.Is(err, pgx.ErrNoRows) {
			return errNobody
		}
		if err != nil {
			return err
		}
		o.Account, o.Total = pg.OrZero(account), offer.Price
		if o.Total > 0 {
			o.Currency = offer.Currency
		}
		o.Items = []Item{{No: 1, Type: key, TypeNo: offer.No, Price: offer.Price, Name: o.Name, Email: o.Email}}
		batch := &pgx.Batch{}
		queueOrder(batch, &o, secret, nil)
		batch.Queue(`UPDATE waiter SET state = 'offered', order_id = $2 WHERE id = $1`, at, id)
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
		err = s.cfg.Offered(ctx, tx, Offered{Event: event, Order: id, Key: secret, Name: o.Name, Email: o.Email, Until: o.HoldUntil})
		if err != nil {
			return err
		}
		return ticket.Take(ctx, tx, event, placesOf(o.Items, 1))
	})
	if err != nil {
		return mapFull("make offer", err)
	}
	return nil
}

// waitLock is the space of advisory locks for who makes the offers of a line.
const waitLock = 0x57a17
