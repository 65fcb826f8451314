package main

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"crmintake/outbox/operator"
	"crmintake/worker/admin"
	"crmintake/worker/pipeline"
)

// readiness is a worker as it is seen from outside: its metrics, and whether it is ready. Its parts come one by one
// while it starts.
type readiness struct {
	registry *prometheus.Registry
	metrics  *pipeline.Metrics

	postgres atomic.Bool // was reached
	nats     atomic.Pointer[nats.Conn]
	worker   atomic.Pointer[pipeline.Worker]
	stopping atomic.Bool
}

func newReadiness() *readiness {
	s := &readiness{registry: prometheus.NewRegistry()}
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	f := promauto.With(s.registry)
	for server, is := range map[string]func() bool{"postgres": s.hasPostgres, "nats": s.hasNATS} {
		f.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "crmintake_connected", Help: "1 while the server answers, else 0.",
			ConstLabels: prometheus.Labels{"server": server},
		}, func() float64 {
			if is() {
				return 1
			}
			return 0
		})
	}
	b := thisBuild()
	f.NewGauge(prometheus.GaugeOpts{
		Name: "crmintake_build_info", Help: "Always 1; the labels say which build it is.",
		ConstLabels: prometheus.Labels{"version": b.Version, "commit": b.Commit, "goversion": b.Go},
	}).Set(1)
	s.metrics = pipeline.NewMetrics(s.registry)
	return s
}

func (s *readiness) hasPostgres() bool {
	if w := s.worker.Load(); w != nil {
		return w.Health().DatabaseFails == 0
	}
	return s.postgres.Load()
}

func (s *readiness) hasNATS() bool {
	nc := s.nats.Load()
	return nc != nil && nc.IsConnected()
}

// alive returns once the worker's lock could be had.
func (s *readiness) alive() {
	if w := s.worker.Load(); w != nil {
		w.Health()
	}
}

func (s *readiness) ready() admin.Readiness {
	var r admin.Readiness
	reason := func(is bool, format string, args ...any) {
		if is {
			r.Reasons = append(r.Reasons, fmt.Sprintf(format, args...))
		}
	}
	reason(s.stopping.Load(), "it is stopping")
	w := s.worker.Load()
	if w == nil {
		reason(!s.hasPostgres(), "Postgres is not there yet")
		reason(!s.hasNATS(), "NATS is not there yet")
		reason(s.hasPostgres() && s.hasNATS(), "JetStream is not there yet")
		return r
	}
	h := w.Health()
	reason(h.DatabaseFails > 0, "Postgres %s, for %v", h.Database.What(), h.DatabaseFails.Round(time.Second))
	reason(!s.hasNATS(), "NATS is not connected")
	reason(h.StreamFails > 0, "the stream delivers nothing, for %v", h.StreamFails.Round(time.Second))
	r.Ready, r.Paused = r.Reasons == nil, h.Paused
	sight := w.Fleet().Sight()
	if !s.hasNATS() {
		sight.Stream, sight.StreamWhy, sight.StreamDo = nil, "no connection", startNATSDo
	}
	v := operator.Judge(sight)
	r.Verdict, r.Do = v.Text, v.Do
	return r
}
