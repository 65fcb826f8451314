package hubspottest

import (
	"bytes"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// exchange is one request and its answer. It is reused, for its buffers.
type exchange struct {
	crm *CRM
	w   http.ResponseWriter
	r   *http.Request

	turn   turn
	read   bool
	effect effect
	pcg    rand.PCG

	parser parser
	body   bytes.Buffer
	outs   []outcome
	order  []int
	out    []byte // the answer's body

	// For Stats.
	status                                 int
	created                                int
	admitted, malformed, throttled, formed bool
	recorded                               bool
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

// maxKept bounds the buffers that are kept for the next exchange.
const maxKept = 1 << 20

// ServeHTTP answers one request.
func (c *CRM) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := exchanges.Get().(*exchange)
	x.crm, x.w, x.r = c, w, r
	defer x.end()
	x.serve()
}

// end gives the exchange back, even if serve has aborted the connection by panic.
func (x *exchange) end() {
	if !x.recorded {
		x.record(0)
	}
	if x.body.Cap() > maxKept || cap(x.out) > maxKept {
		return
	}
	x.parser.reset(nil)
	x.body.Reset()
	*x = exchange{parser: x.parser, body: x.body, outs: x.outs[:0], order: x.order[:0], out: x.out[:0]}
	exchanges.Put(x)
}

// record counts the request, and dates its answer, before the first byte of that leaves.
func (x *exchange) record(status int) {
	x.status, x.recorded = status, true
	if status != 0 {
		x.w.Header()["Date"] = []string{x.crm.cfg.Now().UTC().Format(http.TimeFormat)}
	}
	x.crm.journal.record(x)
}

func (x *exchange) serve() {
	if objectType, name, ok := x.crm.propertyRoute(x.r.URL.EscapedPath()); ok {
		x.turn = x.crm.identify(x.w.Header())
		x.describe(objectType, name)
		return
	}
	objectType, read, ok := x.crm.route(x.r.URL.EscapedPath())
	x.read = read
	x.turn = x.crm.identify(x.w.Header())
	switch {
	case x.crm.cfg.OAuth != nil && x.r.URL.Path == "/oauth/"+x.crm.cfg.Version+"/token":
		x.refresh()
		return
	case !ok:
		x.refuse(http.StatusNotFound, &problem{message: "Resource not found"})
		return
	case x.r.Method != http.MethodPost:
		x.w.Header().Set("Allow", http.MethodPost)
		x.refuse(http.StatusMethodNotAllowed, &problem{message: "HTTP 405 Method Not Allowed"})
		return
	}
	latency, ok := x.enter()
	if !ok {
		return
	}
	if !x.isJSON() {
		x.refuse(http.StatusUnsupportedMediaType, &problem{message: "HTTP 415 Unsupported Media Type"})
		return
	}
	if !x.receive() {
		return
	}
	x.wait(latency, nil)
	x.work(objectType)
}

// enter judges credential and quota. Where it lets nobody in, it has dealt with the request.
func (x *exchange) enter() (latency time.Duration, ok bool) {
	if p := x.crm.credentials.check(x.r.Header.Get("Authorization"), x.crm.cfg.Now()); p != nil {
		x.fail(http.StatusUnauthorized, p)
		return 0, false
	}
	if x.crm.cfg.MaxTransit > 0 {
		x.wait(x.crm.transit(), nil)
	}
	policy, latency := x.crm.admit(x.w.Header())
	if policy != "" {
		x.throttled = true
		x.out = throttled(x.out, policy, x.turn.correlationID)
		x.json(http.StatusTooManyRequests)
		return 0, false
	}
	x.admitted = true
	return latency, true
}

// isJSON: by its headers the body is JSON, and not compressed.
func (x *exchange) isJSON() bool {
	media, params, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" || x.r.Header.Get("Content-Encoding") != "" {
		return false
	}
	charset, ok := params["charset"]
	return !ok || strings.EqualFold(charset, "utf-8")
}

// receive reads the whole body. Where it can't, it has dealt with the request.
func (x *exchange) receive() bool {
	limit := x.crm.cfg.MaxRequest
	if _, err := x.body.ReadFrom(io.LimitReader(x.r.Body, limit+1)); err != nil {
		panic(http.ErrAbortHandler) // the client broke off: nobody is there to be answered
	}
	if int64(x.body.Len()) > limit {
		// Who still writes does not read; so the rest is taken in before the answer.
		_, _ = io.Copy(io.Discard, x.r.Body)
		p := standing[http.StatusRequestEntityTooLarge]
		x.fail(http.StatusRequestEntityTooLarge, &p)
		return false
	}
	return true
}

