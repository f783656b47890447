package programme

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// Export returns the whole programme of an event as one state. The same programme is
// the same document at any central.
func (s *Service) Export(ctx context.Context, no syncproto.EventNo) (Document, error) {
	var d Document
	err := pg.InTxWith(ctx, s.b.pool, oneState(), func(tx pgx.Tx) error {
		e, err := loadEvent(ctx, tx, no)
		if err != nil {
			return err
		}
		x := exporter{ctx: ctx, tx: tx, event: e, venues: map[int64]string{}, stages: map[int64]string{}, performers: map[int64]string{}}
		d, err = x.document()
		return err
	})
	if err != nil {
		return Document{}, fmt.Errorf("export event: %w", err)
	}
	return d, nil
}

// exporter gathers a document. Refs are given in the order of what the things are, and
// not of their ids, which are another central's business.
type exporter struct {
	ctx                        context.Context
	tx                         pgx.Tx
	event                      Event
	venues, stages, performers map[int64]string
}

func (x *exporter) document() (Document, error) {
	d := Document{Format: DocumentFormat}
	for _, gather := range []func(*Document) error{x.places, x.people, x.rules, x.sessions, x.about} {
		if err := gather(&d); err != nil {
			return d, err
		}
	}
	return d, nil
}

// places are the venue of the event with its stages, and those of its sessions.
func (x *exporter) places(d *Document) error {
	stages, err := all(x.ctx, x.tx, pgx.RowToStructByPos[Stage], `
		SELECT id, rev, venue_id, name, sort, updated_at
		FROM stage
		WHERE venue_id = $1 OR id IN (SELECT stage_id FROM session WHERE event_id = $2::bigint)`, x.event.Venue.ID, int64(x.event.No))
	if err != nil {
		return err
	}
	ids := []int64{x.event.Venue.ID}
	for _, st := range stages {
		ids = append(ids, st.VenueID)
	}
	venues, err := all(x.ctx, x.tx, pgx.RowToStructByPos[Venue], `
		SELECT id, rev, name, address, coalesce(capacity, 0), timezone, zones, updated_at
		FROM venue
		WHERE id = ANY ($1)`, ids)
	if err != nil {
		return err
	}
	slices.SortFunc(venues, func(a, b Venue) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Address, b.Address), cmp.Compare(a.Capacity, b.Capacity), cmp.Compare(a.Timezone, b.Timezone),
			cmp.Compare(a.ID, b.ID))
	})
	d.Venues, d.Stages = make([]DocumentVenue, len(venues)), make([]DocumentStage, len(stages))
	for i, v := range venues {
		x.venues[v.ID] = fmt.Sprintf("v%d", i+1)
		d.Venues[i] = DocumentVenue{Ref: x.venues[v.ID], Name: v.Name, Address: v.Address, Capacity: v.Capacity, Timezone: v.Timezone, Zones: v.Zones}
	}
	slices.SortFunc(stages, func(a, b Stage) int {
		return cmp.Or(cmp.Compare(x.venues[a.VenueID], x.venues[b.VenueID]), cmp.Compare(a.Sort, b.Sort), cmp.Compare(a.Name, b.Name))
	})
	for i, st := range stages {
		x.stages[st.ID] = fmt.Sprintf("s%d", i+1)
		d.Stages[i] = DocumentStage{Ref: x.stages[st.ID], Venue: x.venues[st.VenueID], Name: st.Name, Sort: st.Sort}
	}
	return nil
}

// people are the line-up and whoever is in a session.
func (x *exporter) people(d *Document) error {
	people, err := all(x.ctx, x.tx, pgx.RowToStructByPos[Performer], `
		SELECT id, rev, name, bio, image, links
		FROM performer
		WHERE id IN (SELECT performer_id FROM event_performer WHERE event_id = $1::bigint)
		   OR id IN (SELECT b.performer_id FROM session_performer b JOIN session s ON s.id = b.session_id WHERE s.event_id = $1::bigint)`,
		int64(x.event.No))
	if err != nil {
		return err
	}
	slices.SortFunc(people, func(a, b Performer) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Bio, b.Bio), cmp.Compare(a.Image, b.Image), cmp.Compare(a.ID, b.ID))
	})
	d.Performers = make([]DocumentPerformer, len(people))
	for i, p := range people {
		x.performers[p.ID] = fmt.Sprintf("p%d", i+1)
		d.Performers[i] = DocumentPerformer{Ref: x.performers[p.ID], Name: p.Name, Bio: p.Bio, Image: p.Image, Links: p.Links}
	}
	return nil
}

