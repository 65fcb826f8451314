package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"crmintake/worker"
	"crmintake/worker/hubspot"
	"crmintake/worker/jetstream"
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
const floorInFlight = worker.DefaultInFlight

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
	group.SetLimit(floorInFlight)
	var mu sync.Mutex
	var batch []*worker.Event
	for taken := 0; taken < c.Events && ctx.Err() == nil; {
		if err := source.Fetch(ctx, 4000, 64<<20, func(e *worker.Event) {
			taken++
			mu.Lock()
			batch = append(batch, e)
			var full []*worker.Event
			if len(batch) == 100 || taken == c.Events {
				full, batch = batch, nil
			}
			mu.Unlock()
			if full != nil {
				group.Go(func() error { return c.send(ctx, pool, crm, full) })
			}
		}); err != nil {
			return err
		}
	}
	return group.Wait()
}

func (c *floorCmd) send(ctx context.Context, pool *pgxpool.Pool, crm *hubspot.Client, events []*worker.Event) error {
	inputs := make([]worker.Input, len(events))
	for i, e := range events {
		inputs[i].Body = e.Payload
	}
	answer := crm.Create(ctx, objectType, inputs)
	_, err := pool.CopyFrom(ctx, pgx.Identifier{"floor"}, []string{"event_id", "object_type", "status", "record_id", "stream", "stream_seq", "payload"},
		pgx.CopyFromSlice(len(events), func(i int) ([]any, error) {
			e := events[i]
			return []any{e.ID, e.ObjectType, "created", answer.Outcomes[i].RecordID, e.Stream, int64(e.StreamSeq), e.Payload}, nil
		}))
	if err != nil {
		return err
	}
	for _, e := range events {
		_ = e.Message.Ack()
	}
	return nil
}
