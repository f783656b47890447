package ticket

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
)

// ReasonMax is the longest reason of a revocation, in bytes.
const ReasonMax = syncproto.TextMax

// ErrNoTicket means that no ticket of an event has that reference.
var ErrNoTicket = errors.New("there is no ticket of that reference; check it against `central ticket codes`")

// Programme is what ticket asks of the programme.
type Programme interface {
	Rules(ctx context.Context, event syncproto.EventNo) (syncproto.Rules, error)
	HashKey(ctx context.Context, event syncproto.EventNo) ([]byte, error)
}

// Keys has the keys that sign codes: all of them, and which signs new ones.
type Keys interface {
	TicketKeys(ctx context.Context) (current syncproto.KeyID, keys map[syncproto.KeyID]ed25519.PrivateKey, err error)
}

// Config is what the service needs.
type Config struct {
	// Pool is the database. Required.
	Pool *pgxpool.Pool
	// Programme reads events. Required.
	Programme Programme
	// Keys signs. Required.
	Keys Keys
	// Audit is told of what is done to tickets beside orders, in its transaction.
	// Defaults to nothing.
	Audit Audit
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

// Audit is told of every write within its transaction; its error undoes the write.
type Audit interface {
	// Record hears what was done to a subject, and how that was before and after, as
	// encoding/json writes it; nil for what was not there.
	Record(ctx context.Context, tx pgx.Tx, action, kind, id string, event syncproto.EventNo, before, after any) error
}

// silent is an Audit that nobody reads.
type silent struct{}

func (silent) Record(context.Context, pgx.Tx, string, string, string, syncproto.EventNo, any, any) error {
	return nil
}

// Service keeps tickets. It is safe for concurrent use.
type Service struct{ cfg Config }

// New returns the service.
func New(cfg Config) (*Service, error) {
	if cfg.Pool == nil || cfg.Programme == nil || cfg.Keys == nil {
		return nil, errors.New("new ticket service: a pool, the programme and keys are required")
	}
	if cfg.Audit == nil {
		cfg.Audit = silent{}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg: cfg}, nil
}

// now is the clock in the precision in which gates are told times.
func (s *Service) now() time.Time { return s.cfg.Now().Truncate(time.Millisecond) }

// signer has what makes the codes of an event.
func (s *Service) signer(ctx context.Context, event syncproto.EventNo) (*signer, error) {
	hashKey, err := s.cfg.Programme.HashKey(ctx, event)
	if err != nil {
		return nil, err
	}
	current, keys, err := s.cfg.Keys.TicketKeys(ctx)
	if err != nil {
		return nil, err
	}
	return &signer{current: current, keys: keys, hasher: credential.NewHasher(hashKey)}, nil
}

// issued is a ticket as far as its code goes.
type issued struct {
	reference string
	id        uuid.UUID
	typeNo    syncproto.TypeNo // present type; the code has the one it was signed with
	status    syncproto.Status
	fields    credential.Fields
	hash      syncproto.CodeHash
	sold      bool   // at a gate, whose signature the code has
	soldCode  string // empty until the gate has told it
}

const issuedColumns = `event_id, number, id, reference, type_no, status, key_id, code_type, issue, needs_roster, not_before, not_after, code_hash,
	sold_by IS NOT NULL, coalesce(sold_code, '')`

func scanIssued(row pgx.CollectableRow) (t issued, err error) {
	var (
		f           = &t.fields
		from, until *time.Time
		hash        []byte
	)
	err = row.Scan(&f.Event, &f.Ticket, &t.id, &t.reference, &t.typeNo, &t.status, &f.Key, &f.Type, &f.Issue, &f.NeedsRoster, &from, &until, &hash, &t.sold, &t.soldCode)
	if err != nil {
		return t, err
	}
	if from != nil {
		f.NotBefore = from.Unix()
	}
	if until != nil {
		f.NotAfter = until.Unix()
	}
	copy(t.hash[:], hash)
	return t, nil
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// selectIssued reads one ticket; lock is a locking clause or nothing.
func selectIssued(ctx context.Context, db querier, event syncproto.EventNo, reference, lock string) (issued, error) {
	rows, err := db.Query(ctx, `
		SELECT `+issuedColumns+`
		FROM ticket
		WHERE event_id = $1::bigint AND reference = $2 `+lock, int64(event), strings.TrimSpace(reference))
	if err != nil {
		return issued{}, fmt.Errorf("read ticket: %w", err)
	}
	t, err := pgx.CollectExactlyOneRow(rows, scanIssued)
	if errors.Is(err, pgx.ErrNoRows) {
		return issued{}, fmt.Errorf("reference %q at event %d: %w", reference, event, ErrNoTicket)
	}
	if err != nil {
		return issued{}, fmt.Errorf("read ticket: %w", err)
	}
	return t, nil
}

// Revoke withdraws a ticket for good, for a reason. Revoking it again changes
// nothing: the first time and reason stand.
func (s *Service) Revoke(ctx context.Context, event syncproto.EventNo, reference, reason string) error {
	reason = strings.TrimSpace(reason)
	if reason == "" || len(reason) > ReasonMax {
		return fmt.Errorf("a revocation needs a reason of 1 to %d bytes; say why", ReasonMax)
	}
	return pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		t, err := selectIssued(ctx, tx, event, reference, "FOR NO KEY UPDATE")
		if err != nil || t.status == syncproto.StatusRevoked {
			return err
		}
		_, err = tx.Exec(ctx, `
			UPDATE ticket
			SET status = $3, status_at = $4, status_reason = $5
			WHERE event_id = $1::bigint AND number = $2::bigint`,
			int64(event), int64(t.fields.Ticket), syncproto.StatusRevoked, s.now(), reason)
		if err != nil {
			return fmt.Errorf("revoke ticket: %w", err)
		}
		err = s.cfg.Audit.Record(ctx, tx, "ticket.revoke", "ticket", t.id.String(), event,
			map[string]any{"status": t.status}, map[string]any{"status": syncproto.StatusRevoked, "reason": reason})
		if err != nil {
			return err
		}
		places := Places{}
		places.move(t.typeNo, t.status, 0, "")
		return Take(ctx, tx, event, places)
	})
}

