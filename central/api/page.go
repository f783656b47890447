package api

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"

	"gatehouse/central/programme"
)

// pageDefault is how much a list answers where no limit is asked for.
const pageDefault = programme.PageDefault

// seal makes a cursor's text of where a page ended.
func seal(at any) *string {
	body, err := json.Marshal(at)
	if err != nil {
		panic("a cursor is plain data: " + err.Error())
	}
	return new(base64.RawURLEncoding.EncodeToString(body))
}

// open reads a cursor; nil is the beginning.
func open[T any](text *string) (*T, error) {
	if text == nil {
		return nil, nil //nolint:nilnil // no cursor is no mistake
	}
	var at T
	body, err := base64.RawURLEncoding.DecodeString(*text)
	if err == nil {
		err = json.Unmarshal(body, &at)
	}
	if err != nil {
		return nil, badCursor()
	}
	return &at, nil
}

func badCursor() error {
	return refuse(http.StatusBadRequest, CodeBadRequest, "The request is not as it should be.").field("cursor", "is none of this list")
}

// paged cuts a list that was asked for one item more than fits, and seals where it
// ended; nil at the end.
func paged[T any](items []T, limit int, end func(*T) any) ([]T, *string) {
	if len(items) <= limit {
		return items, nil
	}
	return items[:limit], seal(end(&items[limit-1]))
}

// each shows every item of a list.
func each[T, U any](items []T, show func(*T) U) []U {
	out := make([]U, len(items))
	for i := range items {
		out[i] = show(&items[i])
	}
	return out
}

// cursorOfSessions is the text of a [programme.SessionCursor].
type cursorOfSessions struct {
	At int64 `json:"t"` // Unix ms
	ID int64 `json:"n"`
}

func sealSessions(c *programme.SessionCursor) *string {
	if c == nil {
		return nil
	}
	return seal(cursorOfSessions{c.StartsAt.UnixMilli(), c.ID})
}

func openSessions(text *string) (*programme.SessionCursor, error) {
	at, err := open[cursorOfSessions](text)
	if at == nil {
		return nil, err
	}
	t, ok := instant(at.At)
	if !ok {
		return nil, badCursor()
	}
	return &programme.SessionCursor{StartsAt: t, ID: at.ID}, nil
}

// instant is a time of Unix milliseconds that the database has, too.
func instant(ms int64) (time.Time, bool) {
	t := time.UnixMilli(ms).UTC()
	return t, t.Year() >= 1 && t.Year() <= 9999
}

// named is something by its id and name; nil for none.
func named(n programme.Named) *Named {
	if n.ID == 0 {
		return nil
	}
	return &Named{Id: int32(n.ID), Name: n.Name}
}
