package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"crmintake/deploy/local"
	"crmintake/worker/hubspot/hubspottest"
)

const (
	objectType = "contracts"
	subject    = "crm.create." + objectType
	idProperty = "source_event_id"
	token      = "pat-eu1-00000000-0000-4000-8000-000000000000" // as long as theirs are
)

// part is a process that runs this program's own binary as one of the parts. It tells its address in its first line.
type part struct {
	*local.Process
	url string
}

func startPart(ctx context.Context, args ...string) (p *part, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	out, in := io.Pipe()
	p = &part{}
	if p.Process, err = local.StartProcess(ctx, local.ProcessConfig{Path: self, Args: args, Stdout: in}); err != nil {
		return nil, err
	}
	go func() { <-p.Done(); in.Close() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	go func() { _, _ = io.Copy(io.Discard, out) }()
	if err != nil {
		_ = p.Kill()
		return nil, fmt.Errorf("%s: %w\n%s", args[0], err, p.LogEnd())
	}
	p.url = strings.TrimSpace(line)
	return p, nil
}

type natsCmd struct {
	Dir        string `required:""`
	SyncAlways bool
}

// Run serves JetStream until ctx ends.
func (c *natsCmd) Run(ctx context.Context, s streams) error {
	n, err := local.StartNATS(local.NATSConfig{Dir: c.Dir, SyncAlways: c.SyncAlways})
	if err != nil {
		return err
	}
	fmt.Fprintln(s.out, n.URL())
	<-ctx.Done()
	return n.Stop()
}

type crmCmd struct {
	Latency time.Duration // of each call
}

// Run serves a simulated CRM until ctx ends.
func (c *crmCmd) Run(ctx context.Context, s streams) error {
	crm, err := hubspottest.Start(account(c.Latency))
	if err != nil {
		return err
	}
	fmt.Fprintln(s.out, crm.URL)
	<-ctx.Done()
	crm.Close()
	return nil
}

// account is a CRM without quota, whose calls take so long.
func account(latency time.Duration) hubspottest.Config {
	return hubspottest.Config{
		Token: token, MinLatency: latency, ObjectTypes: map[string]hubspottest.ObjectType{objectType: {Unique: []string{idProperty}}},
	}
}
