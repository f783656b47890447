package staff

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// Audit is the log of what was done. It is only added to: the database refuses to
// change or delete a row of it.
type Audit struct{ cfg Config }

// Write adds an entry within the transaction of the change that it is about, so that
// there is neither one without the other. Before and after must not hold a secret, nor
// what erasing a person's account is to remove; what their keys call a secret is left
// out all the same, and what is too large is counted only.
func (a *Audit) Write(ctx context.Context, tx pgx.Tx, e Entry) error {
	args, err := a.row(&e)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, insertAudit, args...); err != nil {
		return fmt.Errorf("write audit log: %w", err)
	}
	return nil
}

const insertAudit = `
	INSERT INTO audit_log (at, actor_kind, actor_id, action, subject_kind, subject_id, event_id, before, after, address, user_agent)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`

// row are the arguments of insertAudit.
func (a *Audit) row(e *Entry) ([]any, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	before, err := auditBody(e.Before)
	if err != nil {
		return nil, err
	}
	after, err := auditBody(e.After)
	if err != nil {
		return nil, err
	}
	origin := e.By.Origin.clean()
	return []any{
		a.cfg.Now(), e.By.Kind, pg.OrNull(e.By.ID), e.Action, e.SubjectKind, e.SubjectID, pg.OrNull(int64(e.Event)),
		before, after, pg.OrNull(origin.Address), origin.UserAgent,
	}, nil
}

// Record is Write for a feature that knows nothing of this package: it declares an
// interface of this one method. Who did it is taken from ctx, see [NewContext].
func (a *Audit) Record(ctx context.Context, tx pgx.Tx, action, subjectKind, subjectID string, event syncproto.EventNo, before, after any) error {
	return a.Write(ctx, tx, entryOf(ctx, action, subjectKind, subjectID, event, before, after))
}

// Queue is Record as a part of a batch of the transaction.
func (a *Audit) Queue(ctx context.Context, batch *pgx.Batch, action, subjectKind, subjectID string, event syncproto.EventNo, before, after any) error {
	e := entryOf(ctx, action, subjectKind, subjectID, event, before, after)
	args, err := a.row(&e)
	if err != nil {
		return err
	}
	batch.Queue(insertAudit, args...)
	return nil
}

func entryOf(ctx context.Context, action, subjectKind, subjectID string, event syncproto.EventNo, before, after any) Entry {
	by := FromContext(ctx)
	if by.Kind == "" {
		by.Kind = KindVisitor
	}
	return Entry{By: by, Action: action, SubjectKind: subjectKind, SubjectID: subjectID, Event: event, Before: before, After: after}
}

// Search returns entries, the newest first. The next page begins before the last of
// them. Who may read the log for some events only finds those of these events alone;
// asking for others is [ErrForbidden]. An entry of a transaction that took long may
// come to stand behind pages that were read already; none is lost to a search that
// begins anew.
func (a *Audit) Search(ctx context.Context, by Principal, f Filter) ([]Record, error) {
	if !by.May(AuditRead, 0) {
		if !by.MaySome(AuditRead) {
			return nil, ErrForbidden
		}
		if f.Events == nil {
			f.Events, f.someEvent = by.Events, true
		}
		for _, e := range f.Events {
			if !by.May(AuditRead, e) {
				return nil, ErrForbidden
			}
		}
	}
	return a.search(ctx, f)
}

func (a *Audit) search(ctx context.Context, f Filter) ([]Record, error) {
	if f.Max <= 0 || f.Max > AuditPageMax {
		f.Max = AuditPageMax
	}
	where, args := f.where()
	rows, err := a.cfg.Pool.Query(ctx, `
		SELECT l.id, l.at, l.actor_kind, l.actor_id, coalesce(nullif(a.name, ''), a.email, k.name, ''), l.action, l.subject_kind, l.subject_id,
		       l.event_id, l.before, l.after, l.address, l.user_agent
		FROM audit_log l
		LEFT JOIN account a ON l.actor_kind = 'account' AND a.id = l.actor_id
		LEFT JOIN api_key k ON l.actor_kind = 'api_key' AND k.id = l.actor_id
		WHERE `+where+`
		ORDER BY l.id DESC
		LIMIT `+fmt.Sprint(f.Max), args...)
	if err != nil {
		return nil, fmt.Errorf("search audit log: %w", err)
	}
	records, err := pgx.CollectRows(rows, scanRecord)
	if err != nil {
		return nil, fmt.Errorf("search audit log: %w", err)
	}
	return records, nil
}

// where is the condition of a filter: the one place where filters compose.
func (f *Filter) where() (sql string, args []any) {
	conditions := []string{"true"}
	add := func(condition string, arg any) {
		args = append(args, arg)
		conditions = append(conditions, fmt.Sprintf(condition, len(args)))
	}
	if f.Events != nil {
		events := make([]int64, len(f.Events))
		for i, e := range f.Events {
			events[i] = int64(e)
		}
		add("l.event_id = ANY ($%d::bigint[])", events)
	}
	if f.someEvent {
		conditions = append(conditions, "l.event_id IS NOT NULL")
	}
	if f.Actor != uuid.Nil {
		add("l.actor_id = $%d", f.Actor)
	}
	if strings.HasSuffix(f.Action, ".") {
		add("starts_with(l.action, $%d)", f.Action)
	} else if f.Action != "" {
		add("l.action = $%d", f.Action)
	}
	if f.SubjectKind != "" {
		add("l.subject_kind = $%d", f.SubjectKind)
	}
	if f.SubjectID != "" {
		add("l.subject_id = $%d", f.SubjectID)
	}
	if !f.From.IsZero() {
		add("l.at >= $%d", f.From)
	}
	if !f.Until.IsZero() {
		add("l.at < $%d", f.Until)
	}
	if f.Before != 0 {
		add("l.id < $%d", f.Before)
	}
	return strings.Join(conditions, " AND "), args
}

func scanRecord(row pgx.CollectableRow) (Record, error) {
	var (
		r             Record
		actor         *uuid.UUID
		event         *int64
		before, after []byte
		address       *netip.Addr
	)
	err := row.Scan(&r.ID, &r.At, &r.ActorKind, &actor, &r.ActorName, &r.Action, &r.SubjectKind, &r.SubjectID,
		&event, &before, &after, &address, &r.UserAgent)
	r.At, r.ActorID, r.Event = r.At.UTC(), pg.OrZero(actor), syncproto.EventNo(pg.OrZero(event))
	r.Before, r.After = before, after
	if address != nil {
		r.Address = address.String()
	}
	return r, err
}
