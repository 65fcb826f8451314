package pipeline

import (
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"crmintake/batcher"
	"crmintake/outbox"
	"crmintake/worker"
	"crmintake/worker/fleet"
)

// Metrics are what a worker counts and measures. NewMetrics makes them. Labels have few values, all known beforehand,
// so that each series is there from the start, at zero. cmd/crmintake/REFERENCE.md lists them; a test there compares it
// with the program.
type Metrics struct {
	received, redelivered, duplicates, givenBack prometheus.Counter
	events                                       *prometheus.CounterVec // by outcome and reason
	eventTime                                    prometheus.Histogram
	retries, leasesLost, removed                 prometheus.Counter
	reconciliations                              *prometheus.CounterVec // by result

	batches                 *prometheus.CounterVec // by cut
	batchEvents             prometheus.Histogram
	calls                   *prometheus.CounterVec   // by kind and status
	callTime                *prometheus.HistogramVec // by kind
	inFlight                prometheus.Gauge
	intentTime, outcomeTime prometheus.Observer

	fleet  *fleet.Metrics
	worker atomic.Pointer[Worker] // whose they are; nil until there is one
}

// The values of labels.
var (
	callKinds     = []string{"create", "read"}
	statusClasses = []string{"2xx", "207", "3xx", "400", "401", "403", "404", "409", "413", "429", "477",
		"4xx", "5xx", "none"}
	deadReasons = []string{string(outbox.InvalidEvent), string(outbox.Rejected), string(outbox.Conflict),
		string(outbox.Exhausted),
		string(outbox.UnknownOutcome), string(outbox.IDReused)}
	pauseCauses = []outbox.Cause{outbox.ByCredential, outbox.ByAnswer, outbox.ByBreaker, outbox.ByOperator}
)

// Why a batch was cut, beside the batcher's reasons: its rows were due in the outbox, or it is a part of a refused one.
const (
	cutDue   = "due"
	cutSplit = "split"
)

const namespace = "crmintake"

// NewMetrics makes the metrics of one worker, and registers them, unless r is nil.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{}
	f := factory{promauto.With(r)}
	m.received = f.counter("received_total", "Messages that came from the stream, those that come again included.")
	m.redelivered = f.counter("redeliveries_total", "Messages that the stream had delivered before, to whichever worker.")
	m.duplicates = f.counter("duplicates_total", "Messages whose event the outbox had already.")
	m.givenBack = f.counter("given_back_total", "Messages that were returned to the stream, because of a pause or a stop.")
	m.events = f.counters("events_total",
		"Outcomes that were committed. An event that is sent or asked about again has several. "+
			"The reason is that of dead ones.", "outcome", "reason")
	m.eventTime = f.histogram("event_duration_seconds",
		"From an event's publication (when it is sent again: from its arrival in the outbox, or its replay) "+
			"until it is committed as created or dead.",
		.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400)
	m.retries = f.counter("retries_total", "Events that were sent again.")
	m.reconciliations = f.counters("reconciliations_total",
		"What became of events in doubt, each time that one was looked at.", "result")
	m.leasesLost = f.counter("leases_lost_total",
		"Calls, of whichever worker, whose outcome was not committed before their lease ran out.")
	m.removed = f.counter("removed_total", "Created rows that were removed because they had been kept for long enough.")
	m.batches = f.counters("batches_total",
		"Batches that were sent, by why they were cut. due: rows of the outbox were to be sent again; "+
			"split: a part of a batch that was refused.", "cut")
	m.batchEvents = f.histogram("batch_events", "Events in a batch, of those that were sent.",
		1, 2, 5, 10, 20, 40, 60, 80, 99, 100)
	m.calls = f.counters("calls_total",
		"Calls, by kind and by the status of the answer; none: no answer came.", "kind", "status")
	m.callTime = f.histograms("call_duration_seconds", "How long calls took.", "kind",
		.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30)
	commits := f.histograms("commit_duration_seconds",
		"How long it took to commit a batch, tries that failed included.", "commit",
		.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30)
	m.intentTime, m.outcomeTime = commits.WithLabelValues("intent"), commits.WithLabelValues("outcome")
	m.inFlight = f.gauge("calls_in_flight", "Calls under way.")
	m.fleet = fleet.NewMetrics(r)
	if r != nil {
		r.MustRegister(readings{m})
	}

	for _, outcome := range []outbox.Status{outbox.Created, outbox.Retry, outbox.Unknown} {
		m.events.WithLabelValues(string(outcome), "")
	}
	for _, reason := range deadReasons {
		m.events.WithLabelValues("dead", reason)
	}
	for _, result := range []string{"created", "rejected", "conflict", "exhausted", "sent_again", "asked_again",
		"not_read", "unfit", "parked", "resent"} {
		m.reconciliations.WithLabelValues(result)
	}
	for _, why := range []batcher.Reason{batcher.Flush, batcher.Age, batcher.Count, batcher.Bytes} {
		m.batches.WithLabelValues(why.String())
	}
	m.batches.WithLabelValues(cutDue)
	m.batches.WithLabelValues(cutSplit)
	for _, kind := range callKinds {
		m.callTime.WithLabelValues(kind)
		for _, status := range statusClasses {
			m.calls.WithLabelValues(kind, status)
		}
	}
	return m
}

