package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
	"crmintake/worker/jetstream"
)

type initCmd struct {
	flags.NATS
	flags.ConsumerName
	flags.Database
	rolesFlag
	Replicas int           `help:"How many servers of a NATS cluster keep a copy of the stream, 1 to 5; 3 survive the loss of one." default:"1" placeholder:"N"`
	AckWait  time.Duration `help:"How long an event may be in a worker's hands before JetStream gives it to another one." default:"60s" placeholder:"DURATION"`
}

func (initCmd) Help() string {
	return "Creates the JetStream stream (on file, as a work queue: an event leaves it once the outbox has it), its " +
		"durable " +
		"consumer (explicit acks, unlimited deliveries) and the tables of the outbox. What exists is left as it is; what " +
		"differs from what would be created is told, with what to type, and if crmintake can't work with it the exit code " +
		"is 1. So it can be run again at any time, and before each start."
}

func (c *initCmd) jetStream() jetstream.InitConfig {
	return jetstream.InitConfig{
		Config:   jetstream.Config{Stream: c.Stream, Domain: c.Domain, Subject: c.Subject, Consumer: c.Consumer},
		Replicas: c.Replicas,
		AckWait:  c.AckWait,
	}
}

// validate finds a wrong setting before anything is touched.
func (c *initCmd) validate() error {
	if c.Replicas < 1 {
		return flags.Usagef("--replicas %d: want 1 to 5", c.Replicas)
	}
	if c.AckWait <= 0 {
		return flags.Usagef("--ack-wait %v: want more than that", c.AckWait)
	}
	if err := c.jetStream().Validate(); err != nil {
		return flags.Usage(err)
	}
	return errors.Join(c.NATS.Check(), c.Database.Check())
}

// initReport is what init found and did.
type initReport struct {
	Stream   *jetstream.Part `json:"stream,omitempty"` // nil when it is neither made nor known to be there
	Consumer *jetstream.Part `json:"consumer,omitempty"`
	Schema   *schemaReport   `json:"schema,omitempty"`
}

func (c *initCmd) Run(ctx context.Context, p *program) error {
	if err := c.validate(); err != nil {
		return err
	}
	// One part's fault does not keep the other from being created: each run gets as far as it can.
	var report initReport
	natsErr := c.initNATS(ctx, p, &report)
	schema, schemaErr := migrateUp(ctx, c.Database, c.rolesFlag)
	if schemaErr == nil {
		report.Schema = &schema
	}
	return errors.Join(report.print(p, c), natsErr, schemaErr)
}

func (c *initCmd) initNATS(ctx context.Context, p *program, report *initReport) (err error) {
	nc, err := c.Connect("crmintake init", p.log)
	if err != nil {
		return err
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(ctx, natsPatience)
	defer cancel()
	r, err := jetstream.Init(ctx, nc, c.jetStream())
	if r.Stream.Name != "" {
		report.Stream = &r.Stream
	}
	if r.Consumer.Name != "" {
		report.Consumer = &r.Consumer
	}
	return err
}

// natsPatience bounds what a command asks of JetStream at its start: a cluster takes a while to place a stream.
const natsPatience = 30 * time.Second

// unsure stands for a part that is neither made nor known to be there.
const unsure = "not made; why is told below"

func (r *initReport) print(p *program, c *initCmd) error {
	if p.Output == "json" {
		return view.JSON(p.out, r)
	}
	for _, one := range []struct {
		kind, name string
		part       *jetstream.Part
	}{{"stream", c.Stream, r.Stream}, {"consumer", c.Consumer, r.Consumer}} {
		if one.part == nil {
			fmt.Fprintf(p.out, "%-8s  %s  %s\n", one.kind, one.name, unsure)
			continue
		}
		state := "was there"
		if one.part.Created {
			state = "created"
		}
		fmt.Fprintf(p.out, "%-8s  %s  %s\n", one.kind, one.part.Name, state)
		for _, note := range one.part.Notes {
			fmt.Fprintf(p.out, "          note: %s\n", note)
		}
	}
	if r.Schema == nil {
		fmt.Fprintf(p.out, "%-8s  %s\n", "schema", unsure)
	} else {
		state := "was there"
		if n := len(r.Schema.Applied); n > 0 {
			state = "created or updated: " + view.Count(n, "migration") + " applied"
		}
		fmt.Fprintf(p.out, "%-8s  version %d  %s\n", "schema", r.Schema.Version, state)
		if r.Schema.Roles != nil {
			fmt.Fprintf(p.out, "          %s\n", r.Schema.roles())
		}
	}
	return nil
}
