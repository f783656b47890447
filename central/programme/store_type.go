package programme

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// Types keeps the ticket types of events. Gates hear of a change that decides
// admissions, by triggers of the schema. It is safe for concurrent use.
type Types struct{ b *base }

const typeColumns = `no, rev, key, name, description, zones, valid_from, valid_until, coalesce(entries_total, 0), coalesce(entries_per_day, 0),
	reentry, coalesce(quota, 0), price, currency, sales_from, sales_until, order_min, coalesce(order_max, 0)`

func scanType(row pgx.CollectableRow) (TicketType, error) {
	var t TicketType
	var from, until, sold, ends *time.Time
	err := row.Scan(&t.No, &t.Rev, &t.Key, &t.Name, &t.Description, &t.Zones, &from, &until, &t.EntriesTotal, &t.EntriesPerDay,
		&t.Reentry, &t.Quota, &t.Price, &t.Currency, &sold, &ends, &t.OrderMin, &t.OrderMax)
	t.ValidFrom, t.ValidUntil, t.SalesFrom, t.SalesUntil = pg.OrZero(from), pg.OrZero(until), pg.OrZero(sold), pg.OrZero(ends)
	return t, err
}

func listTypes(ctx context.Context, db querier, event syncproto.EventNo) ([]TicketType, error) {
	return all(ctx, db, scanType, `SELECT `+typeColumns+` FROM ticket_type WHERE event_id = $1::bigint ORDER BY no`, int64(event))
}

// Of returns the ticket types of several events by number, in one query. An event
// without types, or that is not there, has none.
func (s *Types) Of(ctx context.Context, events []syncproto.EventNo) (map[syncproto.EventNo][]TicketType, error) {
	numbers := make([]int64, len(events))
	for i, no := range events {
		numbers[i] = int64(no)
	}
	type row struct {
		event int64
		TicketType
	}
	rows, err := all(ctx, s.b.pool, func(r pgx.CollectableRow) (row, error) {
		var out row
		t, err := scanType(ofEvent{r, &out.event})
		out.TicketType = t
		return out, err
	}, `SELECT `+typeColumns+`, event_id FROM ticket_type WHERE event_id = ANY ($1::bigint[]) ORDER BY event_id, no`, numbers)
	if err != nil {
		return nil, fmt.Errorf("read ticket types: %w", err)
	}
	out := make(map[syncproto.EventNo][]TicketType, len(events))
	for _, r := range rows {
		no := syncproto.EventNo(r.event)
		out[no] = append(out[no], r.TicketType)
	}
	return out, nil
}

// ofEvent is a row that ends with the event.
type ofEvent struct {
	pgx.CollectableRow
	event *int64
}

// Scan implements pgx.CollectableRow.
func (r ofEvent) Scan(dest ...any) error { return r.CollectableRow.Scan(append(dest, r.event)...) }

func readType(ctx context.Context, db querier, event syncproto.EventNo, no syncproto.TypeNo) (TicketType, error) {
	return one(ctx, db, noSuch("ticket type", int64(no)), scanType,
		`SELECT `+typeColumns+` FROM ticket_type WHERE event_id = $1::bigint AND no = $2::int`, int64(event), int32(no))
}

// List returns the ticket types of an event by number.
func (s *Types) List(ctx context.Context, event syncproto.EventNo) ([]TicketType, error) {
	out, err := listTypes(ctx, s.b.pool, event)
	if err != nil {
		return nil, fmt.Errorf("list ticket types: %w", err)
	}
	return out, nil
}

// Get returns a ticket type.
func (s *Types) Get(ctx context.Context, event syncproto.EventNo, no syncproto.TypeNo) (TicketType, error) {
	return readType(ctx, s.b.pool, event, no)
}

// ByKey returns the ticket type of a key, or [ErrNoType].
func (s *Types) ByKey(ctx context.Context, event syncproto.EventNo, key string) (TicketType, error) {
	if !storable(key) {
		return TicketType{}, ErrNoType
	}
	return one(ctx, s.b.pool, ErrNoType, scanType,
		`SELECT `+typeColumns+` FROM ticket_type WHERE event_id = $1::bigint AND key = $2`, int64(event), key)
}

