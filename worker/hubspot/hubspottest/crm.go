package hubspottest

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// CRM is a simulated HubSpot account, an http.Handler. All its methods may be called by many goroutines at once, while
// it is in use too. Each of its parts has a lock of its own.
type CRM struct {
	records     // what the account holds
	credentials // who is let in
	quota       // how often
	injector    // which faults calls meet
	journal     // what has happened

	cfg    Config
	prefix string // of all paths
	start  time.Time
	stop   chan struct{} // closed when the Server closes: nobody waits any longer
	dice   dice
}

// New makes an account without records. The error is what is wrong with cfg.
func New(cfg Config) (*CRM, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	c := &CRM{
		cfg:    cfg,
		prefix: "/crm/objects/" + cfg.Version + "/",
		start:  time.Now(),
		stop:   make(chan struct{}),
		quota:  quota{limit: cfg.Limit, daily: cfg.Daily},
		dice:   dice{rng: rand.New(rand.NewPCG(cfg.Seed, 0))},
	}
	c.records.begin(cfg)
	c.credentials.begin(cfg)
	c.journal.begin(cfg.KeepCalls)
	if err := c.injector.begin(cfg); err != nil {
		return nil, err
	}
	return c, nil
}

// route finds the object type that a path names, known or not, and whether it is a read.
func (c *CRM) route(path string) (objectType string, read, ok bool) {
	rest, ok := strings.CutPrefix(path, c.prefix)
	if !ok {
		return "", false, false
	}
	objectType, read = strings.CutSuffix(rest, "/batch/read")
	if !read {
		if objectType, ok = strings.CutSuffix(rest, "/batch/create"); !ok {
			return "", false, false
		}
	}
	return objectType, read, objectType != "" && !strings.Contains(objectType, "/")
}

// turn is what one request is given when it arrives.
type turn struct {
	correlationID string
	seed          uint64
}

// identify gives a request its correlation id, which goes into the headers too.
func (c *CRM) identify(h http.Header) turn {
	a, b, seed := c.dice.three()
	t := turn{correlationID: correlationID(a, b), seed: seed}
	h[headerCorrelation] = []string{t.correlationID}
	return t
}

// admit takes a call into account, or says by which policy it is refused. It sets the quota's headers and draws the
// call's latency.
func (c *CRM) admit(h http.Header) (policy string, latency time.Duration) {
	policy = c.quota.admit(h, time.Since(c.start), c.cfg.Now())
	return policy, c.dice.between(c.cfg.MinLatency, c.cfg.MaxLatency)
}

// transit draws how long a request is under way.
func (c *CRM) transit() time.Duration { return c.dice.between(c.cfg.MinTransit, c.cfg.MaxTransit) }

// meet chooses the fault that a call meets, and counts it.
func (c *CRM) meet(read bool) effect {
	e := c.injector.next(read, &c.dice)
	c.journal.met(e.fault)
	return e
}

// Stats counts what has happened so far. The maps are the caller's. A request is counted before the first byte of its
// answer leaves, so who has an answer finds it counted.
func (c *CRM) Stats() Stats {
	s := c.journal.read()
	s.MostInWindow = c.quota.mostInWindow()
	return s
}

// dice is the account's chance: for the same seed it falls the same.
type dice struct {
	mu  sync.Mutex
	rng *rand.Rand // mu guards it
}

func (d *dice) three() (a, b, c uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.Uint64(), d.rng.Uint64(), d.rng.Uint64()
}

// between draws a time.
func (d *dice) between(least, most time.Duration) time.Duration {
	if most <= least {
		return least
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return least + time.Duration(d.rng.Int64N(int64(most-least)+1))
}

// share draws a number from 0 to below 1.
func (d *dice) share() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.Float64()
}

// correlationID has the form of a random UUID.
func correlationID(a, b uint64) string {
	const digits = "0123456789abcdef"
	var id [36]byte
	for i, n := 0, 0; i < len(id); i++ {
		switch i {
		case 8, 13, 18, 23:
			id[i] = '-'
			continue
		case 14:
			id[i] = '4'
			continue
		}
		x := a
		if n >= 16 {
			x = b
		}
		id[i] = digits[x>>(4*(n%16))&15]
		n++
	}
	return string(id[:])
}
