package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"

	"crmintake/deploy/local"
	"crmintake/worker/hubspot/hubspottest"
	"crmintake/worker/jetstream"
)

type startCmd struct {
	Runs    int    `help:"Starts of the program." default:"10" placeholder:"N"`
	Backlog []int  `help:"Events that wait in the stream at each start; several numbers one after the other." default:"100" placeholder:"N,…"`
	Output  string `help:"text for people, json for programs." enum:"text,json" default:"text" placeholder:"text|json"`
}

// startEvents make a full batch, so that the first call waits for nothing but the program.
const startEvents = 100

// firstCallWithin bounds a start.
const firstCallWithin = time.Minute

// starts are the figures of one backlog.
type starts struct {
	Backlog    int    `json:"backlog"`
	FirstCall  spread `json:"first_call_ms"`
	PeakMemory spread `json:"peak_memory_mb"` // until it was stopped, right after its first call
}

func (c *startCmd) Run(ctx context.Context, s streams) error {
	if c.Runs < 1 {
		return usagef("--runs: want at least 1")
	}
	if slices.Min(c.Backlog) < startEvents {
		return usagef("--backlog: want at least %d, a full batch", startEvents)
	}
	say := s.teller()
	site, err := openSite(ctx, say)
	if err != nil {
		return err
	}
	defer func() { _ = site.close() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	binary, err := os.Stat(site.worker)
	if err != nil {
		return err
	}
	var list []starts
	for _, backlog := range c.Backlog {
		one, err := c.measure(ctx, site, say, backlog)
		if err != nil {
			return err
		}
		list = append(list, one)
	}
	size := float64(binary.Size()) / (1 << 20)
	if c.Output == "json" {
		return json.NewEncoder(s.out).Encode(map[string]any{"runs": c.Runs, "starts": list, "binary_mb": size})
	}
	t := tabwriter.NewWriter(s.out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "events that wait\tfirst call after, ms, median of %d (min–max)\tpeak memory, MB\n", c.Runs)
	for _, one := range list {
		fmt.Fprintf(t, "%d\t%.0f (%.0f–%.0f)\t%.1f (%.1f–%.1f)\n", one.Backlog, one.FirstCall.Median, one.FirstCall.Min,
			one.FirstCall.Max,
			one.PeakMemory.Median, one.PeakMemory.Min, one.PeakMemory.Max)
	}
	fmt.Fprintf(t, "\nThe program has %.1f MB.\n", size)
	return t.Flush()
}

// measure starts the program again and again on so large a backlog.
func (c *startCmd) measure(ctx context.Context, s *site, say func(string), backlog int) (starts, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	name := fmt.Sprintf("bench_start_%d", s.rounds)
	if err := s.createDatabase(ctx, name); err != nil {
		return starts{}, err
	}
	r, err := s.open(ctx, name)
	if err != nil {
		return starts{}, err
	}
	defer r.close(ctx)
	door, err := openDoor()
	if err != nil {
		return starts{}, err
	}
	defer door.close()
	r.crm.url = door.url
	var took, memory []float64
	for n := range c.Runs {
		say(fmt.Sprintf("%d events wait, start %d of %d", backlog, n+1, c.Runs))
		if err := r.fill(ctx, backlog); err != nil {
			return starts{}, err
		}
		d, p, err := r.firstCall(ctx, door)
		if err != nil {
			return starts{}, err
		}
		took, memory = append(took, milliseconds(d)), append(memory, mebibytes(p.PeakMemory()))
	}
	return starts{backlog, middle(took), middle(memory)}, nil
}

// middle sorts a list, and tells its median and its ends.
func middle(list []float64) spread {
	slices.Sort(list)
	return spread{list[len(list)/2], list[0], list[len(list)-1]}
}

// fill publishes what the stream lacks of so many events that wait.
func (r *round) fill(ctx context.Context, backlog int) error {
	nc, err := nats.Connect(r.nats.url)
	if err != nil {
		return err
	}
	defer nc.Close()
	source, err := jetstream.Open(ctx, nc, jetstream.Config{})
	if err != nil {
		return err
	}
	pending, unacked, err := source.Outstanding(ctx)
	if err != nil {
		return err
	}
	return r.withPublisher(ctx, func(p *jetstream.Publisher) error {
		for range backlog - pending - unacked {
			if err := r.publishOne(ctx, p, r.events, numbered(r.events)); err != nil {
				return err
			}
		}
		return nil
	})
}

// firstCall starts the program and returns how long it took to call, and the program, which has ended.
func (r *round) firstCall(ctx context.Context, d *door) (time.Duration, *local.Process, error) {
	called := d.next()
	begin := time.Now()
	p, err := r.start(ctx, nil, "run", "--quota", "off", "--id-property", objectType+"="+idProperty)
	if err != nil {
		return 0, nil, err
	}
	var at time.Time
	select {
	case at = <-called:
	case <-p.Done():
		return 0, nil, fmt.Errorf("crmintake ended: %v\n%s", p.Wait(), p.LogEnd())
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	case <-time.After(firstCallWithin):
		return 0, nil, fmt.Errorf("no call within %v\n%s", firstCallWithin, p.LogEnd())
	}
	return at.Sub(begin), p, end(p)
}

// end stops a worker as an operator does, and waits for it.
func end(p *local.Process) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := p.Wait(); err != nil {
		return fmt.Errorf("crmintake: %w\n%s", err, p.LogEnd())
	}
	return nil
}

// door is a simulated CRM that tells when it is called.
type door struct {
	url    string
	crm    *hubspottest.CRM
	server *http.Server

	mu     sync.Mutex
	waits  chan time.Time // gets the time of the next call; nil if nobody waits
	served sync.WaitGroup
}

func openDoor() (*door, error) {
	crm, err := hubspottest.New(account(0))
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d := &door{url: "http://" + l.Addr().String(), crm: crm}
	d.server = &http.Server{Handler: d}
	d.served.Go(func() { _ = d.server.Serve(l) })
	return d, nil
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	if d.waits != nil {
		d.waits <- time.Now()
		d.waits = nil
	}
	d.mu.Unlock()
	d.crm.ServeHTTP(w, r)
}

// next returns what gets the time of the next call.
func (d *door) next() <-chan time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := make(chan time.Time, 1)
	d.waits = c
	return c
}

func (d *door) close() {
	_ = d.server.Close()
	d.served.Wait()
}
