package fleet

import (
	"context"
	"errors"
	"time"

	"crmintake/outbox"
	"crmintake/outbox/operator"
)

// snapshot is how things stand in the stream, the outbox and the fleet. Either part may be missing, for the reason that
// its error is.
type snapshot struct {
	pending, unacked int // in the stream
	stranded         int // as well; -1 if that is not known
	streamErr        error

	counts    outbox.StatusCounts
	status    operator.Status   // without counts; it may be there beside an error
	workers   []outbox.Capacity // of those that are alive
	quota     outbox.QuotaState
	outboxErr error
}

// snapshotPatience is for each question: one that hangs leaves the others their time.
const snapshotPatience = 5 * time.Second

// snapshot asks the stream and the outbox.
func (m *Member) snapshot(ctx context.Context) (s snapshot) {
	s.askStream(ctx, m.cfg.Stream)
	if s.streamErr == nil {
		m.cfg.Self.StreamAnswered()
	}
	s.stranded = -1
	if s.streamErr == nil {
		s.askStranded(ctx, m.cfg.Stream)
	}
	s.outboxErr = m.askOutbox(ctx, &s)
	return s
}

func (s *snapshot) askStream(ctx context.Context, stream Stream) {
	ctx, cancel := context.WithTimeout(ctx, snapshotPatience)
	defer cancel()
	s.pending, s.unacked, s.streamErr = stream.Outstanding(ctx)
}

func (s *snapshot) askStranded(ctx context.Context, stream Stream) {
	ctx, cancel := context.WithTimeout(ctx, snapshotPatience)
	defer cancel()
	if n, _, err := stream.Stranded(ctx); err == nil {
		s.stranded = n
	}
}

func (m *Member) askOutbox(ctx context.Context, s *snapshot) (err error) {
	ctx, cancel := context.WithTimeout(ctx, snapshotPatience)
	defer cancel()
	if s.status, err = m.operator.Look(ctx); err != nil {
		return err
	}
	for _, w := range s.status.Workers {
		if w.Alive {
			s.workers = append(s.workers, w.Capacity)
		}
	}
	if s.status.Left != "" {
		return errors.New("somebody's lock is in the way")
	}
	if s.counts, err = m.cfg.Store.Read.StatusCounts(ctx); err != nil {
		return err
	}
	if m.cfg.Quota.Calls > 0 {
		s.quota, _, err = m.cfg.Store.Quota.State(ctx, m.cfg.Quota.Account)
	}
	return err
}

// load is what a snapshot found, with what the settings say and what this worker knows itself.
func (m *Member) load(s *snapshot, state *State) Load {
	l := Load{
		Backlog: s.pending + s.unacked + int(s.counts.Waiting), Batch: m.cfg.Batch,
		Calls: m.cfg.Quota.Calls, Window: m.cfg.Quota.Window,
	}
	l.Add(s.workers)
	l.Workers = max(l.Workers, 1) // this one, which may have said so to nobody yet
	if l.Calls > 0 && s.quota.Effective > 0 {
		l.Calls, l.Used, l.Blocked = s.quota.Effective, s.quota.Used, s.quota.BlockedFor
	}
	for _, p := range state.Pauses {
		l.Paused, l.Partly = l.Paused || p.ObjectType == outbox.Account, true
	}
	if _, crm := m.report.read(); crm != nil {
		l.Partly = true
	}
	return l
}

// Autoscale asks the stream and the outbox what the fleet has to do, and says what it needs for that. Its cost is
// bounded (see outbox.Reader.StatusCounts): it may be asked every few seconds. The error is the stream's or the
// database's.
func (m *Member) Autoscale(ctx context.Context) (Autoscale, error) {
	s := m.snapshot(ctx)
	if err := errors.Join(s.streamErr, s.outboxErr); err != nil {
		return Autoscale{}, err
	}
	state := m.cfg.Self.State()
	return m.load(&s, &state).Autoscale(), nil
}
