package programme

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// parser walks the nodes of an event file. It is written by hand because every
// mistake is to name its line and its whole key, also inside lists.
type parser struct {
	location *time.Location // nil: the file names no timezone
	problems []string
}

// fields are the keys that a mapping may have, and what reads each.
type fields map[string]func(n *yaml.Node, at string)

// report notes a mistake. What is beyond problemsMax is not listed.
func (p *parser) report(format string, args ...any) {
	if len(p.problems) < problemsMax {
		p.problems = append(p.problems, fmt.Sprintf(format, args...))
	}
}

func (p *parser) wrong(n *yaml.Node, at, format string, args ...any) {
	p.report("line %d: %s: %s", n.Line, orFile(at), fmt.Sprintf(format, args...))
}

func orFile(at string) string {
	if at == "" {
		return "the file"
	}
	return at
}

// deref follows a YAML alias. YAML lets an alias name neither another alias nor
// its own parent, so one step is enough.
func deref(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// mapping hands each value of n to the function of its key. It returns the keys
// that have a value, right or wrong.
func (p *parser) mapping(n *yaml.Node, at string, known fields) (given map[string]bool) {
	given = map[string]bool{}
	if n.Kind != yaml.MappingNode {
		p.wrong(n, at, "must be keys with values, such as %s: …", slices.Sorted(maps.Keys(known))[0])
		return known.all()
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], deref(n.Content[i+1])
		name := strings.TrimPrefix(at+"."+key.Value, ".")
		read, ok := known[key.Value]
		switch {
		case !ok:
			p.wrong(key, name, "is not a key of an event file; here it may be %s", strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		case seen[key.Value]:
			p.wrong(key, name, "is given twice")
		case !isNull(value):
			read(value, name)
			given[key.Value] = true
		}
		seen[key.Value] = true
	}
	return given
}

// all is every key, for a mapping that was refused as a whole.
func (f fields) all() map[string]bool {
	all := map[string]bool{}
	for key := range f {
		all[key] = true
	}
	return all
}

// sequence hands each item of n to read.
func (p *parser) sequence(n *yaml.Node, at string, most int, read func(n *yaml.Node, at string)) {
	if n.Kind != yaml.SequenceNode {
		p.wrong(n, at, "must be a list")
		return
	}
	if len(n.Content) > most {
		p.wrong(n, at, "has %d items; at most %d are allowed", len(n.Content), most)
		return
	}
	for i, item := range n.Content {
		read(deref(item), fmt.Sprintf("%s[%d]", at, i))
	}
}

// text reads a single line of at most most characters; it is not empty.
func (p *parser) text(n *yaml.Node, at string, most int) string {
	value := strings.TrimSpace(n.Value)
	switch {
	case n.Kind != yaml.ScalarNode || value == "":
		p.wrong(n, at, "must be a text")
	case utf8.RuneCountInString(value) > most:
		p.wrong(n, at, "is longer than %d characters", most)
	case strings.ContainsFunc(value, unicode.IsControl):
		p.wrong(n, at, "must be a single line without control characters")
	default:
		return value
	}
	return ""
}

// number reads a whole number from 0 to most.
func (p *parser) number(n *yaml.Node, at string, most int) int {
	v, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || v < 0 || v > most {
		p.wrong(n, at, "must be a whole number from 0 to %d, not %s", most, shown(n))
		return 0
	}
	return v
}

// limit reads a number of which 0 and the word unlimited mean no limit.
func (p *parser) limit(n *yaml.Node, at string) int {
	if n.Kind == yaml.ScalarNode && n.Value == "unlimited" {
		return 0
	}
	return p.number(n, at, countMax)
}

// dayLimit is limit for a count that begins again at midnight somewhere.
func (p *parser) dayLimit(n *yaml.Node, at string) int {
	v := p.limit(n, at)
	if v > 0 && p.location == nil {
		p.wrong(n, at, "days are counted in the event's timezone; give timezone, such as Europe/Berlin")
	}
	return v
}

// choice reads one of a few words.
func choice[T ~string](p *parser, n *yaml.Node, at string, words ...T) T {
	if n.Kind == yaml.ScalarNode && slices.Contains(words, T(n.Value)) {
		return T(n.Value)
	}
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = string(w)
	}
	p.wrong(n, at, "must be one of %s, not %s", strings.Join(list, ", "), shown(n))
	return words[0]
}

// shown is a value as a message quotes it.
func shown(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		return "a list or keys"
	}
	return fmt.Sprintf("%.40q", n.Value)
}

// findZone reads the timezone of the file at n into out, wherever among the
// keys it stands.
func (p *parser) findZone(n *yaml.Node, out *string) {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		value := deref(n.Content[i+1])
		if n.Content[i].Value != "timezone" || isNull(value) {
			continue
		}
		location, err := time.LoadLocation(value.Value)
		if err != nil || value.Kind != yaml.ScalarNode || value.Value == "" || value.Value == "Local" {
			p.wrong(value, "timezone", "must be an IANA time zone such as Europe/Berlin, not %s", shown(value))
			location = time.UTC // so that the times are checked all the same
		}
		p.location, *out = location, value.Value
	}
}

// time reads a time with its offset or in the event's timezone.
func (p *parser) time(n *yaml.Node, at string) time.Time {
	if n.Kind != yaml.ScalarNode {
		p.wrong(n, at, "must be a time, not %s", shown(n))
		return time.Time{}
	}
	text := strings.Replace(n.Value, " ", "T", 1)
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00"} {
		if t, err := time.Parse(layout, text); err == nil {
			return p.inRange(n, at, t)
		}
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04"} {
		wall, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		if p.location == nil {
			p.wrong(n, at, "%s has no offset, so the file must say in which timezone it is meant; give timezone, such as Europe/Berlin", shown(n))
			return time.Time{}
		}
		t, fit := LocalTime(wall, p.location)
		if fit != Once {
			p.wrong(n, at, "the clocks change then, and %s happens %s; write the time with its offset, such as %s",
				shown(n), map[Fit]string{Skipped: "never", Twice: "twice"}[fit], t.Format(time.RFC3339))
			return time.Time{}
		}
		return p.inRange(n, at, t)
	}
	p.wrong(n, at, "must be a date with a time of day, such as 2026-07-01T10:00 or 2026-07-01T10:00:00+02:00, not %s", shown(n))
	return time.Time{}
}

// inRange refuses years in which nobody holds an event.
func (p *parser) inRange(n *yaml.Node, at string, t time.Time) time.Time {
	if !inYears(t) {
		p.wrong(n, at, "must lie between the years %d and %d, not at %s", firstYear, lastYear, shown(n))
		return time.Time{}
	}
	return t.Truncate(time.Millisecond).UTC()
}
