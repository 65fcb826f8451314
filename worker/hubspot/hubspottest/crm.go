package hubspottest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// CRM is a simulated HubSpot account, an http.Handler. All its methods may be called by many goroutines at once, while
// it is in use too.
type CRM struct {
	cfg    Config
	prefix string // of all paths
	tables map[string]*table
	lastID atomic.Int64
	start  time.Time
	stop   chan struct{} // closed when the Server closes: nobody waits any longer

	mu                sync.Mutex // guards all below
	token             string
	former            map[string]bool // tokens that were accepted before
	grants            grants
	quota             quota
	chance, readOdds  chance
	script, readLines script
	tokenLines        script
	rng               *rand.Rand
	stats             Stats
	calls             []Call // the last cfg.KeepCalls, in a circle
	next              int    // where the next one goes, once calls is full
}

// firstID is the id of the first record: ids have as many digits as real ones.
const firstID = 100_000_000_001

// New makes an account without records. The error is what is wrong with cfg.
func New(cfg Config) (*CRM, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	c := &CRM{
		cfg:    cfg,
		prefix: "/crm/objects/" + cfg.Version + "/",
		tables: make(map[string]*table),
		start:  time.Now(),
		stop:   make(chan struct{}),
		token:  cfg.Token,
		former: make(map[string]bool),
		quota:  quota{limit: cfg.Limit, daily: cfg.Daily},
		rng:    rand.New(rand.NewPCG(cfg.Seed, 0)),
		stats:  Stats{Statuses: make(map[int]int), Faults: make(map[Fault]int)},
	}
	c.grants.begin(cfg.OAuth)
	c.lastID.Store(firstID - 1)
	for name, spec := range cfg.ObjectTypes {
		c.tables[name] = newTable(name, spec, cfg.KeepProperties, &c.lastID)
	}
	c.chance, _ = newChance(cfg.Rates, false) // Validate has tried both
	c.readOdds, _ = newChance(cfg.ReadRates, true)
	return c, nil
}

// Script appends faults to those that the next create calls meet, in order; None is a call without one. Only calls that
// are within the quota and correct in form meet a fault, and chance has no say while there is a script. Script panics
// if there is no such fault.
func (c *CRM) Script(faults ...Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.script.add(faults, false)
}

// ScriptReads does for read calls what Script does for creates, with the faults of AllReads.
func (c *CRM) ScriptReads(faults ...Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readLines.add(faults, true)
}

// SetToken changes the token that is accepted. The former one is answered EXPIRED_AUTHENTICATION from now on.
func (c *CRM) SetToken(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.former[c.token] = true
	c.token = token
}

// SetLimit changes the rolling quota. Calls of the last moments count against the new one, as far as they lie in the
// smaller of both windows.
func (c *CRM) SetLimit(limit Limit) error {
	if err := limit.validate(); err != nil {
		return fmt.Errorf("hubspottest: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quota.limit = limit
	return nil
}

// SetDaily changes the daily limit; 0 means none.
func (c *CRM) SetDaily(calls int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quota.daily = max(calls, 0)
}

// SetRates changes how often each fault happens by chance to a create call; those not named don't happen any more.
func (c *CRM) SetRates(rates map[Fault]float64) error { return c.setRates(&c.chance, rates, false) }

// SetReadRates does the same for read calls.
func (c *CRM) SetReadRates(rates map[Fault]float64) error {
	return c.setRates(&c.readOdds, rates, true)
}

func (c *CRM) setRates(to *chance, rates map[Fault]float64, read bool) error {
	odds, err := newChance(rates, read)
	if err != nil {
		return fmt.Errorf("hubspottest: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	*to = odds
	return nil
}

// Add makes a record as if another program had made it at a certain time, and returns its id. It fails where the API
// would refuse the properties. It is no call: neither quota nor Stats know of it.
func (c *CRM) Add(objectType string, properties map[string]string, createdAt time.Time) (id string, err error) {
	var p parser
	body := []byte(`{"inputs":[{"associations":[],"properties":{`)
	for i, name := range slices.Sorted(maps.Keys(properties)) {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(append(append(body, quote(name)...), ':'), quote(properties[name])...)
	}
	p.reset(append(body, `}}]}`...))
	if err := p.create(); err != nil {
		return "", fmt.Errorf("hubspottest: %w", err)
	}
	t := c.table(objectType)
	outs := []outcome{{problem: t.check(p.props)}}
	if wrong, _ := t.create(&p, outs, anyProblem, createdAt); wrong != nil {
		return "", errors.New("hubspottest: " + wrong.text())
	}
	return strconv.FormatInt(outs[0].id, 10), nil
}

// Count tells how many records there are for each value of a property: 1 for each is neither loss nor duplicate. The
// property must be unique or counted, or all properties kept; else Count panics. The map is the caller's.
func (c *CRM) Count(objectType, property string) map[string]int {
	return c.table(objectType).count(property)
}

// Len tells how many records of an object type there are.
func (c *CRM) Len(objectType string) int {
	t := c.table(objectType)
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.ids)
}

func (c *CRM) table(objectType string) *table {
	t := c.tables[objectType]
	if t == nil {
		panic("hubspottest: no object type " + strconv.Quote(objectType))
	}
	return t
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
	c.mu.Lock()
	defer c.mu.Unlock()
	t := turn{correlationID: correlationID(c.rng.Uint64(), c.rng.Uint64()), seed: c.rng.Uint64()}
	h[headerCorrelation] = []string{t.correlationID}
	return t
}

// authenticate says what is wrong with a credential, nil if nothing is.
func (c *CRM) authenticate(authorization string) *problem {
	c.mu.Lock()
	defer c.mu.Unlock()
	token, bearer := strings.CutPrefix(authorization, "Bearer ")
	switch {
	case bearer && token == c.token && token != "":
		return nil
	case bearer && c.grants.accept(token, c.cfg.Now()):
		return nil
	case bearer && (c.former[token] || c.grants.expired[token]):
		p := standing[http.StatusUnauthorized]
		return &p
	}
	return &problem{category: "INVALID_AUTHENTICATION", message: "Authentication credentials not found."}
}

// admit takes a call into account, or says by which policy it is refused. It sets the quota's headers and draws the
// call's latency.
func (c *CRM) admit(h http.Header) (policy string, latency time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	policy = c.quota.admit(time.Since(c.start), c.cfg.Now())
	c.quota.headers(h)
	return policy, c.between(c.cfg.MinLatency, c.cfg.MaxLatency)
}

// transit draws how long a request is under way.
func (c *CRM) transit() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.between(c.cfg.MinTransit, c.cfg.MaxTransit)
}

// between draws a time. The caller holds mu.
func (c *CRM) between(least, most time.Duration) time.Duration {
	if most > least {
		least += time.Duration(c.rng.Int64N(int64(most-least) + 1))
	}
	return least
}

// meet tells the fault that a call meets.
func (c *CRM) meet(read bool) effect {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines, odds := &c.script, c.chance
	if read {
		lines, odds = &c.readLines, c.readOdds
	}
	e := effect{fault: None}
	switch {
	case len(*lines) > 0:
		e = (*lines)[0]
		*lines = (*lines)[1:]
	case len(odds.effects) > 0:
		e = odds.draw(c.rng.Float64())
	}
	if e.fault != None {
		c.stats.Faults[e.fault]++
	}
	return e
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
