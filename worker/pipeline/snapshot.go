package pipeline

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"crmintake/outbox"
	"crmintake/outbox/operator"
)

// snapshot is how things stand in the stream, the outbox and the fleet. Either part may be missing, for the reason that
// its error tells.
type snapshot struct {
	pending, unacked int // in the stream
	stranded         int // as well; -1 if that is not known
	streamErr        error

	census    outbox.StatusCounts
	look      operator.Status   // without counts; it may be there beside an error
	workers   []outbox.Capacity // of those that are alive
	quota     outbox.QuotaState
	outboxErr error
}

// snapshotPatience is for each question: one that hangs leaves the others their time.
const snapshotPatience = 5 * time.Second

// snapshotAfterStart is how long a worker that starts leaves the first one alone: its first calls are more urgent, and
// would wait for one more connection.
const snapshotAfterStart = 500 * time.Millisecond

// fetchSilent is for how long no fetch has failed when none is made, because of a pause or because nothing more may be
// taken in hand: one that goes on failing does so more often. Then the stream's other answers tell that it works, and
// nothing else would.
const fetchSilent = 10 * time.Second

// snapshot asks the stream and the outbox.
func (w *Worker) snapshot(ctx context.Context) (s snapshot) {
	s.streamErr = func() (err error) {
		ctx, cancel := context.WithTimeout(ctx, snapshotPatience)
		defer cancel()
		s.pending, s.unacked, err = w.source.Outstanding(ctx)
		if err == nil && w.stream.calm(fetchSilent) {
			w.stream.worked()
		}
		return err
	}()
	s.stranded = func() int {
		ctx, cancel := context.WithTimeout(ctx, snapshotPatience)
		defer cancel()
		if s.streamErr != nil {
			return -1
		}
		n, _, err := w.source.Stranded(ctx)
		if err != nil {
			return -1
		}
		return n
	}()
	s.outboxErr = func() (err error) {
		ctx, cancel := context.WithTimeout(ctx, snapshotPatience)
		defer cancel()
		if s.look, err = w.operator.Look(ctx); err != nil {
			return err
		}
		for _, other := range s.look.Workers {
			if other.Alive {
				s.workers = append(s.workers, outbox.Capacity{Batch: other.BatchSize, Rate: other.Rate})
			}
		}
		if s.look.Left != "" {
			return errors.New("somebody's lock is in the way")
		}
		if s.census, err = w.store.Read.StatusCounts(ctx); err != nil {
			return err
		}
		if w.cfg.Quota.Calls > 0 {
			s.quota, _, err = w.store.Quota.State(ctx, outbox.QuotaAccount)
		}
		return err
	}()
	return s
}

// load is what a survey found, with what the settings say.
func (w *Worker) load(s *snapshot) Load {
	l := Load{
		Backlog: s.pending + s.unacked + int(s.census.Waiting), Batch: w.cfg.Batch.Size, Calls: w.cfg.Quota.Calls, Window: w.cfg.Quota.Window,
		Target: SignalTarget,
	}
	l.Add(s.workers)
	l.Workers = max(l.Workers, 1) // this one, which may have said so to nobody yet
	if l.Calls > 0 && s.quota.Effective > 0 {
		l.Calls, l.Used, l.Blocked = s.quota.Effective, s.quota.Used, s.quota.BlockedFor
	}
	_, l.Paused = w.pauses.Get(outbox.Account)
	w.toldMu.Lock()
	defer w.toldMu.Unlock()
	l.Partly = len(w.pauses.List()) > 0 || !w.unwell.since.IsZero()
	return l
}

// snapshotEvery is how often the fleet's metrics are brought up to date. A look at them asks nobody: it is answered at
// once, whatever state the database is in.
const snapshotEvery = 10 * time.Second

// watchFleet keeps the fleet's metrics.
func (w *Worker) watchFleet(ctx context.Context) error {
	if !sleep(ctx, snapshotAfterStart) {
		return nil
	}
	for {
		s := w.snapshot(ctx)
		w.showFleet(&s)
		w.keepSight(&s)
		if !sleep(ctx, snapshotEvery) {
			return nil
		}
	}
}

