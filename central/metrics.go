package central

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"gatehouse/central/api/live"
	"gatehouse/central/gateapi"
	"gatehouse/central/notify"
	"gatehouse/syncproto"
)

// scrapeTimeout bounds the reading of one figure that is in the database.
const scrapeTimeout = 2 * time.Second

// metered counts what gates push.
type metered struct {
	gateapi.Journals
	pushes  *prometheus.CounterVec
	entries prometheus.Counter
	seconds prometheus.Histogram
}

// newMetered registers the counters of journals.
func newMetered(journals gateapi.Journals, registry *prometheus.Registry) (*metered, error) {
	m := &metered{
		Journals: journals,
		pushes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_pushes_total", Help: "Pushes of journal entries, by result: stored, refused or failed.",
		}, []string{"result"}),
		entries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatehouse_push_entries_total", Help: "Journal entries in pushes that were stored, repeated ones included.",
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gatehouse_push_seconds", Help: "Time to store and judge a push.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
	}
	for _, result := range []string{"stored", "refused", "failed"} {
		m.pushes.WithLabelValues(result) // so that each is there from the start, at zero
	}
	return m, register(registry, m.pushes, m.entries, m.seconds)
}

// Push implements gateapi.Journals.
func (m *metered) Push(ctx context.Context, pusher uuid.UUID, req syncproto.PushRequest) (syncproto.PushReply, error) {
	began := time.Now()
	reply, err := m.Journals.Push(ctx, pusher, req)
	m.seconds.Observe(time.Since(began).Seconds())
	switch {
	case err == nil:
		m.pushes.WithLabelValues("stored").Inc()
		m.entries.Add(float64(len(req.Entries)))
	case syncproto.AsError(err) != nil:
		m.pushes.WithLabelValues("refused").Inc()
	default:
		m.pushes.WithLabelValues("failed").Inc()
	}
	return reply, err
}

// queries measures what is asked of the database.
type queries struct {
	seconds    prometheus.Histogram
	statements prometheus.Counter
}

func newQueries() *queries {
	return &queries{
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gatehouse_database_seconds", Help: "Time of an exchange with the database, from the request to the end of the answer; BEGIN and COMMIT count.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		statements: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatehouse_database_statements_total", Help: "Statements that were sent to the database; one exchange can be of several.",
		}),
	}
}

func (q *queries) observe(took time.Duration, statements int) {
	q.seconds.Observe(took.Seconds())
	q.statements.Add(float64(statements))
}

// registerState registers the figures of the process and its workers.
func (c *Central) registerState(registry *prometheus.Registry, workers []*worker) error {
	figures := []prometheus.Collector{
		c.queries.seconds, c.queries.statements,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_roster_unsealed_rows", Help: "Changes that are committed and not in the change log yet; near 0 while a sealer runs.",
		}, figure(c.backlog)),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_gates_quarantined", Help: "Gates in quarantine: what they admit is kept and counts for nothing until an operator decides.",
		}, figure(c.Fleet.InQuarantine)),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_findings_open", Help: "Findings of all events that nobody has noted or closed.",
		}, figure(c.Findings.Open)),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_gates_diverged", Help: "Gates whose last comparison found that their roster was not central's, repaired or not.",
		}, figure(c.diverged)),
	}
	for _, w := range workers {
		figures = append(figures, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_worker_up", Help: "1 while a worker runs.", ConstLabels: prometheus.Labels{"worker": w.name},
		}, func() float64 {
			if w.up.Load() {
				return 1
			}
			return 0
		}))
	}
	return register(registry, figures...)
}

// liveStreams is the figure of a hub.
func liveStreams(hub *live.Hub) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gatehouse_live_streams", Help: "Live streams that are open.",
	}, func() float64 { return float64(hub.Streams()) })
}

// letterFigures are the figures of letters.
func letterFigures(n *notify.Service) []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_mail_queued", Help: "Letters that wait to be sent, those that are tried again included.",
		}, figure(n.Desk.Waiting)),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gatehouse_mail_sent_total", Help: "Letters that the mail server has taken from this process.",
		}, func() float64 {
			sent, _ := n.Counts()
			return float64(sent)
		}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gatehouse_mail_failed_total", Help: "Letters that this process gave up.",
		}, func() float64 {
			_, failed := n.Counts()
			return float64(failed)
		}),
	}
}

// figure reads a figure that is in the database; it is NaN where it is not known.
func figure[N int | int64](read func(context.Context) (N, error)) func() float64 {
	return func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
		defer cancel()
		n, err := read(ctx)
		if err != nil {
			return math.NaN()
		}
		return float64(n)
	}
}

func register(registry *prometheus.Registry, figures ...prometheus.Collector) error {
	for _, f := range figures {
		if err := registry.Register(f); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}
