package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"crmintake/batcher"
	"crmintake/deploy/local"
	"crmintake/outbox"
	"crmintake/outbox/outboxtest"
	"crmintake/worker"
	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
	"crmintake/worker/jetstream"
	"crmintake/worker/pipeline"
)

func TestMain(m *testing.M) { outboxtest.Main(m) }

const (
	idProperty = "event_id"
	token      = "token-of-the-test"
)

// rig is everything that a worker needs, real but for the CRM.
type rig struct {
	harness
	outboxRig
	streamRig
	crm  *hubspottest.Server
	wrap func(worker.Source) worker.Source // what stands between a worker and its source; nil for nothing
}

// harness fails the test, and has its log.
type harness struct {
	t   *testing.T
	log *lines
}

// outboxRig is the database, and what tests ask it.
type outboxRig struct {
	harness
	database string
}

// streamRig is the stream, and how tests fill it.
type streamRig struct {
	harness
	nats    *local.NATS
	nc      *nats.Conn
	natsURL string // where workers find NATS
}

func newRig(t *testing.T, crm hubspottest.Config) *rig {
	t.Helper()
	return newRigOn(t, crm, outboxtest.New(t))
}

func newRigOn(t *testing.T, crm hubspottest.Config, database string) *rig {
	t.Helper()
	h := harness{t, &lines{}}
	r := &rig{harness: h, outboxRig: outboxRig{h, database}, streamRig: streamRig{harness: h}}
	if crm.Token == "" {
		crm.Token = token
	}
	if crm.ObjectTypes == nil {
		crm.ObjectTypes = map[string]hubspottest.ObjectType{
			"contracts": {Properties: []string{"name"}, Unique: []string{idProperty}},
			"deals":     {Properties: []string{"name"}, Counted: []string{"name"}},
		}
	}
	var err error
	r.crm, err = hubspottest.Start(crm)
	r.must(err)
	t.Cleanup(r.crm.Close)
	r.nats, err = local.StartNATS(local.NATSConfig{})
	r.must(err)
	t.Cleanup(func() {
		if err := r.nats.Stop(); err != nil {
			t.Error(err)
		}
	})
	r.natsURL = r.nats.URL()
	r.nc, err = jetstream.Connect(r.nats.URL(), "test", slog.New(slog.NewTextHandler(r.log, nil)))
	r.must(err)
	t.Cleanup(r.nc.Close)
	_, err = jetstream.Init(t.Context(), r.nc, jetstream.InitConfig{AckWait: 5 * time.Second})
	r.must(err)
	return r
}

func (r *harness) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// placeless is an event's id without the time in the name of a place.
const placeless = `regexp_replace(event_id, '@[0-9]{19}:', '@:')`

// message is an event to publish.
type message struct{ objectType, id, body string }

// named makes n good events of an object type.
func named(objectType, prefix string, n int) (list []message) {
	for k := range n {
		id := fmt.Sprintf("%s-%d", prefix, k)
		list = append(list, message{objectType, id, fmt.Sprintf(`{"properties":{"name":%q}}`, id)})
	}
	return list
}

// publish puts events into the stream as different messages, even if they have the same id.
func (r *streamRig) publish(list ...message) {
	r.t.Helper()
	p, err := jetstream.OpenPublisher(r.t.Context(), r.nc, jetstream.PublisherConfig{})
	r.must(err)
	defer p.Close()
	for _, e := range list {
		m := jetstream.Message{Subject: "crm.create." + e.objectType, ID: e.id, Data: []byte(e.body)}
		r.must(p.Publish(r.t.Context(), m))
	}
	r.must(p.Flush(r.t.Context()))
}

// config is for tests: what takes seconds in production takes a moment.
func config() pipeline.Config {
	return pipeline.Config{
		Name:          "test",
		Batch:         batcher.Config{Wait: 50 * time.Millisecond},
		InFlight:      8,
		CallTimeout:   2 * time.Second,
		Lease:         10 * time.Second,
		TrialInterval: time.Second,
		IDProperty:    map[string]string{"contracts": idProperty},
		Settle:        200 * time.Millisecond,
		Retry:         pipeline.Retry{Initial: 50 * time.Millisecond, Max: time.Second, Attempts: 30},
	}
}

// credential is a token that can be changed.
type credential struct {
	mu      sync.Mutex
	token   string
	version int
}

func (c *credential) Token(context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token, nil
}

func (c *credential) Version() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprint(c.version)
}

func (c *credential) set(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = token
	c.version++
}

// beforeCalls has the CRM's work on each request wait for that first.
func (r *rig) beforeCalls(wait func()) {
	crm := r.crm.CRM
	r.answer(func(w http.ResponseWriter, req *http.Request) {
		wait()
		crm.ServeHTTP(w, req)
	})
}

