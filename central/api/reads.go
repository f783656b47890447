package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"gatehouse/central/api/hot"
	"gatehouse/central/staff"
)

// Limits of what is remembered of reads.
const (
	// keyMax is the longest request, in bytes of its path, query and Accept-Encoding,
	// whose answer is remembered.
	keyMax = 1 << 10
	// todayLife is how long "today" is remembered: a day begins whatever changes or not.
	todayLife = time.Second
)

// hotReads are the operations whose answers to the public are remembered, and for how
// long at the most; 0 is until the programme changes. They depend on nothing but the
// programme and what was asked.
func hotReads() map[string]time.Duration {
	return map[string]time.Duration{
		"listEvents":          0,
		"getEvent":            0,
		"listSessions":        0,
		"getSession":          0,
		"listTicketTypes":     0,
		"getEventCalendar":    0,
		"getStageCalendar":    0,
		"listSchedule":        0,
		"listScheduleToday":   todayLife,
		"listScheduleOfVenue": 0,
		"listVenues":          0,
		"getVenue":            0,
		"listStages":          0,
		"listCategories":      0,
		"listPerformers":      0,
		"getPerformer":        0,
	}
}

// reads answers the operations that many ask for. To the public it gives one answer for
// the same question; whoever works on the programme sees drafts too, and has his own made.
// Every answer has a tag of its content, and who has it already is told so.
func (s *Server) reads(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		req := c.Request()
		route := s.operations[req.Method+" "+c.Path()]
		if route == nil {
			return next(c)
		}
		operation := route.Operation.OperationID
		life, ok := s.hot[operation]
		if !ok {
			return s.changes(operation, c, next)
		}
		produce := func(context.Context) (hot.Answer, bool, error) { return s.produce(c, next) }
		who := staff.FromContext(req.Context())
		key := strings.Join([]string{req.URL.Path, req.URL.RawQuery, req.Header.Get(echo.HeaderAcceptEncoding)}, "\n")
		var answer hot.Answer
		var err error
		if !public(who) || len(key) > keyMax {
			answer, _, err = produce(req.Context())
		} else {
			answer, err = s.cache.Get(req.Context(), key, life, produce)
		}
		if err != nil {
			return err
		}
		return give(c, who, &answer)
	}
}

// changes sees to it that whoever has changed the programme by this copy reads it here as
// it is now.
func (s *Server) changes(operation string, c echo.Context, next echo.HandlerFunc) error {
	switch s.accesses[operation].need {
	case staff.EventCreate, staff.EventWrite, staff.EventStatus, staff.ProgrammeWrite, staff.VenueWrite:
		if c.Request().Method != http.MethodGet {
			defer s.cache.Changed()
		}
	}
	return next(c)
}

// public reports whether somebody sees of the programme what anybody sees.
func public(who staff.Principal) bool {
	return !who.May(staff.EventCreate, 0) && !who.MaySome(staff.EventWrite) && !who.MaySome(staff.ProgrammeWrite) && !who.MaySome(staff.VenueWrite)
}

// produce has the handlers make an answer. One that is no success is not remembered.
func (s *Server) produce(c echo.Context, next echo.HandlerFunc) (hot.Answer, bool, error) {
	outer := c.Response()
	rec := &recorder{header: http.Header{}, status: http.StatusOK}
	c.SetResponse(echo.NewResponse(rec, c.Echo()))
	err := next(c)
	c.SetResponse(outer)
	if err != nil {
		return hot.Answer{}, false, err
	}
	if rec.status == http.StatusOK {
		sum := sha256.Sum256(rec.body.Bytes())
		tag := hex.EncodeToString(sum[:tagBytes])
		if rev := versionOf(rec.header.Get("ETag")); rev != "" {
			tag = rev + tagSeparator + tag
		}
		rec.header.Set("ETag", `"`+tag+`"`)
	}
	return hot.Answer{Status: rec.status, Header: rec.header, Body: rec.body.Bytes()}, rec.status == http.StatusOK, nil
}

// give sends an answer, or says that the caller has it. It may be kept by whoever asked,
// and has to be asked for again each time: it costs little, and is never old.
func give(c echo.Context, who staff.Principal, answer *hot.Answer) error {
	res := c.Response()
	for name, values := range answer.Header {
		if name == echo.HeaderVary { // what is outside of this has reasons of its own, such as CORS
			values = append(slices.Clone(res.Header()[name]), values...)
		}
		res.Header()[name] = slices.Clone(values) // the answer is others' too
	}
	if answer.Status != http.StatusOK {
		res.WriteHeader(answer.Status)
		_, err := res.Write(answer.Body)
		return err
	}
	keep := "no-cache"
	if who.Kind != "" {
		keep = "private, no-cache"
	}
	res.Header().Set(echo.HeaderCacheControl, keep)
	if has(c.Request().Header.Get("If-None-Match"), res.Header().Get("ETag")) {
		res.Header().Del(echo.HeaderContentType)
		res.Header().Del(echo.HeaderContentLength)
		return c.NoContent(http.StatusNotModified)
	}
	res.WriteHeader(http.StatusOK)
	_, err := res.Write(answer.Body)
	return err
}

// has reports whether a tag is among those of an If-None-Match (RFC 9110, 13.1.2), which
// are compared as weak ones.
func has(header, tag string) bool {
	if header == "" {
		return false
	}
	if strings.TrimSpace(header) == "*" {
		return true
	}
	for one := range strings.SplitSeq(header, ",") {
		if strings.TrimPrefix(strings.TrimSpace(one), "W/") == tag {
			return true
		}
	}
	return false
}
