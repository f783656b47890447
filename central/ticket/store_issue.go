package ticket

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
)

// OrderPrefix begins the reference of every ticket that was made for an order. No
// file brings in a new reference that begins so.
const OrderPrefix = "order-"

const (
	// numberBlock is how many numbers a process takes at a time: so many tickets are
	// made between two waits for the event's numbers.
	numberBlock = 64
	// issuerAgeMax is how soon an Issuer notices another key, type or rule.
	issuerAgeMax = time.Second
)

// ErrNoType means that an event has no ticket type of that key.
var ErrNoType = errors.New("the event has no such ticket type")

// Issuer makes single tickets for orders. All that is slow, which is to give a number
// and to sign, is done by [Issuer.Prepare] before the transaction in which the ticket
// comes to be. It is safe for concurrent use.
type Issuer struct {
	tickets *Service

	mu     sync.Mutex
	events map[syncproto.EventNo]*press
}

// NewIssuer returns an issuer of a service's tickets.
func NewIssuer(s *Service) *Issuer {
	return &Issuer{tickets: s, events: map[syncproto.EventNo]*press{}}
}

// press makes the tickets of one event.
type press struct {
	mu         sync.Mutex // one block at a time
	next, left syncproto.TicketNo
	rules      syncproto.Rules
	signer     *signer
	readAt     time.Time
}

// Wanted is a ticket to be made.
type Wanted struct {
	Type   string // key of the ticket type
	Status syncproto.Status
	Name   string
	Email  string
	Notes  string
}

// Prepared is a ticket with its number and its code. It is none before it was
// inserted; a number that is not used is never used.
type Prepared struct {
	Wanted
	Number syncproto.TicketNo
	ID     uuid.UUID
	Code   string
	TypeNo syncproto.TypeNo

	reference string
	fields    credential.Fields
	hash      syncproto.CodeHash
}

// Prepare numbers and signs tickets of an event; ErrNoType where it has no such type.
func (i *Issuer) Prepare(ctx context.Context, event syncproto.EventNo, wanted []Wanted) ([]Prepared, error) {
	p := i.press(event)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := i.refresh(ctx, p, event); err != nil {
		return nil, err
	}
	out := make([]Prepared, len(wanted))
	for n, w := range wanted {
		typ := typeByKey(&p.rules, w.Type)
		if typ == nil {
			return nil, fmt.Errorf("ticket type %q of event %d: %w", w.Type, event, ErrNoType)
		}
		no, err := i.number(ctx, p, event)
		if err != nil {
			return nil, err
		}
		t := Prepared{Wanted: w, Number: no, ID: syncproto.TicketID(p.rules.Stream, no), TypeNo: typ.No}
		t.reference = OrderPrefix + t.ID.String()
		t.fields = newFields(p.signer.current, event, no, typ, w.Status)
		if t.Code, t.hash, err = p.signer.code(t.fields); err != nil {
			return nil, err
		}
		out[n] = t
	}
	return out, nil
}

func (i *Issuer) press(event syncproto.EventNo) *press {
	i.mu.Lock()
	defer i.mu.Unlock()
	p := i.events[event]
	if p == nil {
		p = &press{}
		i.events[event] = p
	}
	return p
}

// refresh reads keys and types again when they are old.
func (i *Issuer) refresh(ctx context.Context, p *press, event syncproto.EventNo) (err error) {
	now := i.tickets.cfg.Now()
	if age := now.Sub(p.readAt); p.signer != nil && age >= 0 && age < issuerAgeMax {
		return nil
	}
	if p.rules, err = i.tickets.cfg.Programme.Rules(ctx, event); err != nil {
		return err
	}
	if p.signer, err = i.tickets.signer(ctx, event); err != nil {
		return err
	}
	p.readAt = now
	return nil
}

func typeByKey(rules *syncproto.Rules, key string) *syncproto.TicketType {
	for i := range rules.Types {
		if rules.Types[i].Key == key {
			return &rules.Types[i]
		}
	}
	return nil
}

