package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// plain makes the load itself, of one kind of request after another. It is there to see that
// everything runs where there is no k6; it is in the way of what it measures.
type plain struct {
	*test
	http http.Client
	all  sync.WaitGroup

	mu     sync.Mutex
	took   map[string][]time.Duration
	errors int
}

func (p *plain) start(ctx context.Context) (int, error) {
	p.took = map[string][]time.Duration{}
	p.http.Transport = &http.Transport{MaxIdleConnsPerHost: p.rate}
	p.all.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(p.rate))
		defer tick.Stop()
		began := time.Now()
		for n := 0; time.Since(began) < p.warmUp+p.duration; n++ {
			select {
			case <-tick.C:
				counts := time.Since(began) >= p.warmUp
				p.all.Go(func() { p.one(ctx, n, counts) })
			case <-ctx.Done():
				return
			}
		}
	})
	return os.Getpid(), nil
}

// one makes the n-th request.
func (p *plain) one(ctx context.Context, n int, counts bool) {
	s := p.scene
	reads := []string{
		"/events", fmt.Sprintf("/events/%d", s.Events[0]), fmt.Sprintf("/events/%d/ticket-types", s.Events[0]), fmt.Sprintf("/schedule?event=%d", s.Events[0]),
		"/schedule/today", fmt.Sprintf("/schedule/venue/%d", s.Venues[0]), fmt.Sprintf("/sessions/%d", s.Session[0]),
	}
	kind := n % (len(reads) + 1)
	if kind < len(reads) {
		p.ask(ctx, classes()[kind], http.MethodGet, reads[kind], "", nil, http.StatusOK, counts)
		return
	}
	guest := object{"event_id": s.Events[0], "ticket_type": "day", "name": "Guest", "email": fmt.Sprintf("new%d@example.org", n)}
	body := p.ask(ctx, "register", http.MethodPost, "/attendees/register", "", guest, http.StatusCreated, counts)
	var made struct {
		Data struct{ Ticket struct{ Code string } }
	}
	if json.Unmarshal(body, &made) == nil && n%3 == 0 {
		p.ask(ctx, "check in", http.MethodPost, "/attendees/checkin", s.Keys[n%len(s.Keys)], object{"code": made.Data.Ticket.Code}, http.StatusOK, counts)
	}
}

func (p *plain) ask(ctx context.Context, name, method, path, key string, in object, want int, counts bool) []byte {
	began := time.Now()
	body, err := p.send(ctx, method, path, key, in, want)
	took := time.Since(began)
	p.mu.Lock()
	defer p.mu.Unlock()
	if counts {
		p.took[name] = append(p.took[name], took)
	}
	if err != nil {
		if p.errors++; p.errors <= 3 {
			say("%s: %v", name, err)
		}
	}
	return body
}

func (p *plain) send(ctx context.Context, method, path, key string, in object, want int) ([]byte, error) {
	var raw []byte
	var err error
	if in != nil {
		if raw, err = json.Marshal(in); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, p.central.URL+"/api/v1"+path, bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := p.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != want {
		err = fmt.Errorf("%s: %s", res.Status, body)
	}
	return body, err
}

func (p *plain) wait(context.Context) (answers, error) {
	p.all.Wait()
	p.http.CloseIdleConnections()
	p.mu.Lock()
	defer p.mu.Unlock()
	out := answers{Errors: p.errors}
	var all []time.Duration
	for _, name := range classes() {
		all = append(all, p.took[name]...)
		out.Classes = append(out.Classes, classOf(name, p.took[name]))
	}
	out.All = classOf("all", all)
	return out, nil
}

// classOf is of some times.
func classOf(name string, took []time.Duration) class {
	c := class{Name: name, Count: len(took)}
	if c.Count == 0 {
		return c
	}
	slices.Sort(took)
	at := func(share float64) float64 { return millis(took[int(share*float64(len(took)-1))]) }
	c.P50, c.P90, c.P99, c.Max = at(0.5), at(0.9), at(0.99), at(1)
	return c
}
