package ticket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
)

const (
	// importTimeMax is how long one statement of an import may take, the wait
	// for another import of the same event included.
	importTimeMax = "15min"
	// numberLock is the class of the advisory lock under which the numbers of
	// an event's tickets are given out.
	numberLock = 0x7469636b
)

// Import describes an import.
type Import struct {
	Event syncproto.EventNo
	// Source is the CSV file. A header row is required; it names the columns, in
	// any order, of reference, name, email, ticket_type, status and notes, of
	// which reference and ticket_type must be there.
	Source io.Reader
	// Update lets the file change tickets that exist. Of those it changes the
	// columns that it has; an empty status changes nothing, and neither does any
	// status of a revoked ticket. Without it a reference that exists is an error.
	Update bool
	// Progress hears of how much is done out of how much, from any goroutine.
	// Defaults to nobody.
	Progress func(done, total int)
}

// Imported is what an import did.
type Imported struct {
	Added     int `json:"added"`
	Updated   int `json:"updated"`
	Unchanged int `json:"unchanged"`
}

// Import brings in a file of tickets, all of it or nothing. Bad rows are
// reported in a [*FileError], a quota that is too small in a [*FullError]. Tickets that the file does not name stay as they
// are. Of two imports of one event at once the second waits for the first.
func (s *Service) Import(ctx context.Context, req Import) (Imported, error) {
	if req.Progress == nil {
		req.Progress = func(int, int) {}
	}
	rules, err := s.cfg.Programme.Rules(ctx, req.Event)
	if err != nil {
		return Imported{}, err
	}
	signer, err := s.signer(ctx, req.Event)
	if err != nil {
		return Imported{}, err
	}
	types := map[string]*syncproto.TicketType{}
	for i := range rules.Types {
		types[rules.Types[i].Key] = &rules.Types[i]
	}
	sheet, err := readSheet(req.Source, func(key string) bool { return types[key] != nil })
	if err != nil {
		return Imported{}, err
	}
	im := &importer{audit: s.cfg.Audit, req: req, rules: &rules, signer: signer, sheet: sheet, types: types, now: s.now()}
	err = pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error { return im.run(ctx, tx) })
	if bad := (*FileError)(nil); errors.As(err, &bad) {
		return Imported{}, bad
	}
	if full := (*FullError)(nil); errors.As(err, &full) {
		return Imported{}, full
	}
	if err != nil {
		return Imported{}, fmt.Errorf("import tickets: %w", err)
	}
	return im.done, nil
}

// importer is one import in its transaction.
type importer struct {
	audit  Audit
	req    Import
	rules  *syncproto.Rules
	signer *signer
	sheet  sheet
	types  map[string]*syncproto.TicketType
	now    time.Time
	done   Imported
	places Places // that it takes and gives back
}

// run is the transaction. It may run more than once.
func (im *importer) run(ctx context.Context, tx pgx.Tx) error {
	im.done, im.places = Imported{}, Places{}
	next, err := im.lock(ctx, tx)
	if err != nil {
		return err
	}
	existing, err := im.existing(ctx, tx)
	if err != nil {
		return err
	}
	var fresh, known []row
	for _, r := range im.sheet.rows {
		if _, exists := existing[r.reference]; exists {
			known = append(known, r)
		} else {
			fresh = append(fresh, r)
		}
	}
	bad := &im.sheet.bad
	if !im.req.Update {
		bad = bad.with(known, "the reference exists; give --update to change it")
	}
	bad = bad.with(reserved(fresh), "references that begin with "+SoldPrefix+" or "+OrderPrefix+" are for tickets that gates sell or that were ordered; choose another")
	if err := bad.orNil(); err != nil {
		return err
	}
	if err := im.update(ctx, tx, known, existing); err != nil {
		return err
	}
	if err := im.add(ctx, tx, fresh, next); err != nil {
		return err
	}
	if im.done.Added+im.done.Updated > 0 {
		if err := im.audit.Record(ctx, tx, "ticket.import", "event", strconv.FormatUint(uint64(im.req.Event), 10), im.req.Event, nil, im.done); err != nil {
			return err
		}
	}
	return Take(ctx, tx, im.req.Event, im.places)
}

// reserved are the rows whose reference is not for files.
func reserved(rows []row) []row {
	var out []row
	for _, r := range rows {
		if strings.HasPrefix(r.reference, SoldPrefix) || strings.HasPrefix(r.reference, OrderPrefix) {
			out = append(out, r)
		}
	}
	return out
}

// lock waits for others who give out numbers of the event, and returns the first
// that is free.
func (im *importer) lock(ctx context.Context, tx pgx.Tx) (next syncproto.TicketNo, err error) {
	_, err = tx.Exec(ctx, `
		SELECT set_config('statement_timeout', $1, true), set_config('idle_in_transaction_session_timeout', $1, true)`, importTimeMax)
	if err != nil {
		return 0, err
	}
	return NextNumber(ctx, tx, im.req.Event)
}

// current is a ticket as far as a file can change it.
type current struct {
	number syncproto.TicketNo
	row
	typeNo syncproto.TypeNo
}

