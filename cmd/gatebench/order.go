package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/central"
	"gatehouse/central/registration"
	"gatehouse/cmd/program"
)

// Reaches of orders: milliseconds to a gate, and the share of what the bare statement
// that takes a place does.
const (
	orderP99Max   = 2000
	orderRatioMin = 0.5
)

// measureOrders takes tickets by central's API and asks a connected gate until it knows
// them; and has many take one type at once, beside the statement that takes a place and
// does nothing else.
func measureOrders(ctx context.Context, b *bench) ([]figure, error) {
	v, err := b.venue(ctx)
	if err != nil {
		return nil, err
	}
	e, err := v.event(ctx, "orders", 1)
	if err != nil {
		return nil, err
	}
	s := &sale{venue: v, of: e}
	took, err := s.orderAndWait(ctx)
	if err != nil {
		return nil, err
	}
	const name = "order at central's API to known at a connected gate, "
	figures := []figure{
		newFigure(name+"p50", millis(took.at(0.5)), "ms", reach{}),
		newFigure(name+"p99", millis(took.at(0.99)), "ms", reach{valueMax: orderP99Max}),
	}
	rate, err := s.sell(ctx)
	return append(figures, rate...), err
}

// sale is of the tickets of an event.
type sale struct {
	*venue
	of *event
}

// orderAndWait orders one ticket after the other, and waits for each at a gate.
func (s *sale) orderAndWait(ctx context.Context) (took samples, err error) {
	tickets, err := s.codes(ctx, s.of, 1)
	if err != nil {
		return nil, err
	}
	a, err := s.enrol(ctx, s.of)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	if err := a.run(nil); err != nil {
		return nil, err
	}
	if _, err := a.firstDecision(ctx, tickets[0].code); err != nil {
		return nil, err
	}
	s.b.progress.note("ordering")
	for range s.b.orders {
		if !pause(ctx, revokeGap) {
			return nil, ctx.Err()
		}
		start := time.Now()
		code, err := s.register(ctx)
		if err != nil {
			return nil, err
		}
		if err := a.known(ctx, []byte(code)); err != nil {
			return nil, err
		}
		took = append(took, time.Since(start))
	}
	return took, nil
}

// register takes a free ticket by the API and returns its code.
func (s *sale) register(ctx context.Context) (string, error) {
	body := fmt.Appendf(nil, `{"event_id": %d, "ticket_type": "day", "name": "Ada", "email": "ada@example.org"}`, s.of.no)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.central.URL+"/api/v1/attendees/register", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("register: %w", err)
	}
	defer answer.Body.Close()
	var out struct {
		Message string `json:"message"`
		Data    struct {
			Ticket struct {
				Code string `json:"code"`
			} `json:"ticket"`
		} `json:"data"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&out); err != nil {
		return "", fmt.Errorf("register: %w", err)
	}
	if out.Data.Ticket.Code == "" {
		return "", fmt.Errorf("register: %s: %s", answer.Status, out.Message)
	}
	return out.Data.Ticket.Code, nil
}

// known asks until the gate has heard of the ticket of a code from central.
func (a *appliance) known(ctx context.Context, code []byte) error {
	ctx, cancel := context.WithTimeout(ctx, refusalWait)
	defer cancel()
	for {
		verdict, err := a.verify(ctx, code)
		if err != nil {
			return fmt.Errorf("wait for the ticket: %w", err)
		}
		if verdict.Known {
			return nil
		}
		if !pause(ctx, askEvery) {
			return fmt.Errorf("wait for the ticket: %w", ctx.Err())
		}
	}
}

// sell measures registrations for one type that everybody wants.
func (s *sale) sell(ctx context.Context) ([]figure, error) {
	s.b.progress.note("selling")
	features, err := central.Open(ctx, central.Config{DatabaseURL: s.url, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	defer features.Close()
	for _, statement := range []string{
		`UPDATE ticket_type SET quota = 1000000000 WHERE event_id = ` + s.of.id(), // a row that everybody waits for
		`CREATE TABLE bare (used integer NOT NULL, quota integer NOT NULL) WITH (fillfactor = 10)`,
		`INSERT INTO bare VALUES (0, 1000000000)`,
	} {
		if _, err := s.pool.Exec(ctx, statement); err != nil {
			return nil, fmt.Errorf("prepare sale: %w", err)
		}
	}
	callers := int(s.pool.Config().MaxConns)
	floor, err := s.pgbench(ctx, callers, `UPDATE bare SET used = used + 1 WHERE used < quota;`)
	if err != nil {
		return nil, err
	}
	ours, err := s.sellAll(ctx, features, callers)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("registrations for one type, %d at once", callers)
	return []figure{
		newFigure(name, ours, "/s", reach{ratioMin: orderRatioMin}).beside(floor, "the bare UPDATE of a quota in pgbench"),
	}, nil
}

// sellAll has callers register until the time is over, and says how many did in a second.
func (s *sale) sellAll(ctx context.Context, features *central.Central, callers int) (float64, error) {
	var done atomic.Int64
	var wg sync.WaitGroup
	failed := make(chan error, callers)
	began := time.Now()
	for range callers {
		wg.Go(func() {
			for time.Since(began) < s.b.sellFor {
				_, err := features.Registration.Register(ctx, registration.Request{Event: s.of.no, Type: "day", Name: "Ada", Email: "ada@example.org"})
				if err != nil {
					failed <- err
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	close(failed)
	return float64(done.Load()) / time.Since(began).Seconds(), <-failed
}

// pgbench says how often in a second a statement is done by so many at once.
func (s *sale) pgbench(ctx context.Context, clients int, statement string) (float64, error) {
	script := filepath.Join(s.dir, "bare.sql")
	if err := os.WriteFile(script, []byte(statement+"\n"), 0o600); err != nil {
		return 0, fmt.Errorf("write script for pgbench: %w", err)
	}
	out, err := program.Output(ctx, s.pg.Program("pgbench"), "--no-vacuum", "--protocol=prepared", "--client", strconv.Itoa(clients), "--jobs", "2",
		"--time", strconv.Itoa(int(s.b.sellFor.Seconds())), "--file", script, s.url)
	if err != nil {
		return 0, err
	}
	tps := regexp.MustCompile(`tps = ([0-9.]+)`).FindStringSubmatch(out)
	if tps == nil {
		return 0, fmt.Errorf("pgbench does not say how fast it was: %s", out)
	}
	return strconv.ParseFloat(tps[1], 64)
}
