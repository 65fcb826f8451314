package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"crmintake/worker"
	"crmintake/worker/hubspot"
	"crmintake/worker/jetstream"
	"crmintake/worker/pipeline"
)

// floorTable keeps an event with its result, and has nothing to find the failed ones by.
const floorTable = `
CREATE TABLE floor (event_id text COLLATE "C" PRIMARY KEY, object_type text NOT NULL, status text NOT NULL, record_id text,
  stream text NOT NULL, stream_seq bigint NOT NULL, payload bytea NOT NULL, updated_at timestamptz NOT NULL DEFAULT now())`

type floorCmd struct {
	NATS     string `required:"" name:"nats"`
	Database string `required:""`
	CRM      string `required:"" name:"crm"`
	Events   int    `required:""`
}

// floorInFlight is as many calls at once as the worker makes.
const floorInFlight = pipeline.DefaultInFlight

// floorGroup is how many batches are committed together at most. On average there are seven.
const floorGroup = 10

// Run pulls, calls, copies the results into a table and acks. A crash anywhere loses or doubles.
func (c *floorCmd) Run(ctx context.Context, s streams) error {
	pool, err := pgxpool.New(ctx, c.Database)
	if err != nil {
		return err
	}
	defer pool.Close()
	nc, err := jetstream.Connect(c.NATS, "floor", slog.New(slog.NewTextHandler(s.err, nil)))
	if err != nil {
		return err
	}
	defer func() { _ = jetstream.Close(nc) }()
	source, err := jetstream.Open(ctx, nc, jetstream.Config{})
	if err != nil {
		return err
	}
	crm, err := hubspot.New(hubspot.Config{BaseURL: c.CRM, Token: hubspot.StaticToken(token), MaxInFlight: floorInFlight})
	if err != nil {
		return err
	}
	defer crm.Close()
	fmt.Fprintln(s.out, "started")

	group, ctx := errgroup.WithContext(ctx)
	calls, callsCtx := errgroup.WithContext(ctx)
	calls.SetLimit(floorInFlight)
	results := make(chan result, floorInFlight)
	group.Go(func() error { return keepResults(ctx, pool, results) })
	group.Go(func() error {
		defer close(results)
		var batch []*worker.Event
		for taken := 0; taken < c.Events && callsCtx.Err() == nil; {
			if err := source.Fetch(callsCtx, 4000, 64<<20, func(e *worker.Event) {
				taken++
				if batch = append(batch, e); len(batch) == 100 || taken == c.Events {
					full := batch
					batch = nil
					calls.Go(func() error { return call(callsCtx, crm, full, results) })
				}
			}); err != nil {
				return errors.Join(err, calls.Wait())
			}
		}
		return calls.Wait()
	})
	return group.Wait()
}

// result is a batch and what the call said of it.
type result struct {
	events   []*worker.Event
	outcomes []worker.Outcome
}

func call(ctx context.Context, crm *hubspot.Client, events []*worker.Event, results chan<- result) error {
	inputs := make([]worker.Input, len(events))
	for i, e := range events {
		inputs[i].Body = e.Payload
	}
	answer := crm.Create(ctx, objectType, inputs)
	select {
	case results <- result{events, answer.Outcomes}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// keepResults copies what is there at once in one commit, and acks it.
func keepResults(ctx context.Context, pool *pgxpool.Pool, results <-chan result) error {
	for first := range results {
		group := []result{first}
		for more := true; more && len(group) < floorGroup; {
			select {
			case r, ok := <-results:
				if more = ok; ok {
					group = append(group, r)
				}
			default:
				more = false
			}
		}
		k, i := 0, -1
		_, err := pool.CopyFrom(ctx, pgx.Identifier{"floor"}, []string{"event_id", "object_type", "status", "record_id",
			"stream", "stream_seq", "payload"},
			pgx.CopyFromFunc(func() ([]any, error) {
				if i++; i == len(group[k].events) {
					k, i = k+1, 0
				}
				if k == len(group) {
					return nil, nil
				}
				e := group[k].events[i]
				return []any{e.ID, e.ObjectType, "created", group[k].outcomes[i].RecordID, e.Stream, int64(e.StreamSeq),
					e.Payload}, nil
			}))
		if err != nil {
			return err
		}
		for _, r := range group {
			for _, e := range r.events {
				_ = e.Message.Ack()
			}
		}
	}
	return nil
}