// existing reads the tickets that the file names, by reference, and keeps them
// from changing until the import is through.
func (im *importer) existing(ctx context.Context, tx pgx.Tx) (map[string]current, error) {
	references := make([]string, len(im.sheet.rows))
	for i, r := range im.sheet.rows {
		references[i] = r.reference
	}
	rows, err := tx.Query(ctx, `
		SELECT number, reference, type_no, holder_name, holder_email, notes, status
		FROM ticket
		WHERE event_id = $1::bigint AND reference = ANY ($2)
		ORDER BY number
		FOR NO KEY UPDATE`, int64(im.req.Event), references)
	if err != nil {
		return nil, err
	}
	tickets, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c current, err error) {
		err = row.Scan(&c.number, &c.reference, &c.typeNo, &c.name, &c.email, &c.notes, &c.status)
		return c, err
	})
	if err != nil {
		return nil, err
	}
	out := make(map[string]current, len(tickets))
	for _, c := range tickets {
		out[c.reference] = c
	}
	return out, nil
}

// merge is what a row of the file makes of a ticket.
func (im *importer) merge(c current, r row) current {
	has := im.sheet.has
	c.typeNo = im.types[r.typeKey].No
	if has[columnName] {
		c.name = r.name
	}
	if has[columnEmail] {
		c.email = r.email
	}
	if has[columnNotes] {
		c.notes = r.notes
	}
	if r.status != "" && c.status != syncproto.StatusRevoked {
		c.status = r.status
	}
	return c
}

// update changes the tickets that exist and differ. Their codes stay.
func (im *importer) update(ctx context.Context, tx pgx.Tx, rows []row, existing map[string]current) error {
	var (
		numbers, types               []int32
		names, emails, notes, status []string
	)
	for _, r := range rows {
		before := existing[r.reference]
		after := im.merge(before, r)
		if after == before {
			im.done.Unchanged++
			continue
		}
		im.places.move(before.typeNo, before.status, after.typeNo, after.status)
		numbers, types = append(numbers, int32(after.number)), append(types, int32(after.typeNo))
		names, emails = append(names, after.name), append(emails, after.email)
		notes, status = append(notes, after.notes), append(status, string(after.status))
	}
	im.done.Updated = len(numbers)
	if len(numbers) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `
		UPDATE ticket t
		SET type_no = n.type_no, holder_name = n.name, holder_email = n.email, notes = n.notes, status = n.status,
		    status_at = CASE WHEN t.status = n.status THEN t.status_at ELSE $8 END,
		    status_reason = CASE WHEN t.status = n.status THEN t.status_reason ELSE '' END
		FROM unnest($2::int[], $3::int[], $4::text[], $5::text[], $6::text[], $7::text[]) AS n (number, type_no, name, email, notes, status)
		WHERE t.event_id = $1::bigint AND t.number = n.number`,
		int64(im.req.Event), numbers, types, names, emails, notes, status, im.now)
	return err
}

// newTicket is a row of the file with what its code signs.
type newTicket struct {
	row
	fields credential.Fields
	hash   syncproto.CodeHash
}

// add signs the codes of new tickets and stores them.
func (im *importer) add(ctx context.Context, tx pgx.Tx, rows []row, next syncproto.TicketNo) error {
	tickets := make([]newTicket, len(rows))
	for i, r := range rows {
		if r.status == "" {
			r.status = syncproto.StatusPaid
		}
		tickets[i].row = r
		tickets[i].fields = newFields(im.signer.current, im.req.Event, next+syncproto.TicketNo(i), im.types[r.typeKey], r.status)
		im.places.move(0, "", tickets[i].fields.Type, r.status)
	}
	total := 2 * len(tickets) // signed, then stored
	err := each(len(tickets), func(i int) (err error) {
		_, tickets[i].hash, err = im.signer.code(tickets[i].fields)
		return err
	}, func(n int) { im.req.Progress(n, total) })
	if err != nil {
		return err
	}
	im.done.Added = len(tickets)
	stored := 0
	_, err = tx.CopyFrom(ctx, pgx.Identifier{"ticket"}, newTicketColumns(), pgx.CopyFromFunc(func() ([]any, error) {
		if stored == len(tickets) {
			return nil, nil
		}
		stored++
		if stored%signChunk == 0 || stored == len(tickets) {
			im.req.Progress(len(tickets)+stored, total)
		}
		return im.values(&tickets[stored-1]), nil
	}))
	return err
}

func newTicketColumns() []string {
	return []string{
		"event_id", "number", "id", "type_no", "reference", "holder_name", "holder_email", "notes", "status", "status_at",
		"key_id", "code_type", "issue", "needs_roster", "not_before", "not_after", "code_hash",
	}
}

func (im *importer) values(t *newTicket) []any {
	f := &t.fields
	return []any{
		int32(f.Event), int32(f.Ticket), syncproto.TicketID(im.rules.Stream, f.Ticket), int16(f.Type), t.reference, t.name, t.email, t.notes, string(t.status), im.now,
		int16(f.Key), int16(f.Type), int16(f.Issue), f.NeedsRoster, unixOrNull(f.NotBefore), unixOrNull(f.NotAfter), t.hash[:],
	}
}
