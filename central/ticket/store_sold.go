package ticket

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
)

// SoldPrefix begins the reference of every ticket that was sold at a gate. The
// number of the ticket follows. No file brings in a new reference that begins so.
const SoldPrefix = "walkup-"

// Sold is a ticket that a gate sold.
type Sold struct {
	Number syncproto.TicketNo
	Type   syncproto.TypeNo
	Hash   syncproto.CodeHash
	By     uuid.UUID // the gate, whose key signed the code
	At     time.Time
}

// InsertSold makes proper tickets of what gates sold. Their places are taken
// already, by the leases that they are of, and their numbers are of no ticket.
func InsertSold(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, stream uuid.UUID, sold []Sold) error {
	if len(sold) == 0 {
		return nil
	}
	var (
		numbers, types []int32
		ids, by        []uuid.UUID
		references     []string
		hashes         [][]byte
		at             []time.Time
	)
	for i := range sold {
		t := &sold[i]
		numbers, types = append(numbers, int32(t.Number)), append(types, int32(t.Type))
		ids, by = append(ids, syncproto.TicketID(stream, t.Number)), append(by, t.By)
		references = append(references, SoldPrefix+strconv.FormatUint(uint64(t.Number), 10))
		hashes, at = append(hashes, t.Hash[:]), append(at, t.At)
	}
	// A reference of before there were leases may look the same; that ticket keeps it.
	_, err := tx.Exec(ctx, `
		INSERT INTO ticket (event_id, number, id, type_no, reference, status, status_at, key_id, code_type, needs_roster,
		                    not_after, code_hash, sold_by)
		SELECT $1::bigint, v.number, v.id, v.type_no,
		       CASE WHEN EXISTS (SELECT FROM ticket o WHERE o.event_id = $1::bigint AND o.reference = v.reference)
		         THEN v.reference || '-' || v.id ELSE v.reference END,
		       'paid', v.at, 0, v.type_no, false, y.valid_until, v.hash, v.by
		FROM unnest($2::int[], $3::uuid[], $4::int[], $5::text[], $6::bytea[], $7::uuid[], $8::timestamptz[])
		  AS v (number, id, type_no, reference, hash, by, at)
		JOIN ticket_type y ON y.event_id = $1::bigint AND y.no = v.type_no
		ORDER BY v.number`, int64(event), numbers, ids, types, references, hashes, by, at)
	if err != nil {
		return fmt.Errorf("make tickets of sales: %w", err)
	}
	return nil
}

// Taken tells which of the numbers are tickets.
func Taken(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, numbers []syncproto.TicketNo) (map[syncproto.TicketNo]bool, error) {
	wanted := make([]int64, len(numbers))
	for i, n := range numbers {
		wanted[i] = int64(n)
	}
	rows, err := tx.Query(ctx, `
		SELECT number FROM ticket
		WHERE event_id = $1::bigint AND number = ANY ($2::bigint[])`, int64(event), wanted)
	if err != nil {
		return nil, fmt.Errorf("find tickets of numbers: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[syncproto.TicketNo])
	if err != nil {
		return nil, fmt.Errorf("find tickets of numbers: %w", err)
	}
	out := make(map[syncproto.TicketNo]bool, len(found))
	for _, n := range found {
		out[n] = true
	}
	return out, nil
}

// ErrNotSold means that a number is no ticket that a gate sold with that code.
var ErrNotSold = errors.New("no ticket was sold under that number with that code")

// ErrNotYet means that a number is no ticket at all.
var ErrNotYet = errors.New("there is no such ticket")

// Name stores who a ticket was sold to at a gate, and its code. It does so once:
// what an organiser has changed since stands. d.Code is what proves that the caller
// may; ErrNotSold where it does not, ErrNotYet where there is no such ticket.
func (s *Service) Name(ctx context.Context, event syncproto.EventNo, d syncproto.SaleDetails) error {
	hashKey, err := s.cfg.Programme.HashKey(ctx, event)
	if err != nil {
		return err
	}
	hash := credential.NewHasher(hashKey).Sum([]byte(d.Code))
	return pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		var stored []byte
		var sold, named bool
		err := tx.QueryRow(ctx, `
			SELECT code_hash, sold_by IS NOT NULL, sold_code IS NOT NULL
			FROM ticket
			WHERE event_id = $1::bigint AND number = $2::bigint
			FOR NO KEY UPDATE`, int64(event), int64(d.Ticket)).Scan(&stored, &sold, &named)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return ErrNotYet
		case err != nil:
			return fmt.Errorf("read ticket: %w", err)
		case !sold || string(stored) != string(hash[:]):
			return ErrNotSold
		case named:
			return nil
		}
		_, err = tx.Exec(ctx, `
			UPDATE ticket
			SET holder_name = $3, holder_email = $4, sold_code = $5
			WHERE event_id = $1::bigint AND number = $2::bigint`, int64(event), int64(d.Ticket), d.Name, d.Email, d.Code)
		if err != nil {
			return fmt.Errorf("name holder: %w", err)
		}
		return nil
	})
}
