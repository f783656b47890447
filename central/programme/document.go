package programme

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"gatehouse/syncproto"
)

// DocumentFormat names the format of a [Document], and its version.
const DocumentFormat = "gatehouse.programme/1"

// DocumentBytesMax bounds a document, and DocumentPartsMax the venues, the stages and
// the performers that it has.
const (
	DocumentBytesMax = 16 << 20
	DocumentPartsMax = 5_000
)

// Document is the whole programme of one event, to be made again elsewhere. It is the
// plan and not what became of it: no status, tickets, revisions or ids. What refers
// to a venue, stage or performer does so by its ref, which means something within
// this document only. Times are in UTC; a zero time is unbounded and left out.
type Document struct {
	Format     string              `json:"format"`
	Event      DocumentEvent       `json:"event"`
	Category   *DocumentCategory   `json:"category,omitempty"`
	Venues     []DocumentVenue     `json:"venues"`
	Stages     []DocumentStage     `json:"stages"`
	Performers []DocumentPerformer `json:"performers"`
	Zones      []syncproto.Zone    `json:"zones"`
	Types      []DocumentType      `json:"ticket_types"`
	Sessions   []DocumentSession   `json:"sessions"`
}

// DocumentEvent is the event of a [Document]. Its category is the document's.
type DocumentEvent struct {
	Name         string           `json:"name"`
	Description  string           `json:"description,omitempty"`
	Timezone     string           `json:"timezone"`
	StartsAt     time.Time        `json:"starts_at,omitzero"`
	EndsAt       time.Time        `json:"ends_at,omitzero"`
	Venue        string           `json:"venue,omitempty"` // ref
	Image        string           `json:"image,omitempty"`
	Gallery      []string         `json:"gallery,omitempty"`
	Performers   []string         `json:"performers,omitempty"` // refs, in order
	Requirements string           `json:"requirements,omitempty"`
	Notes        string           `json:"notes,omitempty"`
	Capacity     int              `json:"capacity,omitempty"`
	Policy       syncproto.Policy `json:"policy"`
}

// DocumentCategory is the category of a [Document].
type DocumentCategory struct {
	Key  string `json:"key"`
	Name string `json:"name"`
	Sort int    `json:"sort"`
}

// DocumentVenue is a venue of a [Document].
type DocumentVenue struct {
	Ref      string           `json:"ref"`
	Name     string           `json:"name"`
	Address  string           `json:"address,omitempty"`
	Capacity int              `json:"capacity,omitempty"`
	Timezone string           `json:"timezone,omitempty"`
	Zones    []syncproto.Zone `json:"zones,omitempty"`
}

// DocumentStage is a stage of a [Document].
type DocumentStage struct {
	Ref   string `json:"ref"`
	Venue string `json:"venue"` // ref
	Name  string `json:"name"`
	Sort  int    `json:"sort"`
}

// DocumentPerformer is a performer of a [Document].
type DocumentPerformer struct {
	Ref   string `json:"ref"`
	Name  string `json:"name"`
	Bio   string `json:"bio,omitempty"`
	Image string `json:"image,omitempty"`
	Links []Link `json:"links,omitempty"`
}

// DocumentType is a ticket type of a [Document]. They are numbered in their order.
type DocumentType struct {
	Key           string            `json:"key"`
	Name          string            `json:"name"`
	Description   string            `json:"description,omitempty"`
	Zones         []string          `json:"zones,omitempty"` // none: all
	ValidFrom     time.Time         `json:"valid_from,omitzero"`
	ValidUntil    time.Time         `json:"valid_until,omitzero"`
	EntriesTotal  int               `json:"entries_total,omitempty"` // 0: not limited
	EntriesPerDay int               `json:"entries_per_day,omitempty"`
	Reentry       syncproto.Reentry `json:"reentry"`
	Quota         int               `json:"quota,omitempty"`
	Price         int64             `json:"price,omitempty"` // in the smallest unit
	Currency      string            `json:"currency,omitempty"`
	SalesFrom     time.Time         `json:"sales_from,omitzero"`
	SalesUntil    time.Time         `json:"sales_until,omitzero"`
	OrderMin      int               `json:"order_min,omitempty"`
	OrderMax      int               `json:"order_max,omitempty"`
}