// readings collects what a worker holds and what is paused, at the moment of a look.
type readings struct{ *Metrics }

var (
	eventsDesc = prometheus.NewDesc(namespace+"_events_in_hand",
		"Fresh events that this worker holds, from their arrival to their outcome.", nil, nil)
	bytesDesc = prometheus.NewDesc(namespace+"_bytes_in_hand",
		"What the events that this worker holds, fresh ones and claimed ones, take up, about.", nil, nil)
	pausedDesc = prometheus.NewDesc(namespace+"_paused",
		"Pauses in force: of everything, or of an object type.", []string{"cause", "scope"}, nil)
)

// Describe implements prometheus.Collector.
func (readings) Describe(to chan<- *prometheus.Desc) {
	to <- eventsDesc
	to <- bytesDesc
	to <- pausedDesc
}

// Collect implements prometheus.Collector. It takes the locks of the worker's parts one after the other.
func (r readings) Collect(to chan<- prometheus.Metric) {
	events, bytes, paused := 0, 0, map[[2]string]int{} // by cause and scope
	if w := r.worker.Load(); w != nil {
		events, bytes = w.inflight.Events(), w.inflight.Bytes()
		for _, p := range w.pauses.List() {
			scope := "object_type"
			if p.Key == outbox.Account {
				scope = "all"
			}
			paused[[2]string{string(p.Cause), scope}]++
		}
	}
	gauge := func(desc *prometheus.Desc, n int, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), labels...)
	}
	gauge(eventsDesc, events)
	gauge(bytesDesc, bytes)
	for _, cause := range pauseCauses {
		for _, scope := range []string{"all", "object_type"} {
			gauge(pausedDesc, paused[[2]string{string(cause), scope}], string(cause), scope)
		}
	}
}

// ended counts outcomes that were committed.
func (m *Metrics) ended(status outbox.Status, reason outbox.Reason, n int) {
	if n > 0 {
		m.events.WithLabelValues(string(status), string(reason)).Add(float64(n))
	}
}

// took measures an event that has come to its end now.
func (m *Metrics) took(published, now time.Time) {
	if !published.IsZero() {
		m.eventTime.Observe(max(0, now.Sub(published).Seconds())) // the stream's clock may be ahead
	}
}

// settled counts what became of a batch. Most are created, and counted together.
func (m *Metrics) settled(b *attempt, settlements []outbox.Settlement) {
	created, now := 0, time.Now()
	for k := range settlements {
		s := &settlements[k]
		if s.Status == outbox.Created {
			created++
		} else {
			m.ended(s.Status, s.Reason, 1)
		}
		if b.kind == reconciling {
			m.reconciliations.WithLabelValues(reconciled(s)).Inc()
		}
		if k < len(b.rows) && (s.Status == outbox.Created || s.Status == outbox.Dead) {
			m.took(b.rows[k].published, now)
		}
	}
	m.ended(outbox.Created, "", created)
}

// reconciled is a word for what looking at an event in doubt came to.
func reconciled(s *outbox.Settlement) string {
	switch {
	case s.Status == outbox.Created:
		return "created"
	case s.Status == outbox.Retry:
		return "sent_again"
	case s.Status == outbox.Unknown && s.Missed:
		return "asked_again"
	case s.Status == outbox.Unknown:
		return "not_read"
	case s.Reason == outbox.UnknownOutcome:
		return "parked"
	case s.Reason == outbox.Conflict || s.Reason == outbox.Rejected || s.Reason == outbox.Exhausted:
		return string(s.Reason)
	}
	return "unfit"
}

// called counts a call that was in flight, unless it was never made.
func (m *Metrics) called(kind string, call *worker.Call) {
	m.inFlight.Dec()
	if call.Unsent {
		return
	}
	m.calls.WithLabelValues(kind, statusClass(call.Status)).Inc()
	m.callTime.WithLabelValues(kind).Observe(call.Duration.Seconds())
}

// statusClass is a status, if it means something of its own here, or its class.
func statusClass(status int) string {
	if text := strconv.Itoa(status); slices.Contains(statusClasses, text) {
		return text
	}
	if status < 200 || status > 599 {
		return "none"
	}
	return strconv.Itoa(status/100) + "xx"
}

// factory makes metrics of this program.
type factory struct{ promauto.Factory }

func (f factory) counter(name, help string) prometheus.Counter {
	return f.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
}

func (f factory) counters(name, help string, labels ...string) *prometheus.CounterVec {
	return f.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func (f factory) gauge(name, help string) prometheus.Gauge {
	return f.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
}

func (f factory) histogram(name, help string, buckets ...float64) prometheus.Histogram {
	return f.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets})
}

func (f factory) histograms(name, help, label string, buckets ...float64) *prometheus.HistogramVec {
	opts := prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}
	return f.NewHistogramVec(opts, []string{label})
}
