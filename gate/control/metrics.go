package control

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gatehouse/gate/engine"
	"gatehouse/hardware"
)

// scrapeWait bounds how long a scrape waits for the gate's status.
const scrapeWait = 2 * time.Second

// Metrics are a gate's figures for Prometheus, in a registry of their own. They
// are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	decide   *prometheus.HistogramVec
	durable  *prometheus.HistogramVec
	scans    *prometheus.CounterVec
	commit   prometheus.Histogram
	entries  prometheus.Counter
}

// MetricsConfig is what a gate's metrics are read from. All fields are required.
type MetricsConfig struct {
	// Status is read at every scrape.
	Status func(ctx context.Context) (Status, error)
	// Watchers is how many staff pages are connected.
	Watchers func() int
}

// NewMetrics makes the metrics of one gate.
func NewMetrics(cfg MetricsConfig) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		decide: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gatehouse_decision_seconds", Help: "Time from a complete read to its decision.",
			Buckets: prometheus.ExponentialBuckets(1e-6, 2, 18),
		}, []string{"lane", "decision"}),
		durable: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gatehouse_durable_seconds", Help: "Time from a complete read to the return of the fsync, for answers that are journalled.",
			Buckets: prometheus.ExponentialBuckets(32e-6, 2, 16),
		}, []string{"lane", "decision"}),
		scans: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_scans_total", Help: "Answered scans.",
		}, []string{"lane", "decision", "reason"}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gatehouse_fsync_seconds", Help: "Time of one group commit of the journal, to the return of its fsync.",
			Buckets: prometheus.ExponentialBuckets(32e-6, 2, 16),
		}),
		entries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatehouse_journal_entries_total", Help: "Entries made durable since the gate started.",
		}),
	}
	m.registry.MustRegister(m.decide, m.durable, m.scans, m.commit, m.entries, newStatusCollector(cfg),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Scan counts an answer. It takes about a microsecond and never blocks.
func (m *Metrics) Scan(r engine.Result) {
	decision, lane := r.Decision.Decision, label(r.Lane)
	m.scans.WithLabelValues(lane, decision, string(r.Reason)).Inc()
	m.decide.WithLabelValues(lane, decision).Observe(r.Decide.Seconds())
	// An answer that promised nothing was never on disk: it would make the disk
	// look faster than it is.
	if r.Durable > r.Decide {
		m.durable.WithLabelValues(lane, decision).Observe(r.Durable.Seconds())
	}
}

// Commit counts a group commit of the journal: its entries, and the time to the
// end of its fsync. It never blocks.
func (m *Metrics) Commit(n int, took time.Duration) {
	m.commit.Observe(took.Seconds())
	m.entries.Add(float64(n))
}

// Handler serves the figures to Prometheus. If the status cannot be had, the
// other figures are served nevertheless.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// statusCollector turns the gate's status into figures when it is scraped.
type statusCollector struct {
	cfg MetricsConfig

	unsent, rows, age, tickets, online, fault, watchers *prometheus.Desc
	scannerUp, dropped, reconnects                      *prometheus.Desc
	checkedAt, checkResult, checkRepaired, divergedAt   *prometheus.Desc
}

func newStatusCollector(cfg MetricsConfig) *statusCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("gatehouse_"+name, help, labels, nil)
	}
	return &statusCollector{
		cfg:       cfg,
		unsent:    desc("unsent", "Journal entries that central does not hold yet."),
		rows:      desc("journal_rows", "Entries in the journal file."),
		age:       desc("cursor_age_seconds", "Time since the roster was known to be current; absent when it never was."),
		tickets:   desc("tickets", "Tickets on the roster."),
		online:    desc("central_online", "1 while central answers."),
		fault:     desc("fault", "1 while the gate refuses everybody or has something to tell its operator."),
		watchers:  desc("sse_clients", "Staff pages that are connected."),
		checkedAt: desc("check_timestamp_seconds", "When the roster was last compared with central's; absent when it never was."),
		checkResult: desc("check_result", "1 for how the last comparison of the roster with central's ended: equal, repaired, resync, diverged, unsupported or cannot.",
			"result"),
		checkRepaired: desc("check_repaired_records", "Records that the last comparison put right."),
		divergedAt:    desc("diverged_timestamp_seconds", "When the roster was last found to differ from central's; absent when it never was."),
		scannerUp:     desc("scanner_up", "1 while the lane's scanner is open.", "lane"),
		dropped:       desc("frames_dropped_total", "Frames that the scanner's driver did not hand over.", "lane", "reason"),
		reconnects:    desc("reconnects_total", "How often the lane's scanner came up again after a loss.", "lane"),
	}
}

// Describe is part of prometheus.Collector.
func (c *statusCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.unsent, c.rows, c.age, c.tickets, c.online, c.fault, c.watchers, c.scannerUp, c.dropped, c.reconnects, c.checkedAt, c.checkResult, c.checkRepaired, c.divergedAt} {
		out <- d
	}
}

// Collect is part of prometheus.Collector.
func (c *statusCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeWait)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(c.watchers, float64(c.cfg.Watchers()))
	s, err := c.cfg.Status(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(c.unsent, err)
		return
	}
	gauge(c.unsent, float64(s.Unsent))
	gauge(c.rows, float64(s.JournalRows))
	gauge(c.tickets, float64(s.Tickets))
	gauge(c.online, oneIf(s.Central == Online))
	gauge(c.fault, oneIf(s.Broken || s.Locked || s.Fault != ""))
	if s.CursorAgeS != nil {
		gauge(c.age, *s.CursorAgeS)
	}
	if s.Check != nil {
		c.check(gauge, s.Check)
	}
	for _, l := range s.Lanes {
		if l.Scanner != nil {
			gauge(c.scannerUp, oneIf(l.Scanner.State == hardware.StateUp.String()), label(l.Name))
			c.counters(out, label(l.Name), l.Scanner)
		}
	}
}

func (c *statusCollector) check(gauge func(d *prometheus.Desc, v float64, labels ...string), k *Check) {
	gauge(c.checkResult, 1, k.Result)
	gauge(c.checkRepaired, float64(k.Records))
	if k.At != nil {
		gauge(c.checkedAt, float64(k.At.Unix()))
	}
	if k.DivergedAt != nil {
		gauge(c.divergedAt, float64(k.DivergedAt.Unix()))
	}
}

func (c *statusCollector) counters(out chan<- prometheus.Metric, lane string, s *Scanner) {
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	counter(c.reconnects, s.Reconnects, lane)
	counter(c.dropped, s.Dropped.Noise, lane, "noise")
	counter(c.dropped, s.Dropped.Long, lane, "long")
	counter(c.dropped, s.Dropped.Partial, lane, "partial")
	counter(c.dropped, s.Dropped.Settle, lane, "settle")
	counter(c.dropped, s.Dropped.Queue, lane, "queue")
}

// label makes an operator's text fit for a label, which must be UTF-8.
func label(name string) string { return strings.ToValidUTF8(name, "\uFFFD") }

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
