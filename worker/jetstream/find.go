package jetstream

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"crmintake/worker"
	"crmintake/worker/event"
)

// Waiting is an event that is in the stream still: nobody has taken it, or not for good.
type Waiting struct {
	ID         string
	ObjectType string // "" if the subject names none
	Seq        uint64
	Published  time.Time
	Before     int // events of the stream that are older
}

// Search is what Find came to.
type Search struct {
	Found  []Waiting
	Looked int  // events that were looked at, the oldest first
	All    int  // about how many there were
	Ended  bool // all were looked at, or all ids found
}

// finder has how much of the stream is read at once.
type finder struct {
	step   int // places of the stream that one goroutine goes through, with a request for each event that is there
	atOnce int // goroutines
}

// Find looks for events by their ids in the stream, from the oldest on, since nothing there leads from an id to its
// message. It ends when it has all of them, or has looked at some most events, or ctx ends; then Ended is false. It
// takes nothing from anybody: messages are read, and not delivered.
func Find(ctx context.Context, nc *nats.Conn, cfg Config, ids []string, most int) (s Search, err error) {
	return finder{step: 256, atOnce: 16}.find(ctx, nc, cfg, ids, most)
}

func (f finder) find(ctx context.Context, nc *nats.Conn, cfg Config, ids []string, most int) (s Search, err error) {
	if err := cfg.Validate(); err != nil {
		return s, err
	}
	cfg = cfg.withDefaults()
	js, err := jetstream.New(nc)
	if err != nil {
		return s, cfg.explain(err)
	}
	stream, err := js.Stream(ctx, cfg.Stream)
	if err != nil {
		return s, cfg.explain(err)
	}
	state := stream.CachedInfo().State
	s.All = int(state.Msgs)
	ids = slices.Clone(ids)
	step := uint64(f.step)
	for next := max(state.FirstSeq, 1); next <= state.LastSeq && len(ids) > 0; next += uint64(f.atOnce) * step {
		if s.Looked >= most || ctx.Err() != nil {
			return s, nil
		}
		parts := make([][]Waiting, f.atOnce)
		var all errgroup.Group
		for k := range parts {
			first := next + uint64(k)*step
			all.Go(func() (err error) {
				parts[k], err = cfg.read(ctx, stream, first, min(first+step-1, state.LastSeq))
				return err
			})
		}
		if err := all.Wait(); err != nil {
			if ctx.Err() != nil && s.Looked > 0 {
				return s, nil
			}
			return s, cfg.explain(err)
		}
		for _, part := range parts {
			for _, e := range part {
				if k := slices.Index(ids, e.ID); k >= 0 {
					e.Before = s.Looked
					s.Found = append(s.Found, e)
					ids = slices.Delete(ids, k, k+1)
				}
				s.Looked++
			}
		}
	}
	s.Ended = true
	return s, nil
}

// read returns the events between two places of the stream.
func (c Config) read(ctx context.Context, stream jetstream.Stream, first, last uint64) (list []Waiting, err error) {
	for first <= last {
		m, err := stream.GetMsg(ctx, first, jetstream.WithGetMsgSubject(c.Subject)) // or the next one that is there
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		if m.Sequence > last {
			return list, nil
		}
		e := Waiting{Seq: m.Sequence, Published: m.Time}
		header := func(name string) (string, bool) { return headerOf(m.Header, name) }
		place := worker.Place{Stream: c.Stream, Seq: m.Sequence, Published: m.Time}
		if e.ID, _, _ = event.ID(header, place); e.ID == place.String() {
			if id, found := event.EnvelopeID(m.Data); found {
				e.ID = id
			}
		}
		e.ObjectType, _ = event.ObjectType(m.Subject, c.Prefix())
		list = append(list, e)
		first = m.Sequence + 1
	}
	return list, nil
}
