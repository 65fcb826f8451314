package fleet

import (
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"crmintake/outbox"
	"crmintake/outbox/operator"
)

// Metrics are the figures of the fleet, alike from each worker of it, and the verdict. NewMetrics makes them. A look at
// them asks nobody: it is answered at once, whatever state the servers are in.
type Metrics struct {
	backlog, unacked, stranded           prometheus.Gauge
	rows                                 *prometheus.GaugeVec // by status
	overdue                              prometheus.Gauge
	limit, used, left, dayLimit, dayUsed prometheus.Gauge
	headroom, alive, wanted, seen        prometheus.Gauge

	member atomic.Pointer[Member] // whose they are; nil until there is one
}

const namespace = "crmintake"

// NewMetrics makes the metrics for one Member, and registers them, unless r is nil. All series are there from the
// start, at zero.
func NewMetrics(r prometheus.Registerer) *Metrics {
	f := promauto.With(r)
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
	}
	m := &Metrics{
		backlog: gauge("backlog_events", "Events in the stream that were delivered to nobody yet."),
		unacked: gauge("backlog_unacked_events",
			"Events in the stream that were delivered and are not acked: in a worker's hands, or put off."),
		stranded: gauge("backlog_stranded_events",
			"Events in the stream that are neither of these and are delivered to nobody: see 'crmintake check'. Some "+
				"may be missed while much comes and goes."),
		rows: f.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: "outbox_rows",
			Help: "Rows of the outbox. Above 100,000 of a status, and in a table above 16 MiB for created ones, " +
				"it is the database's estimate."}, []string{"status"}),
		overdue: gauge("outbox_oldest_due_seconds",
			"For how long the first of the rows to be sent or asked about again is due; 0 if none is."),
		limit: gauge("quota_limit_calls", "Calls that all workers may make in the window of the quota; 0 without one."),
		used:  gauge("quota_used_calls", "Calls that all workers made in the window that ends now."),
		left: gauge("quota_left_calls",
			"Calls that all workers could make now; what is reserved, or used by others, is left out."),
		dayLimit: gauge("quota_day_limit_calls",
			"Calls that all workers may make in a day, less what is reserved; 0 for any number."),
		dayUsed: gauge("quota_day_used_calls", "Calls that all workers made today, in the quota's time zone."),
		headroom: gauge("quota_headroom_ratio",
			"The free share of what the quota leaves to the workers: at 0 more of them help nobody. 1 without a quota."),
		alive: gauge("workers_alive", "Workers that were heard of in the last ten seconds."),
		wanted: gauge("workers_wanted",
			"Workers that would work the backlog off in a minute, or as fast as the quota allows."),
		seen: gauge("fleet_seen_timestamp_seconds",
			"When the figures of the fleet were last brought up to date; 0 if never."),
	}
	for _, status := range []outbox.Status{outbox.Sending, outbox.Created, outbox.Retry,
		outbox.Unknown, outbox.Dead, outbox.Discarded} {
		m.rows.WithLabelValues(string(status))
	}
	if r != nil {
		r.MustRegister(verdict{m})
	}
	return m
}

// show takes over what a snapshot found. What it did not find stays as it was, and fleet_seen_timestamp_seconds is
// since when.
func (m *Metrics) show(s *snapshot, load Load, quota outbox.Quota) {
	if s.streamErr == nil {
		m.backlog.Set(float64(s.pending))
		m.unacked.Set(float64(s.unacked))
	}
	if s.stranded >= 0 {
		m.stranded.Set(float64(s.stranded))
	}
	scale := load.Autoscale()
	if s.outboxErr == nil {
		for status, n := range s.counts.Rows {
			m.rows.WithLabelValues(string(status)).Set(float64(n))
		}
		m.overdue.Set(s.counts.Overdue.Seconds())
		m.alive.Set(float64(len(s.workers)))
		m.limit.Set(float64(quota.Calls))
		m.used.Set(float64(s.quota.Used))
		m.dayLimit.Set(float64(quota.DayLimit()))
		m.dayUsed.Set(float64(s.quota.UsedToday))
		free := 1.0
		if scale.Headroom >= 0 {
			m.left.Set(float64(scale.Headroom))
			free = float64(scale.Headroom) / float64(load.Calls)
		}
		m.headroom.Set(free)
	}
	if errors.Join(s.streamErr, s.outboxErr) == nil {
		m.wanted.Set(float64(scale.WorkersWanted))
		m.seen.SetToCurrentTime()
	}
}

// verdict collects what Member.Verdict says at the moment of a look.
type verdict struct{ *Metrics }

var (
	verdictDesc = prometheus.NewDesc(namespace+"_verdict",
		"1 for how things stand, as the first line of status says, else 0.", []string{"state"}, nil)
	personDesc = prometheus.NewDesc(namespace+"_needs_person",
		"1 while something needs a person, as status tells, else 0.", nil, nil)
	stoppedDesc = prometheus.NewDesc(namespace+"_stopped",
		"1 while nothing moves, whatever waits, as status tells, else 0.", nil, nil)
)

// Describe implements prometheus.Collector.
func (verdict) Describe(to chan<- *prometheus.Desc) {
	to <- verdictDesc
	to <- personDesc
	to <- stoppedDesc
}

// Collect implements prometheus.Collector.
func (v verdict) Collect(to chan<- prometheus.Metric) {
	var now operator.Verdict
	if m := v.member.Load(); m != nil {
		now = m.Verdict()
	}
	gauge := func(desc *prometheus.Desc, is bool, labels ...string) {
		value := 0.0
		if is {
			value = 1
		}
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	for _, state := range operator.States {
		gauge(verdictDesc, now.State == state, string(state))
	}
	gauge(personDesc, now.Person)
	gauge(stoppedDesc, now.Stopped)
}
