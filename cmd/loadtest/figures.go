package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"
)

// The aims, beside those of the festival: 90 of 100 requests within 150 ms, queries of 50 ms
// in the mean, 10,000 requests a minute and 5,000 guests at once.
const (
	p90Max   = 50.0  // ms
	p99Max   = 150.0 // ms
	queryMax = 5.0   // ms
	rateMin  = 0.99  // of what was asked for
	dropMax  = 0.001 // of what was asked for; some are under way when the time is over
)

// classes are the kinds of requests.
func classes() []string {
	return []string{"events", "event", "ticket types", "schedule", "today", "of a venue", "session", "register", "check in"}
}

// class is how requests of one kind were answered; times are milliseconds.
type class struct {
	Name  string  `json:"name"`
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

// answers are those to the load.
type answers struct {
	All     class   `json:"all"`
	Classes []class `json:"classes"`
	Errors  int     `json:"errors"`  // answers that were not as they have to be
	Dropped int     `json:"dropped"` // requests that were due and not made

	made int // of those that were due; a check-in belongs to its registration
}

// figures are what a run found.
type figures struct {
	Machine  string  `json:"machine"`
	Rate     int     `json:"rate_wanted"`
	Seconds  float64 `json:"seconds"`
	Achieved float64 `json:"rate"` // answers a second
	Answers  answers `json:"answers"`

	Streams       int     `json:"streams"`
	StreamsLost   int64   `json:"streams_lost"`
	StreamBytes   int64   `json:"stream_bytes"` // of central's memory, idle
	ToldP50       float64 `json:"told_p50_ms"`  // from a change to a stream
	ToldMax       float64 `json:"told_max_ms"`
	ToldMissing   int     `json:"told_missing"`
	QueryMean     float64 `json:"query_mean_ms"` // an exchange with the database
	Queries       float64 `json:"queries"`       // a second
	Statements    float64 `json:"statements"`    // a second
	Parts         []took  `json:"parts"`
	Others        float64 `json:"others_processors"`    // kept busy by what is no part of the test
	ProcessorTime float64 `json:"request_processor_ms"` // central's, for each request
}

// took is what a program took.
type took struct {
	Name       string  `json:"name"`
	Processors float64 `json:"processors"` // that it kept busy
	Bytes      int64   `json:"bytes"`
}

// fill takes over what was seen of the programs and of the database.
func (f *figures) fill(u *usage, e exchanges) {
	seconds := u.took.Seconds()
	f.Achieved = float64(f.Answers.All.Count) / f.Seconds
	if e.count > 0 {
		f.QueryMean = e.seconds / e.count * 1000
	}
	f.Others = u.others()
	f.Queries, f.Statements = e.count/seconds, e.statements/seconds
	for _, p := range u.parts {
		f.Parts = append(f.Parts, took{Name: p.name, Processors: p.cpu / seconds, Bytes: p.most})
	}
	if f.Answers.All.Count > 0 {
		f.ProcessorTime = u.parts[0].cpu / float64(f.Answers.All.Count) * 1000
	}
}

// hear takes over how streams were told.
func (f *figures) hear(s *streams, t told) error {
	f.StreamsLost, f.ToldMissing = s.lost.Load(), t.missing
	if n := len(t.took); n > 0 {
		f.ToldP50, f.ToldMax = millis(t.took[n/2]), millis(t.took[n-1])
	}
	return t.err
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// failed reports whether something was not answered as it has to be.
func (f *figures) failed() bool {
	return f.Answers.Errors > 0 || f.StreamsLost > 0 || f.ToldMissing > 0
}

func (f *figures) print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%s\n\n", f.Machine)
	fmt.Fprintln(tw, "requests\tcount\tp50 ms\tp90 ms\tp99 ms\tmax ms\t")
	for _, c := range append(f.Answers.Classes, f.Answers.All) {
		fmt.Fprintf(tw, "%s\t%d\t%.2f\t%.2f\t%.2f\t%.1f\t\n", c.Name, c.Count, c.P50, c.P90, c.P99, c.Max)
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	fmt.Fprintln(w)
	tw = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	all := f.Answers.All
	row := func(what, value, aim string, met bool) {
		verdict := ""
		if aim != "" {
			verdict = map[bool]string{true: "met", false: "missed"}[met]
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", what, value, aim, verdict)
	}
	row("requests answered", fmt.Sprintf("%.0f /s", f.Achieved), fmt.Sprintf("≥ %.0f /s", rateMin*float64(f.Rate)), f.Achieved >= rateMin*float64(f.Rate))
	row("requests that were due and not made", fmt.Sprint(f.Answers.Dropped), fmt.Sprintf("≤ %.0f", dropMax*float64(f.Rate)*f.Seconds), float64(f.Answers.Dropped) <= dropMax*float64(f.Rate)*f.Seconds)
	row("errors", fmt.Sprint(f.Answers.Errors), "0", f.Answers.Errors == 0)
	row("90 of 100 within", fmt.Sprintf("%.2f ms", all.P90), fmt.Sprintf("≤ %v ms", p90Max), all.P90 <= p90Max)
	row("99 of 100 within", fmt.Sprintf("%.2f ms", all.P99), fmt.Sprintf("≤ %v ms", p99Max), all.P99 <= p99Max)
	row("an exchange with the database, mean", fmt.Sprintf("%.3f ms", f.QueryMean), fmt.Sprintf("≤ %v ms", queryMax), f.QueryMean <= queryMax)
	row("exchanges, statements", fmt.Sprintf("%.0f, %.0f /s", f.Queries, f.Statements), "", true)
	row("live streams, of which lost", fmt.Sprintf("%d, %d", f.Streams, f.StreamsLost), "none lost", f.StreamsLost == 0)
	row("from a change to a stream, p50, the last", fmt.Sprintf("%.0f ms, %.0f ms", f.ToldP50, f.ToldMax), "all told", f.ToldMissing == 0)
	row("memory that central grew by for an idle stream", fmt.Sprintf("%.1f KiB", float64(f.StreamBytes)/(1<<10)), "", true)
	row("central's processor time for a request", fmt.Sprintf("%.3f ms", f.ProcessorTime), "", true)
	for _, p := range f.Parts {
		row(p.Name+": processors, memory", fmt.Sprintf("%.2f, %d MiB", p.Processors, p.Bytes>>20), "", true)
	}
	row("what is no part of the test: processors", fmt.Sprintf("%.2f", f.Others), "", true)
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	return nil
}

func (f *figures) write(file string) error {
	if file == "" {
		return nil
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	return nil
}