// fleetMetrics are the same from each worker of the fleet.
type fleetMetrics struct {
	backlog, unacked, stranded           prometheus.Gauge
	rows                                 *prometheus.GaugeVec // by status
	overdue                              prometheus.Gauge
	limit, used, left, dayLimit, dayUsed prometheus.Gauge
	headroom, alive, wanted, seen        prometheus.Gauge
}

func newFleetMetrics(f factory) fleetMetrics {
	m := fleetMetrics{
		backlog: f.gauge("backlog_events", "Events in the stream that were delivered to nobody yet."),
		unacked: f.gauge("backlog_unacked_events", "Events in the stream that were delivered and are not acked: in a worker's hands, or put off."),
		stranded: f.gauge("backlog_stranded_events",
			"Events in the stream that are neither of these and are delivered to nobody: see 'crmintake check'. Some "+
				"may be missed while much comes and goes."),
		rows: f.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: "outbox_rows",
			Help: "Rows of the outbox. Above 100,000 of a status, and in a table above 16 MiB for created ones, it is the " +
				"database's estimate."}, []string{"status"}),
		overdue:  f.gauge("outbox_oldest_due_seconds", "For how long the first of the rows to be sent or asked about again is due; 0 if none is."),
		limit:    f.gauge("quota_limit_calls", "Calls that all workers may make in the window of the quota; 0 without one."),
		used:     f.gauge("quota_used_calls", "Calls that all workers made in the window that ends now."),
		left:     f.gauge("quota_left_calls", "Calls that all workers could make now; what is reserved, or used by others, is left out."),
		dayLimit: f.gauge("quota_day_limit_calls", "Calls that all workers may make in a day, less what is reserved; 0 for any number."),
		dayUsed:  f.gauge("quota_day_used_calls", "Calls that all workers made today, in the quota's time zone."),
		headroom: f.gauge("quota_headroom_ratio", "The free share of what the quota leaves to the workers: at 0 more of them help nobody. 1 without a quota."),
		alive:    f.gauge("workers_alive", "Workers that were heard of in the last ten seconds."),
		wanted:   f.gauge("workers_wanted", "Workers that would work the backlog off in a minute, or as fast as the quota allows."),
		seen:     f.gauge("fleet_seen_timestamp_seconds", "When the figures of the fleet were last brought up to date; 0 if never."),
	}
	for _, status := range []outbox.Status{outbox.Sending, outbox.Created, outbox.Retry, outbox.Unknown, outbox.Dead, outbox.Discarded} {
		m.rows.WithLabelValues(string(status))
	}
	return m
}

// showFleet takes over what a survey found. What it did not find stays as it was, and fleet_seen_timestamp_seconds
// tells since when.
func (w *Worker) showFleet(s *snapshot) {
	m := &w.metrics.fleet
	if s.streamErr == nil {
		m.backlog.Set(float64(s.pending))
		m.unacked.Set(float64(s.unacked))
	}
	if s.stranded >= 0 {
		m.stranded.Set(float64(s.stranded))
	}
	if s.outboxErr == nil {
		for status, n := range s.census.Rows {
			m.rows.WithLabelValues(string(status)).Set(float64(n))
		}
		m.overdue.Set(s.census.Overdue.Seconds())
		m.alive.Set(float64(len(s.workers)))
		m.limit.Set(float64(w.cfg.Quota.Calls))
		m.used.Set(float64(s.quota.Used))
		m.dayLimit.Set(float64(w.cfg.Quota.shared().DayLimit()))
		m.dayUsed.Set(float64(s.quota.UsedToday))
		load := w.load(s)
		free := 1.0
		if headroom := load.Signals().Headroom; headroom >= 0 {
			m.left.Set(float64(headroom))
			free = float64(headroom) / float64(load.Calls)
		}
		m.headroom.Set(free)
	}
	if errors.Join(s.streamErr, s.outboxErr) == nil {
		m.wanted.Set(float64(w.load(s).Signals().WorkersWanted))
		m.seen.SetToCurrentTime()
	}
}