// DocumentSession is a session of a [Document].
type DocumentSession struct {
	Title       string    `json:"title"`
	Description string    `json:"description,omitempty"`
	Stage       string    `json:"stage,omitempty"`      // ref
	Performers  []string  `json:"performers,omitempty"` // refs, in order
	StartsAt    time.Time `json:"starts_at"`
	EndsAt      time.Time `json:"ends_at"`
	Cancelled   bool      `json:"cancelled,omitempty"`
}

// ReadDocument reads and checks a document. All that is wrong with it is reported at
// once, in an [*InvalidError].
func ReadDocument(r io.Reader) (Document, error) {
	data, err := io.ReadAll(io.LimitReader(r, DocumentBytesMax+1))
	if err != nil {
		return Document{}, fmt.Errorf("read programme: %w", err)
	}
	if len(data) > DocumentBytesMax {
		return Document{}, invalid("document", "is larger than %d bytes", DocumentBytesMax)
	}
	var d Document
	if err := decode(data, &d); err != nil {
		return Document{}, err
	}
	if d.Format != DocumentFormat {
		return Document{}, invalid("format", "must be %s, as `central event export` writes it, not %.40q", DocumentFormat, d.Format)
	}
	return d, d.check()
}

// decode takes one JSON value without keys that nothing would read.
func decode(data []byte, d *Document) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	err := dec.Decode(d)
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind):
		return invalid(cmp.Or(kind.Field, "document"), "is a %s, which does not belong here", kind.Value)
	case err != nil:
		return invalid("document", "is not a programme: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return invalid("document", "there is more after its end")
	}
	return nil
}

// documentChecker is a checker of what is between the parts of a document.
type documentChecker struct{ checker }

// check makes sure that the document can be stored.
func (d *Document) check() error {
	var c documentChecker
	venues := c.refs("venues", len(d.Venues), func(i int) string { return d.Venues[i].Ref })
	stages := c.refs("stages", len(d.Stages), func(i int) string { return d.Stages[i].Ref })
	performers := c.refs("performers", len(d.Performers), func(i int) string { return d.Performers[i].Ref })
	c.ref("event.venue", d.Event.Venue, venues)
	c.refList("event.performers", d.Event.Performers, performers, LineupMax)
	c.merge("event", func() error { _, err := d.Event.input().check(); return err })
	if d.Category != nil {
		c.merge("category", func() error { _, err := d.Category.category().check(); return err })
	}
	for i := range d.Venues {
		c.merge(fmt.Sprintf("venues[%d]", i), func() error { _, err := d.Venues[i].venue().check(); return err })
	}
	for i, s := range d.Stages {
		at := fmt.Sprintf("stages[%d]", i)
		if s.Venue == "" {
			c.wrong(at+".venue", "is missing")
		}
		c.ref(at+".venue", s.Venue, venues)
		c.merge(at, func() error { _, err := s.stage().check(); return err })
	}
	for i := range d.Performers {
		c.merge(fmt.Sprintf("performers[%d]", i), func() error { _, err := d.Performers[i].performer().check(); return err })
	}
	if len(d.Sessions) > SessionsMax {
		c.wrong("sessions", "has %d items; at most %d are allowed", len(d.Sessions), SessionsMax)
	}
	for i, s := range d.Sessions {
		at := fmt.Sprintf("sessions[%d]", i)
		c.ref(at+".stage", s.Stage, stages)
		c.refList(at+".performers", s.Performers, performers, BillMax)
		c.merge(at, func() error { _, _, _, err := s.input().check(time.UTC); return err })
	}
	c.rules(d)
	return c.err()
}

// rules checks zones and ticket types, one by one and with each other.
func (c *documentChecker) rules(d *Document) {
	if len(d.Zones) == 0 {
		c.wrong("zones", "there must be at least one")
	}
	if len(d.Types) > TicketTypesMax {
		c.wrong("ticket_types", "has %d items; at most %d are allowed", len(d.Types), TicketTypesMax)
		return
	}
	before := len(c.problems)
	c.zones("zones", d.Zones)
	for i := range d.Types {
		c.merge(fmt.Sprintf("ticket_types[%d]", i), func() error { _, err := d.Types[i].input().check(time.UTC); return err })
	}
	if len(c.problems) > before {
		return
	}
	s := Spec{Name: d.Event.Name, Timezone: d.Event.Timezone, Zones: d.Zones, Types: d.types(), Policy: d.Event.Policy}
	s.check(c.reported("ticket_types"))
	if len(c.problems) == before {
		s.checkGates(c.reported("ticket_types"))
	}
}