// work parses the body, meets the fault, does the work and answers.
func (x *exchange) work(objectType string) {
	x.parser.reset(x.body.Bytes())
	parse := x.parser.create
	if x.read {
		parse = x.parser.read
	}
	if err := parse(); err != nil {
		x.refuse(http.StatusBadRequest, invalid(err.Error()))
		return
	}
	t := x.crm.tables[objectType]
	switch {
	case t == nil:
		x.fail(http.StatusBadRequest, unknownType(objectType))
		return
	case t.spec.ReadOnly && !x.read:
		p := standing[http.StatusMethodNotAllowed]
		x.fail(http.StatusMethodNotAllowed, &p)
		return
	}
	var by *property
	if name := x.parser.idProp; name != "" {
		if by = t.declared[name]; by == nil || by.unique == nil {
			x.fail(http.StatusBadRequest, invalid("Property "+strconv.Quote(name)+" is not a unique identifier property"))
			return
		}
	}
	x.formed = true
	x.effect = x.crm.meet(x.read)
	x.pcg.Seed(x.turn.seed, 1)
	rng := rand.New(&x.pcg)
	switch {
	case x.effect.fault == BreakBefore:
		x.reset()
		return
	case x.effect.fault == Answer400Type:
		x.fail(http.StatusBadRequest, unknownType(objectType))
		return
	case x.effect.status != 0 && !x.effect.written:
		x.stand()
		return
	case x.effect.fault == LateWork:
		x.wait(x.crm.cfg.Delay, nil)
	}
	if x.read {
		x.find(t, by, rng)
	} else {
		x.create(t, rng)
	}
}

// create makes the records and answers.
func (x *exchange) create(t *table, rng *rand.Rand) {
	p, now := &x.parser, x.crm.cfg.Now()
	started := now.UTC().Format(timeLayout)
	failing := anyProblem
	switch {
	case !p.multi() || x.effect.fault == WholeBatch:
	case x.effect.onConflict:
		failing = anyConflict
	default:
		failing = nothing
	}
	var failed *problem
	at, drop := int64(0), x.effect.fault == AssociationDropped
	x.outs = append(x.outs[:0], make([]outcome, len(p.inputs))...)
	for i := range p.inputs {
		in, o := &p.inputs[i], &x.outs[i]
		half := (len(p.inputs) + 1) / 2
		switch {
		case x.effect.fault == NoResults:
			o.skip = true
		case x.effect.word != "" && i >= half:
			o.silent = true
			o.skip = (i-half)%2 == 1
		}
		if o.problem = t.check(p.of(*in)); o.problem == nil {
			o.problem = t.aim(in)
		}
		if o.problem != nil && o.problem.whole && failed == nil {
			failed = o.problem
		}
		if o.problem == nil && i < x.effect.rejects {
			o.problem = rejected
		}
		if drop && in.links != nil && o.problem == nil {
			in.links, drop = nil, false
		}
	}
	if failed == nil {
		failed, at = t.create(p, x.outs, failing, now)
		failed = t.told(failed, x.effect.form)
	}
	errors := 0
	for i := range x.outs {
		o := &x.outs[i]
		if o.id != 0 {
			x.created++
		}
		o.problem = t.told(o.problem, x.effect.form)
		if o.problem != nil && !o.silent {
			errors++
		}
	}
	switch {
	case x.effect.fault == BreakAfter:
		x.reset()
		return
	case x.effect.fault == SlowAnswer:
		x.wait(x.crm.cfg.Delay, x.r.Context().Done())
	case x.effect.status != 0:
		x.stand()
		return
	}
	if failed != nil {
		x.fail(failed.status, failed)
		return
	}
	word := "COMPLETE"
	if x.effect.word != "" {
		word = x.effect.word
	}
	r := results{p: p, outs: x.outs, fault: x.effect.fault, at: time.UnixMilli(at).UTC().Format(timeLayout), out: x.out}
	if r.fault == ContradictoryResults || r.fault == MoreResults {
		r.extra = t.lastID.Add(1)
	}
	if r.fault == NoResults {
		r.open(started)
		r.close(word)
	} else {
		x.order = shuffle(x.order, len(p.inputs), rng)
		r.append(x.order, word, started)
	}
	x.out = r.out
	switch {
	case errors > 0:
		x.send(http.StatusMultiStatus)
	case r.fault == Status200:
		x.send(http.StatusOK)
	default:
		x.send(http.StatusCreated)
	}
}