func (x *exporter) refs(people []Named) []string {
	out := make([]string, len(people))
	for i, p := range people {
		out[i] = x.performers[p.ID]
	}
	return out
}

func (x *exporter) rules(d *Document) (err error) {
	if d.Zones, err = selectZones(x.ctx, x.tx, x.event.No); err != nil {
		return err
	}
	types, err := listTypes(x.ctx, x.tx, x.event.No)
	if err != nil {
		return err
	}
	d.Types = make([]DocumentType, len(types))
	for i, t := range types {
		d.Types[i] = DocumentType{
			Key: t.Key, Name: t.Name, Description: t.Description, Zones: t.Zones, ValidFrom: t.ValidFrom.UTC(), ValidUntil: t.ValidUntil.UTC(),
			EntriesTotal: t.EntriesTotal, EntriesPerDay: t.EntriesPerDay, Reentry: t.Reentry, Quota: t.Quota, Price: t.Price, Currency: t.Currency,
			SalesFrom: t.SalesFrom.UTC(), SalesUntil: t.SalesUntil.UTC(), OrderMin: t.OrderMin, OrderMax: t.OrderMax,
		}
	}
	return nil
}

func (x *exporter) sessions(d *Document) error {
	sessions, err := all(x.ctx, x.tx, scanSession, selectSessions+` WHERE s.event_id = $1::bigint`, int64(x.event.No))
	if err != nil {
		return err
	}
	slices.SortFunc(sessions, func(a, b Session) int {
		return cmp.Or(a.StartsAt.Compare(b.StartsAt), a.EndsAt.Compare(b.EndsAt), cmp.Compare(x.stages[a.Stage.ID], x.stages[b.Stage.ID]),
			cmp.Compare(a.Title, b.Title), cmp.Compare(a.ID, b.ID))
	})
	d.Sessions = make([]DocumentSession, len(sessions))
	for i, s := range sessions {
		d.Sessions[i] = DocumentSession{
			Title: s.Title, Description: s.Description, Stage: x.stages[s.Stage.ID], Performers: x.refs(s.Performers),
			StartsAt: s.StartsAt, EndsAt: s.EndsAt, Cancelled: s.Cancelled,
		}
	}
	return nil
}

func (x *exporter) about(d *Document) error {
	e := &x.event
	d.Event = DocumentEvent{
		Name: e.Name, Description: e.Description, Timezone: e.Timezone, StartsAt: e.StartsAt.UTC(), EndsAt: e.EndsAt.UTC(),
		Venue: x.venues[e.Venue.ID], Image: e.Image, Gallery: e.Gallery, Performers: x.refs(e.Performers),
		Requirements: e.Requirements, Notes: e.Notes, Capacity: e.Capacity, Policy: e.Policy,
	}
	if e.Category == "" {
		return nil
	}
	k, err := one(x.ctx, x.tx, ErrNotFound, pgx.RowToStructByPos[Category], `
		SELECT id, rev, key, name, sort FROM category WHERE key = $1`, e.Category)
	d.Category = &DocumentCategory{Key: k.Key, Name: k.Name, Sort: k.Sort}
	return err
}

// Import makes a draft of a document. Venues, stages and performers that are here
// already, the same in everything, are used; what differs is made beside them. Of a
// category that is here already the key is enough.
func (s *Service) Import(ctx context.Context, d Document) (Event, error) {
	if err := d.check(); err != nil {
		return Event{}, err
	}
	event, err := makeEvent(ctx, s.b, func(tx pgx.Tx) (syncproto.EventNo, error) {
		m := importer{
			ctx: ctx, tx: tx, b: s.b, taken: map[string]bool{},
			venues: map[string]int64{}, stages: map[string]int64{}, performers: map[string]int64{},
		}
		in, err := m.references(&d)
		if err != nil {
			return 0, err
		}
		no, err := s.insert(ctx, tx, in, Draft, d.Zones, d.types())
		if err != nil {
			return 0, err
		}
		return no, m.sessions(&d, no)
	})
	if err != nil {
		return Event{}, fmt.Errorf("import event: %w", err)
	}
	return event, nil
}

// importer turns the refs of a document into ids.
type importer struct {
	ctx                        context.Context
	tx                         pgx.Tx
	b                          *base
	taken                      map[string]bool // kind and id of what a ref has become
	venues, stages, performers map[string]int64
}