func typeEntry(verb string, event syncproto.EventNo, no syncproto.TypeNo) deed {
	return deed{Action: "ticket_type." + verb, Kind: "ticket_type", ID: fmt.Sprint(no), Event: event}
}

// Create adds a ticket type to an event. Its number is one that none ever had.
func (s *Types) Create(ctx context.Context, event syncproto.EventNo, in TypeInput) (TicketType, error) {
	return s.write(ctx, "create", event, func(tx pgx.Tx, e *Event) (no syncproto.TypeNo, before any, err error) {
		t, err := in.checkFor(e)
		if err != nil {
			return 0, nil, err
		}
		var last int
		if err := tx.QueryRow(ctx, `SELECT last_type FROM event WHERE id = $1::bigint`, int64(event)).Scan(&last); err != nil {
			return 0, nil, err
		}
		if last >= TicketTypesMax {
			return 0, nil, invalid("ticket_types", "an event has at most %d ticket types in its life, those that were removed included", TicketTypesMax)
		}
		no = syncproto.TypeNo(last + 1)
		if _, err := tx.Exec(ctx, `UPDATE event SET last_type = $2 WHERE id = $1::bigint`, int64(event), int16(no)); err != nil {
			return 0, nil, err
		}
		_, err = tx.Exec(ctx, `
			INSERT INTO ticket_type (event_id, no, key, name, description, zones, valid_from, valid_until, entries_total, entries_per_day,
			                         reentry, quota, price, currency, sales_from, sales_until, order_min, order_max)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`, typeArgs(event, no, &t)...)
		return no, nil, err
	})
}

func typeArgs(event syncproto.EventNo, no syncproto.TypeNo, t *TicketType) []any {
	return []any{
		int64(event), int16(no), t.Key, t.Name, t.Description, orEmpty(t.Zones), pg.OrNull(t.ValidFrom), pg.OrNull(t.ValidUntil),
		pg.OrNull(t.EntriesTotal), pg.OrNull(t.EntriesPerDay), t.Reentry, pg.OrNull(t.Quota), t.Price, t.Currency,
		pg.OrNull(t.SalesFrom), pg.OrNull(t.SalesUntil), t.OrderMin, pg.OrNull(t.OrderMax),
	}
}

// checkFor is check in the timezone of an event.
func (in TypeInput) checkFor(e *Event) (TicketType, error) {
	loc, err := Location(e.Timezone)
	if err != nil {
		return TicketType{}, fmt.Errorf("timezone of event %d: %w", e.No, err)
	}
	return in.check(loc)
}

// Update changes a ticket type, also of tickets that were sold. A quota below what is
// taken is an [*InvalidError]. rev is the revision that the caller has seen; 0 is any.
func (s *Types) Update(ctx context.Context, event syncproto.EventNo, no syncproto.TypeNo, rev int64, in TypeInput) (TicketType, error) {
	return s.write(ctx, "update", event, func(tx pgx.Tx, e *Event) (syncproto.TypeNo, any, error) {
		t, err := in.checkFor(e)
		if err != nil {
			return 0, nil, err
		}
		before, err := readType(ctx, tx, event, no)
		if err != nil {
			return 0, nil, err
		}
		if rev != 0 && rev != before.Rev {
			return 0, nil, &StaleError{Kind: "ticket type", Rev: rev, Current: before.Rev}
		}
		_, err = tx.Exec(ctx, `
			UPDATE ticket_type
			SET key = $3, name = $4, description = $5, zones = $6, valid_from = $7, valid_until = $8, entries_total = $9,
			    entries_per_day = $10, reentry = $11, quota = $12, price = $13, currency = $14, sales_from = $15, sales_until = $16,
			    order_min = $17, order_max = $18
			WHERE event_id = $1 AND no = $2`, typeArgs(event, no, &t)...)
		return no, before, err
	})
}

