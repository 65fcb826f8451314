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
	"time"

	"crmintake/deploy/local"
	"crmintake/worker/hubspot/hubspottest"
)

type startCmd struct {
	Runs   int    `help:"Starts of the program." default:"10" placeholder:"N"`
	Output string `help:"text for people, json for programs." enum:"text,json" default:"text" placeholder:"text|json"`
}

// startEvents make a full batch, so that the first call waits for nothing but the program.
const startEvents = 100

// firstCallWithin bounds a start.
const firstCallWithin = time.Minute

func (c *startCmd) Run(ctx context.Context, s streams) error {
	if c.Runs < 1 {
		return usagef("--runs: want at least 1")
	}
	say := s.teller()
	site, err := openSite(ctx, say)
	if err != nil {
		return err
	}
	defer func() { _ = site.close() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := site.createDatabase(ctx, "bench_start"); err != nil {
		return err
	}
	r, err := site.open(ctx, "bench_start")
	if err != nil {
		return err
	}
	defer r.close(ctx)
	door, err := openDoor()
	if err != nil {
		return err
	}
	defer door.close()
	r.crm.url = door.url
	binary, err := os.Stat(site.worker)
	if err != nil {
		return err
	}
	var took []float64
	for n := range c.Runs {
		say(fmt.Sprintf("start %d of %d", n+1, c.Runs))
		d, err := r.firstCall(ctx, door, n)
		if err != nil {
			return err
		}
		took = append(took, milliseconds(d))
	}
	slices.Sort(took)
	v := spread{took[len(took)/2], took[0], took[len(took)-1]}
	size := float64(binary.Size()) / (1 << 20)
	if c.Output == "json" {
		return json.NewEncoder(s.out).Encode(map[string]any{"runs": c.Runs, "first_call_ms": v, "binary_mb": size})
	}
	_, err = fmt.Fprintf(s.out, "from the start of the program to its first call, %d runs: median %.0f ms, %.0f to %.0f; the program has %.1f MB\n",
		c.Runs, v.Median, v.Min, v.Max, size)
	return err
}

// firstCall starts the program on a full batch and returns how long it took to call.
func (r *round) firstCall(ctx context.Context, d *door, run int) (time.Duration, error) {
	if err := r.publish(ctx, startEvents, func(n int) string { return numbered(run*startEvents + n) }); err != nil {
		return 0, err
	}
	called := d.next()
	begin := time.Now()
	p, err := r.start(ctx, nil, "run", "--quota", "off", "--id-property", objectType+"="+idProperty)
	if err != nil {
		return 0, err
	}
	var at time.Time
	select {
	case at = <-called:
	case <-p.Done():
		return 0, fmt.Errorf("crmintake ended: %v\n%s", p.Wait(), p.LogEnd())
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(firstCallWithin):
		return 0, fmt.Errorf("no call within %v\n%s", firstCallWithin, p.LogEnd())
	}
	return at.Sub(begin), end(p)
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