// start runs a worker until the test stops it or it has drained.
func (r *rig) start(cfg pipeline.Config, secret hubspot.TokenSource) *running {
	r.t.Helper()
	store, err := outbox.OpenWorker(r.t.Context(), r.database, 4)
	r.must(err)
	log := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	nc, err := jetstream.Connect(r.natsURL, "worker", log)
	r.must(err)
	source, err := jetstream.Open(r.t.Context(), nc, jetstream.Config{Traces: cfg.Tracer != nil})
	r.must(err)
	cfg.AckWait = source.AckWait()
	crm, err := hubspot.New(hubspot.Config{BaseURL: r.crm.URL, Token: secret, IDProperty: cfg.IDProperty})
	r.must(err)
	var events worker.Source = source
	if r.wrap != nil {
		events = r.wrap(source)
	}
	w, err := pipeline.New(cfg, events, store, crm, log)
	r.must(err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	run := &running{Worker: w, rig: r, cancel: cancel, done: make(chan error, 1)}
	go func() {
		err := w.Run(ctx)
		crm.Close()
		store.Close()
		_ = jetstream.Close(nc)
		run.done <- err
	}()
	r.t.Cleanup(func() { run.stop() })
	return run
}

// remakeStream deletes the stream and makes it anew. A server that is still at clearing the old one's directory away
// may refuse a new one by that name (10049), and takes it when asked again.
func (r *streamRig) remakeStream() error {
	js, err := natsjs.New(r.nc)
	if err != nil {
		return err
	}
	if err := js.DeleteStream(r.t.Context(), "CRM_EVENTS"); err != nil {
		return err
	}
	for {
		_, err := jetstream.Init(r.t.Context(), r.nc, jetstream.InitConfig{AckWait: 5 * time.Second})
		if api, ok := errors.AsType[*natsjs.APIError](err); !ok || api.ErrorCode != 10049 {
			return err
		}
	}
}

// drain runs a worker until nothing is left to do.
func (r *rig) drain(cfg pipeline.Config) {
	r.t.Helper()
	cfg.Drain = true
	r.start(cfg, hubspot.StaticToken(token)).wait()
}

type running struct {
	*pipeline.Worker
	rig    *rig
	cancel context.CancelFunc
	done   chan error
	once   sync.Once
}

// wait waits for a worker that ends by itself.
func (w *running) wait() {
	w.rig.t.Helper()
	w.once.Do(func() {
		select {
		case err := <-w.done:
			w.cancel()
			w.rig.must(err)
		case <-time.After(2 * time.Minute): // all faults of the CRM one after the other make it wait for one
			w.cancel()
			<-w.done
			w.rig.t.Fatalf("the worker has not drained within two minutes; its log:\n%s", w.rig.log)
		}
	})
}

// stop ends a worker as a signal does.
func (w *running) stop() {
	w.rig.t.Helper()
	w.once.Do(func() {
		w.cancel()
		if err := <-w.done; err != nil {
			w.rig.t.Error(err)
		}
	})
}

// rows asks the outbox, and returns each row as its columns with spaces between.
func (r *outboxRig) rows(sql string, args ...any) []string {
	r.t.Helper()
	conn, err := pgx.Connect(r.t.Context(), r.database)
	r.must(err)
	defer conn.Close(context.Background())
	rows, err := conn.Query(r.t.Context(), sql, args...)
	r.must(err)
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		values, err := row.Values()
		return strings.TrimSuffix(fmt.Sprintln(values...), "\n"), err
	})
	r.must(err)
	return list
}

// expect compares what the outbox answers.
func (r *outboxRig) expect(sql string, want ...string) {
	r.t.Helper()
	if got := r.rows(sql); !slices.Equal(got, want) {
		r.t.Errorf("%s\ngot  %q\nwant %q", sql, got, want)
	}
}

// until waits for the outbox to answer so, which other processes bring about.
func (r *outboxRig) until(sql, want string) {
	r.t.Helper()
	r.untilWithin(time.Minute, sql, want)
}

// againAfterNaks is for events that were given back to the stream twice or three times, for half a minute each time.
const againAfterNaks = 3 * time.Minute

func (r *outboxRig) untilWithin(patience time.Duration, sql, want string) {
	r.t.Helper()
	for limit := time.Now().Add(patience); ; {
		got := strings.Join(r.rows(sql), "\n")
		if got == want {
			return
		}
		if time.Now().After(limit) {
			r.t.Fatalf("%s\ngot  %q\nwant %q\nthe log:\n%s", sql, got, want, r.log)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-r.t.Context().Done():
		}
	}
}

// exactlyOnce checks that each event has one record, and its row says so.
func (r *rig) exactlyOnce(objectType string, events int) {
	r.t.Helper()
	r.expect(fmt.Sprintf(`SELECT status, count(*) FROM outbox WHERE object_type = '%s' GROUP BY status`, objectType), fmt.Sprintf("created %d", events))
	if n := r.crm.Len(objectType); n != events {
		r.t.Errorf("the CRM has %d %s, want %d", n, objectType, events)
	}
}

// lines is a log that tests read.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