// write runs fn on a locked event and reads the type that it made or changed.
func (s *Types) write(ctx context.Context, verb string, event syncproto.EventNo,
	fn func(tx pgx.Tx, e *Event) (no syncproto.TypeNo, before any, err error),
) (TicketType, error) {
	var after TicketType
	err := pg.InTx(ctx, s.b.pool, func(tx pgx.Tx) error {
		e, err := lockEvent(ctx, tx, event, 0)
		if err != nil {
			return err
		}
		no, before, err := fn(tx, &e)
		if err != nil {
			return err
		}
		if err := checkRules(ctx, tx, event); err != nil {
			return err
		}
		if after, err = readType(ctx, tx, event, no); err != nil {
			return err
		}
		return s.b.record(ctx, tx, typeEntry(verb, event, no), before, after)
	})
	if err != nil {
		return TicketType{}, fmt.Errorf("%s ticket type: %w", verb, explain(err))
	}
	return after, nil
}

// Delete removes a ticket type that no ticket ever was of and no gate may sell; else
// the error is an [*InUseError]. A type that is no longer sold ends its sales instead.
func (s *Types) Delete(ctx context.Context, event syncproto.EventNo, no syncproto.TypeNo, rev int64) error {
	err := pg.InTx(ctx, s.b.pool, func(tx pgx.Tx) error {
		if _, err := closeEvent(ctx, tx, event, 0); err != nil {
			return err
		}
		// Before its capacity, which the schema removes with it: whoever takes a lease
		// locks them in this order.
		_, err := tx.Exec(ctx, `SELECT FROM ticket_type WHERE event_id = $1::bigint AND no = $2::int FOR UPDATE`, int64(event), int32(no))
		if err != nil {
			return err
		}
		before, err := readType(ctx, tx, event, no)
		if err != nil {
			return err
		}
		if rev != 0 && rev != before.Rev {
			return &StaleError{Kind: "ticket type", Rev: rev, Current: before.Rev}
		}
		// A ticket that became one of another type still has a code that says this one.
		var signed bool
		err = tx.QueryRow(ctx, `
			SELECT EXISTS (SELECT FROM ticket WHERE event_id = $1::bigint AND code_type = $2::int)`, int64(event), int32(no)).Scan(&signed)
		if err != nil {
			return err
		}
		if signed {
			return &InUseError{Kind: "ticket type", By: usedBy("ticket")}
		}
		if _, err := tx.Exec(ctx, `DELETE FROM ticket_type WHERE event_id = $1::bigint AND no = $2::int`, int64(event), int32(no)); err != nil {
			return err
		}
		return s.b.record(ctx, tx, typeEntry("delete", event, no), before, nil)
	})
	if err != nil {
		return fmt.Errorf("delete ticket type: %w", explainRemoval("ticket type", err))
	}
	return nil
}

// Zones keeps the zones of events. Gates hear of every change. It is safe for
// concurrent use.
type Zones struct{ b *base }

func listZones(ctx context.Context, db querier, event syncproto.EventNo) ([]Zone, error) {
	return all(ctx, db, pgx.RowToStructByPos[Zone], `
		SELECT rev, name, coalesce(parent, ''), position
		FROM zone
		WHERE event_id = $1::bigint
		ORDER BY position, name`, int64(event))
}

func readZone(ctx context.Context, db querier, event syncproto.EventNo, name string) (Zone, error) {
	absent := &missing{fmt.Sprintf("there is no zone %.40q", name)}
	if !storable(name) {
		return Zone{}, absent
	}
	return one(ctx, db, absent, pgx.RowToStructByPos[Zone], `
		SELECT rev, name, coalesce(parent, ''), position
		FROM zone
		WHERE event_id = $1::bigint AND name = $2`, int64(event), name)
}

// List returns the zones of an event in their order.
func (s *Zones) List(ctx context.Context, event syncproto.EventNo) ([]Zone, error) {
	out, err := listZones(ctx, s.b.pool, event)
	if err != nil {
		return nil, fmt.Errorf("list zones: %w", err)
	}
	return out, nil
}

// Create adds a zone to an event. Ticket types that have all zones have it too.
func (s *Zones) Create(ctx context.Context, event syncproto.EventNo, z Zone) (Zone, error) {
	return s.write(ctx, "create", event, z, func(tx pgx.Tx, z Zone) (any, error) {
		_, err := tx.Exec(ctx, `
			INSERT INTO zone (event_id, name, parent, position)
			VALUES ($1, $2, $3, $4)`, int64(event), z.Name, pg.OrNull(z.Parent), z.Sort)
		return nil, err
	})
}

