package main

import (
	"context"
	"fmt"

	"crmintake/outbox"
	"crmintake/outbox/operator"
	"crmintake/worker/hubspot/hubspottest"
	"crmintake/worker/jetstream"
)

// The backlog is events of another object type, which an operator has paused: they wait in the stream for as long as
// the chaos lasts.
const (
	backlogType    = "companies"
	backlogCounted = "name"
)

const (
	backlogMost      = 100_000
	backlogPerMinute = backlogMost / 5
)

func backlogOf(published int) series {
	return series{backlogType, companyID, backlogCounted, companyName, published}
}

func companyID(n int) string { return fmt.Sprintf("company-%09d", n) }

func companyName(n int) string { return fmt.Sprintf("Company %09d", n) }

// companies describes the backlog's object type.
func companies(idProperties []string) hubspottest.ObjectType {
	return hubspottest.ObjectType{Unique: idProperties, Counted: []string{backlogCounted}}
}

// backlogSize is how many events the backlog has.
func (c *chaosCmd) backlogSize() int {
	if c.Backlog >= 0 {
		return c.Backlog
	}
	return int(min(c.Minutes*backlogPerMinute, backlogMost))
}

// fillBacklog pauses the object type, and publishes its events then. It returns how many JetStream confirmed.
func (c *chaos) fillBacklog(ctx context.Context) (int, error) {
	c.progress("%s are paused, and %d of their events wait", backlogType, c.backlogSize())
	if err := c.operate(ctx, func(o *operator.Operator) error {
		_, err := o.Pauses.Pause(ctx, backlogType, "the demo's backlog")
		return err
	}); err != nil {
		return 0, err
	}
	p, err := jetstream.OpenPublisher(ctx, c.nc, jetstream.PublisherConfig{})
	if err != nil {
		return 0, err
	}
	defer p.Close()
	all := backlogOf(c.backlogSize())
	for n := range all.published {
		m := jetstream.Message{Subject: "crm.create." + backlogType, ID: all.id(n), Line: n + 1,
			Data: fmt.Appendf(nil, `{"properties": {%q: %q}}`, backlogCounted, all.value(n))}
		if err := p.Publish(ctx, m); err != nil {
			return 0, fmt.Errorf("publish the backlog: %w", err)
		}
	}
	if err := p.Flush(ctx); err != nil {
		return 0, fmt.Errorf("publish the backlog: %w", err)
	}
	return p.Progress().Confirmed, nil
}

// freeBacklog ends the pause.
func (c *chaos) freeBacklog(ctx context.Context) error {
	return c.operate(ctx, func(o *operator.Operator) error {
		ended, err := o.Pauses.Resume(ctx, backlogType)
		if err == nil && ended == nil {
			err = fmt.Errorf("%s are not paused any more, and nobody has ended it", backlogType)
		}
		return err
	})
}

// operate lets an operator do something, on connections of his own: those of a pool may have been broken meanwhile.
func (c *chaos) operate(ctx context.Context, do func(*operator.Operator) error) error {
	store, err := outbox.Open(ctx, c.stack.DatabaseURL(), 1)
	if err != nil {
		return err
	}
	defer store.Close()
	return do(operator.New(store, operator.Config{Name: "demo"}))
}