// merge adds what is wrong with a part.
func (c *documentChecker) merge(at string, check func() error) {
	var part *InvalidError
	if errors.As(check(), &part) {
		for _, p := range part.Problems {
			c.wrong(at+"."+p.Field, "%s", p.What)
		}
	}
}

// refs are the names that a document gives to things of one kind.
func (c *documentChecker) refs(field string, n int, ref func(i int) string) map[string]bool {
	known := map[string]bool{}
	if n > DocumentPartsMax {
		c.wrong(field, "has %d items; at most %d are allowed", n, DocumentPartsMax)
	}
	for i := range n {
		switch name := ref(i); {
		case name == "":
			c.wrong(fmt.Sprintf("%s[%d].ref", field, i), "is missing")
		case known[name]:
			c.wrong(fmt.Sprintf("%s[%d].ref", field, i), "%.40q is given twice", name)
		default:
			known[name] = true
		}
	}
	return known
}

func (c *documentChecker) ref(field, name string, known map[string]bool) {
	if name != "" && !known[name] {
		c.wrong(field, "there is no ref %.40q in this document", name)
	}
}

func (c *documentChecker) refList(field string, names []string, known map[string]bool, most int) {
	if len(names) > most {
		c.wrong(field, "has %d items; at most %d are allowed", len(names), most)
		return
	}
	seen := map[string]bool{}
	for i, name := range names {
		at := fmt.Sprintf("%s[%d]", field, i)
		if seen[name] || name == "" {
			c.wrong(at, "%.40q is empty or listed twice", name)
		}
		seen[name] = true
		c.ref(at, name, known)
	}
}

// whenOf is a time of a document, which is an instant or none.
func whenOf(t time.Time) When {
	if t.IsZero() {
		return When{}
	}
	return At(t)
}

func (e *DocumentEvent) input() EventInput {
	return EventInput{
		Name: e.Name, Description: e.Description, Timezone: e.Timezone, Starts: whenOf(e.StartsAt), Ends: whenOf(e.EndsAt),
		Image: e.Image, Gallery: e.Gallery, Requirements: e.Requirements, Notes: e.Notes, Capacity: e.Capacity, Policy: e.Policy,
	}
}

func (k *DocumentCategory) category() Category {
	return Category{Key: k.Key, Name: k.Name, Sort: k.Sort}
}

func (v *DocumentVenue) venue() Venue {
	return Venue{Name: v.Name, Address: v.Address, Capacity: v.Capacity, Timezone: v.Timezone, Zones: v.Zones}
}

func (s *DocumentStage) stage() Stage { return Stage{Name: s.Name, Sort: s.Sort} }

func (p *DocumentPerformer) performer() Performer {
	return Performer{Name: p.Name, Bio: p.Bio, Image: p.Image, Links: p.Links}
}

func (s *DocumentSession) input() SessionInput {
	return SessionInput{Title: s.Title, Description: s.Description, Starts: whenOf(s.StartsAt), Ends: whenOf(s.EndsAt), Cancelled: s.Cancelled}
}

func (t *DocumentType) input() TypeInput {
	return TypeInput{
		Key: t.Key, Name: t.Name, Description: t.Description, Zones: t.Zones, ValidFrom: whenOf(t.ValidFrom), ValidUntil: whenOf(t.ValidUntil),
		EntriesTotal: t.EntriesTotal, EntriesPerDay: t.EntriesPerDay, Reentry: t.Reentry, Quota: t.Quota, Price: t.Price, Currency: t.Currency,
		SalesFrom: whenOf(t.SalesFrom), SalesUntil: whenOf(t.SalesUntil), OrderMin: t.OrderMin, OrderMax: t.OrderMax,
	}
}

// types are the ticket types of a checked document as they are stored.
func (d *Document) types() []TicketType {
	out := make([]TicketType, len(d.Types))
	for i := range d.Types {
		out[i], _ = d.Types[i].input().check(time.UTC) // It was checked with the document.
	}
	return out
}
