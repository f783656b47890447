package registration

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

const promoColumns = `id, rev, code, kind, value, types, coalesce(uses_max, 0), used, from_at, until_at`

func scanPromo(row pgx.CollectableRow) (Promo, error) {
	var p Promo
	var from, until *time.Time
	err := row.Scan(&p.ID, &p.Rev, &p.Code, &p.Kind, &p.Value, &p.Types, &p.Max, &p.Used, &from, &until)
	p.From, p.Until = pg.OrZero(from), pg.OrZero(until)
	return p, err
}

// PromosMax bounds the codes of an event, and QuestionsMax what its holders are asked.
const (
	PromosMax    = 10_000
	QuestionsMax = 100
)

// Promos keeps the codes of events. It is safe for concurrent use.
type Promos struct{ s *Service }

// codePattern reports whether a text could be a code.
func codePattern(text string) bool {
	ok, err := regexp.MatchString(`^[A-Z0-9_-]{1,40}$`, text)
	return ok && err == nil
}

func (p *Promo) check() error {
	p.Code = NormalCode(p.Code)
	if !codePattern(p.Code) {
		return invalid("code", "is 1 to 40 letters, digits, - and _")
	}
	switch {
	case p.Kind != Percent && p.Kind != Amount && p.Kind != Access:
		return invalid("kind", "is percent, amount or access")
	case p.Kind == Percent && (p.Value < 1 || p.Value > 100):
		return invalid("value", "is 1 to 100 percent")
	case p.Kind == Amount && p.Value < 1:
		return invalid("value", "is what a ticket becomes cheaper by, in the smallest unit of its currency")
	case p.Kind == Access && len(p.Types) == 0:
		return invalid("ticket_types", "an access code names the types that can be had with it alone")
	case p.Max < 0:
		return invalid("uses_max", "is 1 or more")
	case !p.From.IsZero() && !p.Until.IsZero() && !p.From.Before(p.Until):
		return invalid("until", "is after from")
	}
	if p.Kind == Access {
		p.Value = 0
	}
	return nil
}

// List are the codes of an event by code.
func (p *Promos) List(ctx context.Context, event syncproto.EventNo) ([]Promo, error) {
	rows, err := p.s.cfg.Pool.Query(ctx, `
		SELECT `+promoColumns+`
		FROM promo_code
		WHERE event_id = $1::bigint
		ORDER BY code
		LIMIT $2`, int64(event), PromosMax)
	if err != nil {
		return nil, fmt.Errorf("list codes: %w", err)
	}
	out, err := pgx.CollectRows(rows, scanPromo)
	if err != nil {
		return nil, fmt.Errorf("list codes: %w", err)
	}
	return out, nil
}

// Create adds a code to an event; ErrTaken.
func (p *Promos) Create(ctx context.Context, event syncproto.EventNo, in Promo) (Promo, error) {
	if err := in.check(); err != nil {
		return Promo{}, err
	}
	return p.shelf().add(ctx, event, `
		INSERT INTO promo_code (event_id, code, kind, value, types, uses_max, from_at, until_at, created_at)
		SELECT $1::bigint, $2, $3, $4, $5, $6, $7, $8, $9
		WHERE (SELECT count(*) FROM promo_code WHERE event_id = $1::bigint) < $10
		RETURNING `+promoColumns,
		invalid("code", fmt.Sprintf("an event has at most %d codes", PromosMax)),
		int64(event), in.Code, string(in.Kind), in.Value, orNone(in.Types), pg.OrNull(in.Max), pg.OrNull(in.From), pg.OrNull(in.Until), p.s.cfg.Now(), PromosMax)
}

// Update changes a code, also while orders hold it; ErrNotFound, ErrStale, ErrTaken.
// rev is the revision that the caller has seen; 0 is any.
func (p *Promos) Update(ctx context.Context, event syncproto.EventNo, rev int64, in Promo) (Promo, error) {
	if err := in.check(); err != nil {
		return Promo{}, err
	}
	return p.shelf().change(ctx, event, in.ID, rev, `
		UPDATE promo_code
		SET code = $3, kind = $4, value = $5, types = $6, uses_max = $7, from_at = $8, until_at = $9
		WHERE event_id = $1::bigint AND id = $2
		RETURNING `+promoColumns,
		int64(event), in.ID, in.Code, string(in.Kind), in.Value, orNone(in.Types), pg.OrNull(in.Max), pg.OrNull(in.From), pg.OrNull(in.Until))
}

// Delete removes a code that no order was made with; ErrNotFound, ErrStale, ErrInUse.
func (p *Promos) Delete(ctx context.Context, event syncproto.EventNo, id, rev int64) error {
	return p.shelf().remove(ctx, event, id, rev, `DELETE FROM promo_code WHERE event_id = $1::bigint AND id = $2`)
}

func (p *Promos) shelf() shelf[Promo] {
	return shelf[Promo]{
		s: p.s, kind: "promo_code", scan: scanPromo, ids: func(v *Promo) (int64, int64) { return v.ID, v.Rev },
		lock: `SELECT ` + promoColumns + ` FROM promo_code WHERE event_id = $1::bigint AND id = $2 FOR UPDATE`,
	}
}

// orNone is an array that is never NULL.
func orNone[T any](v []T) []T {
	if v == nil {
		return []T{}
	}
	return v
}