// number is the next one of the block that this process holds; a new block is taken
// where there is none left.
func (i *Issuer) number(ctx context.Context, p *press, event syncproto.EventNo) (syncproto.TicketNo, error) {
	if p.left == 0 {
		err := pg.InTx(ctx, i.tickets.cfg.Pool, func(tx pgx.Tx) (err error) {
			if p.next, err = NextNumber(ctx, tx, event); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, `INSERT INTO number_block (event_id, first_no, count) VALUES ($1::bigint, $2, $3)`,
				int64(event), int64(p.next), numberBlock)
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("take ticket numbers of event %d: %w", event, err)
		}
		p.left = numberBlock
	}
	no := p.next
	p.next, p.left = p.next+1, p.left-1
	return no, nil
}

// Insert makes tickets within a transaction, which takes their places as its last
// statement: [Places] says which, and [Take] takes them.
func Insert(ctx context.Context, tx pgx.Tx, at time.Time, tickets []Prepared) error {
	batch := &pgx.Batch{}
	QueueInsert(batch, at, tickets)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("store tickets: %w", err)
	}
	return nil
}

// QueueInsert is Insert as a part of a batch: one statement, however many they are, so that
// what the schema does behind it is done once.
func QueueInsert(batch *pgx.Batch, at time.Time, tickets []Prepared) {
	if len(tickets) == 0 {
		return
	}
	var r rows
	for i := range tickets {
		r.add(&tickets[i])
	}
	batch.Queue(`
		INSERT INTO ticket (event_id, number, id, type_no, reference, holder_name, holder_email, notes, status, status_at,
		                    key_id, code_type, issue, needs_roster, not_before, not_after, code_hash)
		SELECT event_id, number, id, type_no, reference, holder_name, holder_email, notes, status, $17::timestamptz,
		       key_id, code_type, issue, needs_roster, not_before, not_after, code_hash
		FROM unnest($1::integer[], $2::integer[], $3::uuid[], $4::smallint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
		            $10::smallint[], $11::smallint[], $12::smallint[], $13::boolean[], $14::timestamptz[], $15::timestamptz[], $16::bytea[])
		  AS t (event_id, number, id, type_no, reference, holder_name, holder_email, notes, status,
		        key_id, code_type, issue, needs_roster, not_before, not_after, code_hash)`,
		r.event, r.number, r.id, r.typ, r.reference, r.name, r.email, r.notes, r.status,
		r.key, r.typ, r.issue, r.roster, r.from, r.until, r.hash, at.Truncate(time.Millisecond))
}

// rows are tickets by column.
type rows struct {
	event, number                         []int64
	id                                    []uuid.UUID
	typ, key, issue                       []int16
	reference, name, email, notes, status []string
	roster                                []bool
	from, until                           []*time.Time
	hash                                  [][]byte
}

func (r *rows) add(t *Prepared) {
	f := &t.fields
	r.event, r.number, r.id = append(r.event, int64(f.Event)), append(r.number, int64(f.Ticket)), append(r.id, t.ID)
	r.typ, r.key, r.issue = append(r.typ, int16(f.Type)), append(r.key, int16(f.Key)), append(r.issue, int16(f.Issue))
	r.reference, r.name, r.email = append(r.reference, t.reference), append(r.name, t.Name), append(r.email, t.Email)
	r.notes, r.status, r.roster = append(r.notes, t.Notes), append(r.status, string(t.Status)), append(r.roster, f.NeedsRoster)
	r.from, r.until, r.hash = append(r.from, unixOrNull(f.NotBefore)), append(r.until, unixOrNull(f.NotAfter)), append(r.hash, t.hash[:])
}

// PlacesOf are the places that new tickets take.
func PlacesOf(tickets []Prepared) Places {
	p := Places{}
	for i := range tickets {
		p.move(0, "", tickets[i].TypeNo, tickets[i].Status)
	}
	return p
}
