package crash

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"

	"crmintake/deploy/local"
	"crmintake/outbox/outboxtest"
	"crmintake/worker/hubspot/hubspottest"
	"crmintake/worker/jetstream"
)

// built is the worker's program, built once for all tests. It has to be a variable of the package: tests have no other
// place in common.
var built = sync.OnceValues(func() (*program, error) {
	dir, remove, err := local.TempDir("crmintake-crash-")
	if err != nil {
		return nil, err
	}
	path, err := local.BuildWorker(context.Background(), dir)
	return &program{path, remove}, err
})

// program is gone with this process. It may not be forgotten before: the directory's guardian waits for a pipe that
// would be closed then.
type program struct {
	path   string
	remove func() error
}

func TestMain(m *testing.M) { outboxtest.Main(m) }

const (
	withID, withoutID = "contracts", "deals"
	idProperty        = "event_id"
	token             = "token-of-the-test"
	batch             = 10              // events a call; each test has two batches
	lease             = 5 * time.Second // of the workers
	// a call that a slow machine takes so long for is in doubt, which the tables know nothing of
	callTimeout = 3 * time.Second
	patience    = time.Minute // with what must happen; a test that waits so long has failed
)

// rig is a stream with two batches of events, an outbox, and an account, for some workers one after the other.
type rig struct {
	t          *testing.T
	objectType string
	database   *pgxpool.Pool
	url        *url.URL // the database's
	nats       *local.NATS
	nc         *nats.Conn
	crm        *hubspottest.CRM
}

// newRig has an account that knows all properties of the events but one of those that are wrong.
func newRig(t *testing.T, objectType string, wrong ...string) *rig {
	t.Helper()
	r := &rig{t: t, objectType: objectType}
	var err error
	r.url, err = url.Parse(outboxtest.New(t))
	r.must(err)
	q := r.url.Query()
	q.Set("sslmode", "disable")
	r.url.RawQuery = q.Encode()
	r.database, err = pgxpool.New(t.Context(), r.url.String())
	r.must(err)
	t.Cleanup(r.database.Close)
	r.crm, err = hubspottest.New(hubspottest.Config{Token: token, KeepProperties: true,
		ObjectTypes: map[string]hubspottest.ObjectType{
			withID:    {Properties: []string{"name"}, Unique: []string{idProperty}},
			withoutID: {Properties: []string{"name"}},
		}})
	r.must(err)
	r.nats, err = local.StartNATS(local.NATSConfig{})
	r.must(err)
	t.Cleanup(func() {
		if err := r.nats.Stop(); err != nil {
			t.Error(err)
		}
	})
	r.nc, err = jetstream.Connect(r.nats.URL(), "test", slog.New(slog.NewTextHandler(io.Discard, nil)))
	r.must(err)
	t.Cleanup(r.nc.Close)
	// The ack wait is long enough for nothing to be delivered again while the first worker lives.
	_, err = jetstream.Init(t.Context(), r.nc, jetstream.InitConfig{AckWait: 5 * time.Second})
	r.must(err)
	r.publish(wrong)
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// ids are the events' ids, in the order in which they are published.
func ids() (list []string) {
	for n := range 2 * batch {
		list = append(list, fmt.Sprintf("event-%02d", n))
	}
	return list
}

func (r *rig) publish(wrong []string) {
	r.t.Helper()
	p, err := jetstream.OpenPublisher(r.t.Context(), r.nc, jetstream.PublisherConfig{})
	r.must(err)
	defer p.Close()
	for _, id := range ids() {
		data := fmt.Appendf(nil, `{"properties":{"name":%q}}`, id)
		if slices.Contains(wrong, id) {
			data = []byte(`{"properties":{"nmae":"misspelled"}}`)
		}
		r.must(p.Publish(r.t.Context(), jetstream.Message{Subject: "crm.create." + r.objectType, ID: id, Data: data}))
	}
	r.must(p.Flush(r.t.Context()))
}

// until waits for what other processes bring about, which have no channel to us. It reports false if it does not come.
func (r *rig) until(what string, is func() bool) bool {
	r.t.Helper()
	for limit := time.Now().Add(patience); !is(); {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-r.t.Context().Done():
			return false
		}
		if time.Now().After(limit) {
			r.t.Errorf("not within %v: %s", patience, what)
			return false
		}
	}
	return true
}

// drain runs a worker that nothing happens to until nothing is left to do.
func (r *rig) drain(args ...string) {
	r.t.Helper()
	w := r.worker()
	w.start(append(slices.Clone(args), "--drain")...)
	w.awaitEnd()
}

// ask queries the outbox, for rows of one column.
func ask[T any](r *rig, sql string, args ...any) []T {
	rows, err := r.database.Query(r.t.Context(), sql, args...)
	var list []T
	if err == nil {
		list, err = pgx.CollectRows(rows, pgx.RowTo[T])
	}
	if err != nil && r.t.Context().Err() == nil {
		r.t.Errorf("%s: %v", sql, err)
	}
	return list
}

// unacked is how many messages the stream has still to deliver, or waits for the ack of.
func (r *rig) unacked() int {
	source, err := jetstream.Open(r.t.Context(), r.nc, jetstream.Config{})
	if err != nil {
		r.t.Error(err)
		return -1
	}
	pending, unacked, err := source.Outstanding(r.t.Context())
	if err != nil {
		r.t.Error(err)
	}
	return pending + unacked
}

// left is what there is. The stream may be at the last acks still: it is given time to come to as few as that unacked.
func (r *rig) left(unacked int) left {
	r.t.Helper()
	l := left{Unacked: unseen, Records: r.crm.Len(r.objectType)}
	if unacked != unseen {
		r.until("the stream has seen the acks", func() bool {
			l.Unacked = r.unacked()
			return l.Unacked <= unacked
		})
	}
	for _, status := range ask[string](r, `SELECT status FROM outbox`) {
		switch status {
		case "sending":
			l.Sending++
		case "created":
			l.Created++
		default:
			r.t.Errorf("a row is %s", status)
		}
	}
	return l
}

// fate is what has become of an event.
type fate struct {
	Status, Reason    string
	PossibleDuplicate bool
	Records           int
}

// fates are by event id: one for each row of the outbox, and for each name that a record has.
func (r *rig) fates() map[string]fate {
	r.t.Helper()
	made := map[string][]string{} // record ids by name
	for record := range r.crm.Records(r.objectType) {
		name := record.Properties["name"]
		made[name] = append(made[name], record.ID)
	}
	rows, err := r.database.Query(r.t.Context(), `
SELECT event_id, status, coalesce(reason, ''), possible_duplicate, coalesce(record_id, '') FROM outbox`)
	r.must(err)
	fates := map[string]fate{}
	var id, record string
	var f fate
	_, err = pgx.ForEachRow(rows, []any{&id, &f.Status, &f.Reason, &f.PossibleDuplicate, &record}, func() error {
		if f.Status == "created" && !slices.Contains(made[id], record) {
			r.t.Errorf("%s: its row names the record %q, the account has %q", id, record, made[id])
		}
		f.Records = len(made[id])
		fates[id] = f
		return nil
	})
	r.must(err)
	for name, list := range made {
		if _, ok := fates[name]; !ok {
			fates[name] = fate{Status: "no row", Records: len(list)}
		}
	}
	return fates
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

// creates tells whether a request is to create; else it is to read.
func creates(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/batch/create") }
