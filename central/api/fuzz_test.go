package api

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// FuzzCursor: what opens as the place where a page ended is sealed as the same place
// again, and never is one that the database cannot be asked for.
func FuzzCursor(f *testing.F) {
	for _, seed := range []string{"", "e30", *seal(cursorOfEvents{At: 1782900000000, No: 7}), *seal(map[string]any{"t": 1 << 62, "n": -1}), "eyJ0IjoxZTQwMH0", "!!", strings.Repeat("A", 1000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, err := openEvents(&text)
		if err != nil {
			if refusalOf(err, translate).Status != 400 {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		again, err := openEvents(sealEvents(at))
		if err != nil {
			t.Fatalf("%q opens once and not twice: %v", text, err)
		}
		if *again != *at {
			t.Fatalf("%q: %v becomes %v", text, *at, *again)
		}
		if year := at.StartsAt.Year(); year < 0 || year > 9999 {
			t.Fatalf("%q is of the year %d", text, year)
		}
		if sessions, err := openSessions(&text); err == nil && sessions != nil {
			if back, err := openSessions(sealSessions(sessions)); err != nil || *back != *sessions {
				t.Fatalf("%q: %v becomes %v, %v", text, *sessions, back, err)
			}
		}
	})
}

// FuzzTags: a version that If-Match names is a positive number that is in the header, and
// only a tag that is in If-None-Match is taken for one that the caller has.
func FuzzTags(f *testing.F) {
	for _, seed := range []string{`"1"`, `W/"12-gzip"`, `"3-0123456789abcdef"`, "*", "", `"-1"`, `"9223372036854775808"`, `"1", "2"`, "\"1\x00\""} {
		f.Add(seed, `"3-0123456789abcdef"`)
	}
	f.Fuzz(func(t *testing.T, header, tag string) {
		if rev, err := revOf(&header); err == nil {
			if rev < 0 || rev == 0 && strings.TrimSpace(header) != "*" {
				t.Fatalf("%q is version %d", header, rev)
			}
		}
		if len(tag) < 2 || tag[0] != '"' || tag[len(tag)-1] != '"' || strings.Contains(tag, ",") {
			return
		}
		if has(header, tag) && strings.TrimSpace(header) != "*" && !strings.Contains(header, tag) {
			t.Fatalf("%q has %q", header, tag)
		}
		if !has(header+","+tag, tag) {
			t.Fatalf("%q is not found at the end of %q", tag, header)
		}
	})
}

// FuzzScan: of a text that is JSON, depth and NULs are those that a decoder sees.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{`{"a":[1,{"b":"\u0000"}]}`, `"[["`, `"\\u0000"`, `{"\u0000":1}`, `["\"[", "\\"]`, `[[[[`, `"\`, ``, `"\ud83d\ude00"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		depth, nul := scan(body)
		if !json.Valid(body) {
			return
		}
		wantDepth, wantNul, err := decoded(body)
		if err != nil {
			return
		}
		if depth != wantDepth || nul != wantNul {
			t.Fatalf("%q: depth %d and NUL %v, and not %d and %v", body, depth, nul, wantDepth, wantNul)
		}
	})
}

// decoded is scan by the decoder of the standard library.
func decoded(body []byte) (depth int, nul bool, err error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	now := 0
	for {
		token, err := dec.Token()
		if err != nil {
			if now == 0 && err.Error() == "EOF" {
				err = nil
			}
			return depth, nul, err
		}
		switch token := token.(type) {
		case json.Delim:
			if token == '{' || token == '[' {
				now++
			} else {
				now--
			}
			depth = max(depth, now)
		case string:
			nul = nul || strings.ContainsRune(token, 0)
		}
	}
}
