package programme

import (
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gatehouse/syncproto"
)

// Limits of what is stored. Lengths are in characters.
const (
	TextMax       = 20_000 // a description, biography, requirements or notes
	AddressMax    = 500
	MediaMax      = 1_000 // a media reference or URL
	GalleryMax    = 100
	LineupMax     = 500 // performers of an event
	BillMax       = 50  // performers of a session
	LinksMax      = 20
	SessionsMax   = 2_000 // sessions of an event
	SessionLenMax = 7 * 24 * time.Hour
	PriceMax      = 1_000_000_000_00
)

// checker collects what is wrong with an input, all of it at once.
type checker struct{ problems []Problem }

func (c *checker) wrong(field, format string, args ...any) {
	if len(c.problems) < problemsMax {
		c.problems = append(c.problems, Problem{field, fmt.Sprintf(format, args...)})
	}
}

func (c *checker) err() error {
	if len(c.problems) == 0 {
		return nil
	}
	return &InvalidError{Problems: c.problems}
}

// line is a text of one line.
func (c *checker) line(field, text string, most int) string {
	text = strings.TrimSpace(text)
	switch {
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		c.wrong(field, "must be a single line without control characters")
	case utf8.RuneCountInString(text) > most:
		c.wrong(field, "is longer than %d characters", most)
	}
	return text
}

// name is a line that is not empty.
func (c *checker) name(field, text string) string {
	text = c.line(field, text, NameMax)
	if text == "" {
		c.wrong(field, "is missing")
	}
	return text
}

// text may have lines. Line ends become \n; of control characters only tabs stay.
func (c *checker) text(field, text string) string {
	text = strings.TrimSpace(strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n"))
	bad := func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }
	switch {
	case !utf8.ValidString(text) || strings.ContainsFunc(text, bad):
		c.wrong(field, "must be text without control characters")
	case utf8.RuneCountInString(text) > TextMax:
		c.wrong(field, "is longer than %d characters", TextMax)
	}
	return text
}

// key is what files, URLs and programs call something.
func (c *checker) key(field, text string) string {
	text = strings.TrimSpace(text)
	bad := func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' || r == '-') }
	if text == "" || len(text) > KeyMax || strings.ContainsFunc(text, bad) || strings.ContainsAny(text[:1], "_-") {
		c.wrong(field, "must be 1 to %d lower case letters, digits, - and _, beginning with a letter or digit", KeyMax)
	}
	return text
}

func (c *checker) count(field string, n int) int {
	if n < 0 || n > countMax {
		c.wrong(field, "must be a whole number from 0 to %d", countMax)
	}
	return n
}

func (c *checker) zone(field, name string) *time.Location {
	loc, err := Location(name)
	if err != nil {
		c.wrong(field, "%v", err)
		return time.UTC
	}
	return loc
}

// when is the instant of an input, which may be none.
func (c *checker) when(field string, w When, loc *time.Location) time.Time {
	t := w.In(loc)
	if !t.IsZero() && !inYears(t) {
		c.wrong(field, "must lie between the years %d and %d", firstYear, lastYear)
	}
	return t
}

// span makes sure that a time that may be open on either side has a length.
func (c *checker) span(field string, from, until time.Time) {
	if !from.IsZero() && !until.IsZero() && !until.After(from) {
		c.wrong(field, "must be later than its beginning")
	}
}

func (c *checker) media(field string, refs []string) []string {
	if len(refs) > GalleryMax {
		c.wrong(field, "has %d items; at most %d are allowed", len(refs), GalleryMax)
		return nil
	}
	out := make([]string, len(refs))
	for i, ref := range refs {
		if out[i] = c.line(fmt.Sprintf("%s[%d]", field, i), ref, MediaMax); out[i] == "" {
			c.wrong(fmt.Sprintf("%s[%d]", field, i), "is missing")
		}
	}
	return out
}

// ids are references, none of them twice.
func (c *checker) ids(field string, ids []int64, most int) {
	seen := map[int64]bool{}
	if len(ids) > most {
		c.wrong(field, "has %d items; at most %d are allowed", len(ids), most)
		return
	}
	for i, id := range ids {
		if seen[id] {
			c.wrong(fmt.Sprintf("%s[%d]", field, i), "%d is listed twice", id)
		}
		seen[id] = true
	}
}

func (c *checker) links(field string, links []Link) []Link {
	if len(links) > LinksMax {
		c.wrong(field, "has %d items; at most %d are allowed", len(links), LinksMax)
		return nil
	}
	out := make([]Link, len(links))
	for i, l := range links {
		at := fmt.Sprintf("%s[%d]", field, i)
		out[i] = Link{c.line(at+".label", l.Label, NameMax), c.line(at+".url", l.URL, MediaMax)}
		u, err := url.Parse(out[i].URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			c.wrong(at+".url", "must be an http or https address")
		}
	}
	return out
}

// zones checks the zones of an event or of a venue's template.
func (c *checker) zones(field string, zones []syncproto.Zone) []syncproto.Zone {
	if len(zones) > ZonesMax {
		c.wrong(field, "has %d items; at most %d are allowed", len(zones), ZonesMax)
		return nil
	}
	out := make([]syncproto.Zone, len(zones))
	for i, z := range zones {
		at := fmt.Sprintf("%s[%d]", field, i)
		out[i] = syncproto.Zone{Name: c.name(at+".name", z.Name), Parent: c.line(at+".parent", z.Parent, NameMax)}
	}
	s := Spec{Zones: out}
	s.checkZones(c.reported(field))
	return out
}