// references makes what a document refers to and returns its event with the ids.
func (m *importer) references(d *Document) (checked, error) {
	for i := range d.Venues {
		if err := m.venue(&d.Venues[i]); err != nil {
			return checked{}, err
		}
	}
	for i := range d.Stages {
		if err := m.stage(&d.Stages[i]); err != nil {
			return checked{}, err
		}
	}
	for i := range d.Performers {
		if err := m.performer(&d.Performers[i]); err != nil {
			return checked{}, err
		}
	}
	in := d.Event.input()
	in.VenueID, in.Performers = m.venues[d.Event.Venue], m.people(d.Event.Performers)
	if k := d.Category; k != nil {
		in.Category = k.Key
		_, err := reuse(m, categoryThing(), `SELECT id FROM category WHERE key = $1`, []any{k.Key},
			func() (int64, error) { return insertCategory(m.ctx, m.tx, k.category()) })
		if err != nil {
			return checked{}, err
		}
	}
	return in.check()
}

func (m *importer) people(refs []string) []int64 {
	out := make([]int64, len(refs))
	for i, ref := range refs {
		out[i] = m.performers[ref]
	}
	return out
}

func (m *importer) venue(d *DocumentVenue) (err error) {
	v, err := d.venue().check()
	if err != nil {
		return err
	}
	m.venues[d.Ref], err = reuse(m, venueThing(), `
		SELECT id FROM venue
		WHERE name = $1 AND address = $2 AND capacity IS NOT DISTINCT FROM $3 AND timezone = $4 AND zones = $5::jsonb
		ORDER BY id`, []any{v.Name, v.Address, pg.OrNull(v.Capacity), v.Timezone, orEmpty(v.Zones)},
		func() (int64, error) { return insertVenue(m.ctx, m.tx, v) })
	return err
}

func (m *importer) stage(d *DocumentStage) (err error) {
	st, err := d.stage().check()
	if err != nil {
		return err
	}
	st.VenueID = m.venues[d.Venue]
	// By the name alone: a venue cannot have it twice, and a place in a list is no reason.
	m.stages[d.Ref], err = reuse(m, stageThing(), `SELECT id FROM stage WHERE venue_id = $1 AND name = $2`, []any{st.VenueID, st.Name},
		func() (int64, error) { return insertStage(m.ctx, m.tx, st) })
	return err
}

func (m *importer) performer(d *DocumentPerformer) (err error) {
	p, err := d.performer().check()
	if err != nil {
		return err
	}
	m.performers[d.Ref], err = reuse(m, performerThing(), `
		SELECT id FROM performer
		WHERE name = $1 AND bio = $2 AND image = $3 AND links = $4::jsonb
		ORDER BY id`, []any{p.Name, p.Bio, p.Image, orEmpty(p.Links)},
		func() (int64, error) { return insertPerformer(m.ctx, m.tx, p) })
	return err
}

// reuse finds a row or makes it. Two refs never become one row: two performers who are
// called the same are two people.
func reuse[T any](m *importer, kind *thing[T], find string, args []any, make func() (int64, error)) (int64, error) {
	ids, err := all(m.ctx, m.tx, pgx.RowTo[int64], find, args...)
	if err != nil {
		return 0, err
	}
	key := func(id int64) string { return fmt.Sprint(kind.kind, id) }
	for _, id := range ids {
		if !m.taken[key(id)] {
			m.taken[key(id)] = true
			return id, nil
		}
	}
	id, err := make()
	if err != nil {
		return 0, err
	}
	m.taken[key(id)] = true
	made, err := kind.get(m.ctx, m.tx, id)
	if err != nil {
		return 0, err
	}
	return id, m.b.record(m.ctx, m.tx, kind.entry("create", id), nil, made)
}

func (m *importer) sessions(d *Document, no syncproto.EventNo) error {
	event, err := loadEvent(m.ctx, m.tx, no)
	if err != nil {
		return err
	}
	for i := range d.Sessions {
		in := d.Sessions[i].input()
		in.StageID, in.Performers = m.stages[d.Sessions[i].Stage], m.people(d.Sessions[i].Performers)
		p, err := in.planned(&event)
		if err != nil {
			return err
		}
		id, err := p.store(m.ctx, m.tx)
		if err != nil {
			return err
		}
		made, err := readSession(m.ctx, m.tx, id)
		if err != nil {
			return err
		}
		if err := m.b.record(m.ctx, m.tx, sessionEntry("create", &made), nil, made); err != nil {
			return err
		}
	}
	return nil
}
