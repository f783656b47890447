package programme

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"gatehouse/syncproto"
)

// Place is where a page of a list ended whose order people have given it.
type Place struct {
	Sort int
	Name string
	ID   int64
}

// after goes on behind a place, nil begins.
func (f *filter) after(p *Place) error {
	if p == nil {
		return nil
	}
	f.add("(sort, name, id) > ($%d::bigint, $%d, $%d::bigint)", int64(p.Sort), p.Name, p.ID)
	return asked("after", p.Name)
}

// afterName goes on behind a name, nil begins.
func (f *filter) afterName(n *Named) error {
	if n == nil {
		return nil
	}
	f.add("(name, id) > ($%d, $%d::bigint)", n.Name, n.ID)
	return asked("after", n.Name)
}

// named asks for those whose name contains text.
func (f *filter) named(text string) error {
	if text == "" {
		return nil
	}
	f.add("name ILIKE $%d", like(text))
	return asked("text", text)
}

// Page returns venues by name whose name contains text, after the last one of the page
// before; nil begins. It returns at most limit, which is cut to PageMax.
func (s *Venues) Page(ctx context.Context, text string, after *Named, limit int) ([]Venue, error) {
	f := &filter{}
	if err := f.named(text); err != nil {
		return nil, err
	}
	if err := f.afterName(after); err != nil {
		return nil, err
	}
	out, err := all(ctx, s.b.pool, pgx.RowToStructByPos[Venue], `
		SELECT id, rev, name, address, coalesce(capacity, 0), timezone, zones, updated_at
		FROM venue`+f.where()+`
		ORDER BY name, id`+f.limit(pageOf(limit)), f.args...)
	if err != nil {
		return nil, fmt.Errorf("list venues: %w", err)
	}
	return out, nil
}

// StagePage returns stages of a venue in their order; see [Venues.Page].
func (s *Venues) StagePage(ctx context.Context, venue int64, after *Place, limit int) ([]Stage, error) {
	f := &filter{}
	f.add("venue_id = $%d::bigint", venue)
	if err := f.after(after); err != nil {
		return nil, err
	}
	out, err := all(ctx, s.b.pool, pgx.RowToStructByPos[Stage], `
		SELECT id, rev, venue_id, name, sort, updated_at
		FROM stage`+f.where()+`
		ORDER BY sort, name, id`+f.limit(pageOf(limit)), f.args...)
	if err != nil {
		return nil, fmt.Errorf("list stages: %w", err)
	}
	return out, nil
}

// Page returns categories in their order; see [Venues.Page].
func (s *Categories) Page(ctx context.Context, after *Place, limit int) ([]Category, error) {
	f := &filter{}
	if err := f.after(after); err != nil {
		return nil, err
	}
	out, err := all(ctx, s.b.pool, pgx.RowToStructByPos[Category], `
		SELECT id, rev, key, name, sort
		FROM category`+f.where()+`
		ORDER BY sort, name, id`+f.limit(pageOf(limit)), f.args...)
	if err != nil {
		return nil, fmt.Errorf("list categories: %w", err)
	}
	return out, nil
}

// PerformerQuery says which performers to list. What is zero does not limit.
type PerformerQuery struct {
	ID    int64
	Text  string // in the name, in any case
	Shown bool   // in the line-up or a session of an event that is no draft
	After *Named
	Limit int // PageDefault for 0, and at most PageMax
}

// Page returns performers by name.
func (s *Performers) Page(ctx context.Context, q PerformerQuery) ([]Performer, error) {
	f := &filter{}
	if q.ID != 0 {
		f.add("id = $%d::bigint", q.ID)
	}
	if q.Shown {
		f.add(`(EXISTS (SELECT FROM event_performer l JOIN event e ON e.id = l.event_id WHERE l.performer_id = performer.id AND e.firm)
       OR EXISTS (SELECT FROM session_performer b JOIN session s ON s.id = b.session_id WHERE b.performer_id = performer.id AND s.firm))`)
	}
	if err := f.named(q.Text); err != nil {
		return nil, err
	}
	if err := f.afterName(q.After); err != nil {
		return nil, err
	}
	out, err := all(ctx, s.b.pool, pgx.RowToStructByPos[Performer], `
		SELECT id, rev, name, bio, image, links
		FROM performer`+f.where()+`
		ORDER BY name, id`+f.limit(pageOf(q.Limit)), f.args...)
	if err != nil {
		return nil, fmt.Errorf("list performers: %w", err)
	}
	return out, nil
}

// Events are those that are at a venue, or have a session on one of its stages,
// ascending: whoever changes the venue changes something of theirs.
func (s *Venues) Events(ctx context.Context, venue int64) ([]syncproto.EventNo, error) {
	return eventsOf(ctx, s.b, `
		SELECT id FROM event WHERE venue_id = $1::bigint
		UNION
		SELECT s.event_id FROM session s JOIN stage st ON st.id = s.stage_id WHERE st.venue_id = $1::bigint
		ORDER BY 1`, venue)
}

// Events are those that a performer is in, in the line-up or in a session, ascending.
func (s *Performers) Events(ctx context.Context, performer int64) ([]syncproto.EventNo, error) {
	return eventsOf(ctx, s.b, `
		SELECT event_id FROM event_performer WHERE performer_id = $1::bigint
		UNION
		SELECT s.event_id FROM session s JOIN session_performer b ON b.session_id = s.id WHERE b.performer_id = $1::bigint
		ORDER BY 1`, performer)
}

func eventsOf(ctx context.Context, b *base, sql string, id int64) ([]syncproto.EventNo, error) {
	out, err := all(ctx, b.pool, pgx.RowTo[syncproto.EventNo], sql, id)
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	return out, nil
}
