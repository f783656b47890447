package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// What there is beside the largest event.
const (
	stagesOfVenue  = 6
	smallEvents    = 4
	smallSessions  = 20
	sessionMinutes = 45
	checkInKeys    = 4 // so that none asks as often as the limit of one
)

// A scene is the programme that is asked for. It is also what k6 is told.
type scene struct {
	Events  []int    `json:"events"` // the first is the largest
	Venues  []int    `json:"venues"`
	Session []int    `json:"sessions"` // some
	Keys    []string `json:"keys"`     // of the desks that check people in

	url  string
	key  string // of the admin
	http *http.Client
}

// post asks central for something to be made, and returns its data.
func (s *scene) ask(ctx context.Context, method, path string, in any) (map[string]any, error) {
	raw, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url+"/api/v1"+path, bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	req.Header.Set("Content-Type", "application/json")
	if s.key != "" {
		req.Header.Set("Authorization", "Bearer "+s.key)
	}
	res, err := s.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	body, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	var out struct{ Data map[string]any }
	if err := json.Unmarshal(body, &out); err != nil || res.StatusCode >= http.StatusMultipleChoices {
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, res.Status, body)
	}
	return out.Data, nil
}

func (s *scene) make(ctx context.Context, path string, in any) (int, error) {
	data, err := s.ask(ctx, http.MethodPost, path, in)
	if err != nil {
		return 0, err
	}
	id, ok := data["id"].(float64)
	if !ok {
		return 0, fmt.Errorf("POST %s: the answer has no id", path)
	}
	return int(id), nil
}

// object is one of JSON.
type object = map[string]any

// set makes the scene at a central whose commands are done by central.
func set(ctx context.Context, l *load, url, dir string, central func(context.Context, ...string) (string, error)) (*scene, error) {
	s := &scene{url: url, http: &http.Client{Timeout: time.Minute}}
	if err := s.signIn(ctx, central); err != nil {
		return nil, err
	}
	for i := range 1 + smallEvents {
		n := smallSessions
		if i == 0 {
			n = l.sessions
		}
		if err := s.event(ctx, i, n); err != nil {
			return nil, err
		}
	}
	list := filepath.Join(dir, "attendees.csv")
	var rows strings.Builder
	rows.WriteString("reference,name,email,ticket_type\n")
	for i := range l.attendees {
		fmt.Fprintf(&rows, "L-%d,Guest %d,guest%d@example.org,day\n", i, i, i)
	}
	if err := os.WriteFile(list, []byte(rows.String()), 0o600); err != nil {
		return nil, fmt.Errorf("list of attendees: %w", err)
	}
	_, err := central(ctx, "ticket", "import", "--event", fmt.Sprint(s.Events[0]), list)
	return s, err
}

// signIn makes an admin, and the API keys that the rest is done by.
func (s *scene) signIn(ctx context.Context, central func(context.Context, ...string) (string, error)) error {
	const email = "load@example.org"
	password, err := central(ctx, "user", "create", "--email", email, "--role", "admin")
	if err != nil {
		return err
	}
	login, err := s.ask(ctx, http.MethodPost, "/auth/login", object{"email": email, "password": password})
	if err != nil {
		return err
	}
	s.key, _ = login["access_token"].(string)
	for i := range 1 + checkInKeys {
		role := "gate_staff"
		if i == 0 {
			role = "admin"
		}
		made, err := s.ask(ctx, http.MethodPost, "/api-keys", object{"name": fmt.Sprint("load ", i), "role": role, "days": 1})
		if err != nil {
			return err
		}
		text, _ := made["text"].(string)
		s.Keys = append(s.Keys, text)
	}
	s.key, s.Keys = s.Keys[0], s.Keys[1:]
	return nil
}

// event makes an event of today and tomorrow, with a venue and stages of its own.
func (s *scene) event(ctx context.Context, i, sessions int) error {
	today := time.Now().UTC().Truncate(24 * time.Hour)
	venue, err := s.make(ctx, "/venues", object{"name": fmt.Sprint("Park ", i), "timezone": "UTC", "capacity": 2_000_000})
	if err != nil {
		return err
	}
	var stages []int
	for n := range stagesOfVenue {
		stage, err := s.make(ctx, fmt.Sprintf("/venues/%d/stages", venue), object{"name": fmt.Sprint("Stage ", n), "sort": n})
		if err != nil {
			return err
		}
		stages = append(stages, stage)
	}
	event, err := s.make(ctx, "/events", object{
		"title": fmt.Sprint("Festival ", i), "description": strings.Repeat("Three days of music in the park. ", 20), "timezone": "UTC", "venue_id": venue,
		"start_time": today, "end_time": today.Add(72 * time.Hour),
		"ticket_types": []object{
			{"key": "day", "name": "Day", "price": 0, "quota": 1_000_000},
			{"key": "weekend", "name": "Weekend", "price": 9900, "currency": "EUR", "quota": 20_000},
			{"key": "crew", "name": "Crew", "price": 0, "quota": 500},
			{"key": "vip", "name": "VIP", "price": 25_000, "currency": "EUR", "quota": 200},
		},
	})
	if err != nil {
		return err
	}
	path := fmt.Sprintf("/events/%d", event)
	for n := range sessions {
		begins := today.Add(time.Duration(n/stagesOfVenue) * time.Hour)
		session, err := s.make(ctx, path+"/sessions", object{
			"title": fmt.Sprint("Set ", n), "description": strings.Repeat("A band plays. ", 10), "stage_id": stages[n%stagesOfVenue],
			"start_time": begins, "end_time": begins.Add(sessionMinutes * time.Minute),
		})
		if err != nil {
			return err
		}
		s.Session = append(s.Session, session)
	}
	for _, status := range []string{"published", "live"} {
		if _, err := s.ask(ctx, http.MethodPost, path+"/status", object{"status": status}); err != nil {
			return err
		}
	}
	s.Events, s.Venues = append(s.Events, event), append(s.Venues, venue)
	return nil
}

// touch changes the largest event, so that every stream has something to tell.
func (s *scene) touch(ctx context.Context, n int) error {
	_, err := s.ask(ctx, http.MethodPut, fmt.Sprintf("/events/%d", s.Events[0]), object{"title": fmt.Sprint("Festival 0, changed ", n)})
	return err
}