// Reissue replaces the code of a ticket and returns the new one. The old code is
// refused from then on by every gate that has heard of it.
func (s *Service) Reissue(ctx context.Context, event syncproto.EventNo, reference string) (string, error) {
	rules, err := s.cfg.Programme.Rules(ctx, event)
	if err != nil {
		return "", err
	}
	signer, err := s.signer(ctx, event)
	if err != nil {
		return "", err
	}
	var code string
	err = pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		t, err := selectIssued(ctx, tx, event, reference, "FOR NO KEY UPDATE")
		if err != nil {
			return err
		}
		fields, err := t.next(signer.current, &rules)
		if err != nil {
			return err
		}
		var hash syncproto.CodeHash
		if code, hash, err = signer.code(fields); err != nil {
			return err
		}
		if err := updateCode(ctx, tx, fields, hash); err != nil {
			return err
		}
		return s.cfg.Audit.Record(ctx, tx, "ticket.reissue", "ticket", t.id.String(), event, nil, map[string]any{"issue": fields.Issue})
	})
	if err != nil {
		return "", fmt.Errorf("reissue code: %w", err)
	}
	return code, nil
}

// next is what a new code for t signs: what t is entitled to now.
func (t issued) next(key syncproto.KeyID, rules *syncproto.Rules) (credential.Fields, error) {
	switch {
	case t.status == syncproto.StatusRevoked:
		return credential.Fields{}, fmt.Errorf("ticket %q is revoked, and a new code would not change that; import a new reference", t.reference)
	case t.fields.Issue >= credential.IssueMax:
		return credential.Fields{}, fmt.Errorf("the code of ticket %q was replaced %d times, which is the most; revoke it and import a new reference",
			t.reference, credential.IssueMax)
	}
	f := newFields(key, rules.Event, t.fields.Ticket, typeByNo(rules, t.typeNo), t.status)
	f.Issue = t.fields.Issue + 1
	return f, nil
}

func typeByNo(rules *syncproto.Rules, no syncproto.TypeNo) *syncproto.TicketType {
	for i := range rules.Types {
		if rules.Types[i].No == no {
			return &rules.Types[i]
		}
	}
	return &syncproto.TicketType{No: no}
}

// newFields is what the code of a ticket signs.
func newFields(key syncproto.KeyID, event syncproto.EventNo, no syncproto.TicketNo, t *syncproto.TicketType, status syncproto.Status) credential.Fields {
	return credential.Fields{
		Key: key, Event: event, Ticket: no, Type: t.No,
		// An unsynced gate must not admit what may never be paid for, or is not valid.
		NeedsRoster: status != syncproto.StatusPaid,
		NotBefore:   t.ValidFrom / 1000, NotAfter: t.ValidUntil / 1000,
	}
}

func updateCode(ctx context.Context, tx pgx.Tx, f credential.Fields, hash syncproto.CodeHash) error {
	_, err := tx.Exec(ctx, `
		UPDATE ticket
		SET key_id = $3, code_type = $4, issue = $5, needs_roster = $6, not_before = $7, not_after = $8, code_hash = $9,
		    sold_by = NULL, sold_code = NULL
		WHERE event_id = $1::bigint AND number = $2::bigint`,
		int64(f.Event), int64(f.Ticket), int16(f.Key), int16(f.Type), int16(f.Issue), f.NeedsRoster,
		unixOrNull(f.NotBefore), unixOrNull(f.NotAfter), hash[:])
	if err != nil {
		return fmt.Errorf("store code: %w", err)
	}
	return nil
}

// unixOrNull is nil for 0.
func unixOrNull(s int64) *time.Time {
	if s == 0 {
		return nil
	}
	t := time.Unix(s, 0)
	return &t
}