// reported takes what Spec reports, which names the field itself.
func (c *checker) reported(fallback string) func(string, ...any) {
	return func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if field, what, ok := strings.Cut(text, ": "); ok {
			c.wrong(field, "%s", what)
			return
		}
		c.wrong(fallback, "%s", text)
	}
}

// checked is an event input as it is stored.
type checked struct {
	EventInput
	starts, ends time.Time
}

func (in EventInput) check() (checked, error) {
	var c checker
	loc := c.zone("timezone", in.Timezone)
	out := checked{EventInput: in, starts: c.when("starts_at", in.Starts, loc), ends: c.when("ends_at", in.Ends, loc)}
	out.Name = c.name("name", in.Name)
	out.Description = c.text("description", in.Description)
	out.Category = c.line("category", in.Category, KeyMax)
	out.Image = c.line("image", in.Image, MediaMax)
	out.Gallery = c.media("gallery", in.Gallery)
	out.Requirements = c.text("requirements", in.Requirements)
	out.Notes = c.text("notes", in.Notes)
	c.count("capacity", in.Capacity)
	c.ids("performers", in.Performers, LineupMax)
	c.span("ends_at", out.starts, out.ends)
	if out.Policy.Partition == "" {
		out.Policy.Partition = syncproto.PartitionOpen
	}
	switch out.Policy.Partition {
	case syncproto.PartitionOpen, syncproto.PartitionHome, syncproto.PartitionClosed:
	default:
		c.wrong("policy.partition", "must be one of open, home, closed")
	}
	if ms := out.Policy.ClaimWaitMS; ms < 0 || ms > int(ClaimWaitMax.Milliseconds()) {
		c.wrong("policy.claim_wait_ms", "must be a whole number from 0 to %d", ClaimWaitMax.Milliseconds())
	}
	return out, c.err()
}

func (v Venue) check() (Venue, error) {
	var c checker
	v.Name = c.name("name", v.Name)
	v.Address = c.text("address", v.Address)
	if utf8.RuneCountInString(v.Address) > AddressMax {
		c.wrong("address", "is longer than %d characters", AddressMax)
	}
	c.count("capacity", v.Capacity)
	if v.Timezone != "" {
		c.zone("timezone", v.Timezone)
	}
	v.Zones = c.zones("zones", v.Zones)
	return v, c.err()
}

func (s Stage) check() (Stage, error) {
	var c checker
	s.Name = c.name("name", s.Name)
	c.count("sort", s.Sort)
	return s, c.err()
}

func (k Category) check() (Category, error) {
	var c checker
	k.Key, k.Name = c.key("key", k.Key), c.name("name", k.Name)
	c.count("sort", k.Sort)
	return k, c.err()
}

func (p Performer) check() (Performer, error) {
	var c checker
	p.Name, p.Bio = c.name("name", p.Name), c.text("bio", p.Bio)
	p.Image = c.line("image", p.Image, MediaMax)
	p.Links = c.links("links", p.Links)
	return p, c.err()
}

// check resolves local times in loc, which is the event's.
func (in SessionInput) check(loc *time.Location) (out SessionInput, starts, ends time.Time, err error) {
	var c checker
	in.Title, in.Description = c.name("title", in.Title), c.text("description", in.Description)
	starts, ends = c.when("starts_at", in.Starts, loc), c.when("ends_at", in.Ends, loc)
	if starts.IsZero() {
		c.wrong("starts_at", "is missing")
	}
	if ends.IsZero() {
		c.wrong("ends_at", "is missing")
	}
	c.span("ends_at", starts, ends)
	if ends.Sub(starts) > SessionLenMax {
		c.wrong("ends_at", "a session may last %s at most", SessionLenMax)
	}
	c.ids("performers", in.Performers, BillMax)
	return in, starts, ends, c.err()
}

// check resolves local times in loc, which is the event's.
func (in TypeInput) check(loc *time.Location) (TicketType, error) {
	var c checker
	t := TicketType{
		Key: c.line("key", in.Key, KeyMax), Name: c.line("name", in.Name, NameMax), Description: c.text("description", in.Description),
		ValidFrom: c.when("valid_from", in.ValidFrom, loc), ValidUntil: c.when("valid_until", in.ValidUntil, loc),
		SalesFrom: c.when("sales_from", in.SalesFrom, loc), SalesUntil: c.when("sales_until", in.SalesUntil, loc),
		EntriesTotal: c.count("entries_total", in.EntriesTotal), EntriesPerDay: c.count("entries_per_day", in.EntriesPerDay),
		Quota: c.count("quota", in.Quota), OrderMin: max(1, c.count("order_min", in.OrderMin)), OrderMax: c.count("order_max", in.OrderMax),
		Reentry: in.Reentry, Zones: in.Zones, Price: in.Price, Currency: strings.TrimSpace(in.Currency),
	}
	for i, zone := range in.Zones {
		c.line(fmt.Sprintf("zones[%d]", i), zone, NameMax)
	}
	if t.Key == "" {
		c.wrong("key", "is missing")
	}
	if t.Name == "" {
		t.Name = t.Key
	}
	if t.Reentry == "" {
		t.Reentry = syncproto.ReentryNone
	}
	switch t.Reentry {
	case syncproto.ReentryNone, syncproto.ReentryAfterExit, syncproto.ReentryFree:
	default:
		c.wrong("reentry", "must be one of none, after_exit, free")
	}
	c.span("valid_until", t.ValidFrom, t.ValidUntil)
	t.checkSale(func(key, what string) { c.wrong(key, "%s", what) })
	return t, c.err()
}