// Update changes the parent and the place in the order of the zone z.Name.
func (s *Zones) Update(ctx context.Context, event syncproto.EventNo, z Zone) (Zone, error) {
	return s.write(ctx, "update", event, z, func(tx pgx.Tx, z Zone) (any, error) {
		before, err := readZone(ctx, tx, event, z.Name)
		if err != nil {
			return nil, err
		}
		if z.Rev != 0 && z.Rev != before.Rev {
			return nil, &StaleError{Kind: "zone", Rev: z.Rev, Current: before.Rev}
		}
		_, err = tx.Exec(ctx, `
			UPDATE zone SET parent = $3, position = $4
			WHERE event_id = $1 AND name = $2`, int64(event), z.Name, pg.OrNull(z.Parent), z.Sort)
		return before, err
	})
}

func (s *Zones) write(ctx context.Context, verb string, event syncproto.EventNo, z Zone, fn func(tx pgx.Tx, z Zone) (before any, err error)) (Zone, error) {
	var c checker
	z.Name, z.Parent, z.Sort = c.name("name", z.Name), c.line("parent", z.Parent, NameMax), c.count("sort", z.Sort)
	if err := c.err(); err != nil {
		return Zone{}, err
	}
	var after Zone
	err := pg.InTx(ctx, s.b.pool, func(tx pgx.Tx) error {
		if _, err := lockEvent(ctx, tx, event, 0); err != nil {
			return err
		}
		before, err := fn(tx, z)
		if err != nil {
			return pg.MapViolation(err, map[string]error{"zone_event_id_parent_fkey": invalid("parent", "there is no zone %q", z.Parent)})
		}
		if err := checkRules(ctx, tx, event); err != nil {
			return err
		}
		if after, err = readZone(ctx, tx, event, z.Name); err != nil {
			return err
		}
		return s.b.record(ctx, tx, zoneEntry(verb, event, z.Name), before, after)
	})
	if err != nil {
		return Zone{}, fmt.Errorf("%s zone: %w", verb, explain(err))
	}
	return after, nil
}

func zoneEntry(verb string, event syncproto.EventNo, name string) deed {
	for len(name) > IDMax {
		_, last := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-last]
	}
	return deed{Action: "zone." + verb, Kind: "zone", ID: name, Event: event}
}

// Delete removes a zone that nothing refers to and nobody was seen at; else the error
// is an [*InUseError]. An event keeps its last zone.
func (s *Zones) Delete(ctx context.Context, event syncproto.EventNo, name string, rev int64) error {
	err := pg.InTx(ctx, s.b.pool, func(tx pgx.Tx) error {
		if _, err := lockEvent(ctx, tx, event, 0); err != nil {
			return err
		}
		before, err := readZone(ctx, tx, event, name)
		if err != nil {
			return err
		}
		if rev != 0 && rev != before.Rev {
			return &StaleError{Kind: "zone", Rev: rev, Current: before.Rev}
		}
		if err := zoneUnused(ctx, tx, event, name); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM zone WHERE event_id = $1::bigint AND name = $2`, int64(event), name); err != nil {
			return err
		}
		return s.b.record(ctx, tx, zoneEntry("delete", event, name), before, nil)
	})
	if err != nil {
		return fmt.Errorf("delete zone: %w", explainRemoval("zone", err))
	}
	return nil
}

// zoneUnused looks for what names a zone without a foreign key.
func zoneUnused(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, name string) error {
	var typed, last, seen bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM ticket_type WHERE event_id = $1::bigint AND $2 = ANY (zones)),
		       NOT EXISTS (SELECT FROM zone WHERE event_id = $1::bigint AND name <> $2),
		       EXISTS (SELECT FROM checkin_entry WHERE event_id = $1::bigint AND zone = $2)`, int64(event), name).Scan(&typed, &last, &seen)
	switch {
	case err != nil:
		return err
	case typed:
		return &InUseError{Kind: "zone", By: "a ticket type names it"}
	case last:
		return &InUseError{Kind: "zone", By: "it is the only one of the event"}
	case seen:
		return &InUseError{Kind: "zone", By: "gates have admitted to it"}
	}
	return nil
}
