package crash

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"crmintake/deploy/local"
	"crmintake/deploy/local/proxy"
)

// worker is one process. What it says and hears passes us; nil fields let it pass.
type worker struct {
	rig *rig

	// To be set before start.
	statement func(sql string) bool
	answer    func(statements []string) bool
	sent      func(proxy.Message) bool
	received  func(proxy.Message) bool
	call      func(crm http.Handler, w http.ResponseWriter, r *http.Request) // a create call
	read      func(crm http.Handler, w http.ResponseWriter, r *http.Request) // any other

	process *local.Process // from started on
	log     lines
	started chan struct{}
	killed  chan struct{} // closed when it was killed by kill
	once    sync.Once
}

func (r *rig) worker() *worker {
	return &worker{rig: r, started: make(chan struct{}), killed: make(chan struct{})}
}

// start runs it, with these arguments beside what takes seconds in production and a moment here.
func (w *worker) start(args ...string) {
	r := w.rig
	r.t.Helper()
	postgres, err := proxy.StartPostgres(r.url.Host, proxy.PostgresHooks{Statement: w.statement, Answer: w.answer})
	r.must(err)
	r.t.Cleanup(postgres.Close)
	stream, err := proxy.StartNATS(strings.TrimPrefix(r.nats.URL(), "nats://"), proxy.NATSHooks{Sent: w.sent,
		Received: w.received})
	r.must(err)
	r.t.Cleanup(stream.Close)
	crm := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		call := w.read
		if creates(req) {
			call = w.call
		}
		if call == nil {
			call = http.Handler.ServeHTTP
		}
		call(r.crm, rw, req)
	}))
	r.t.Cleanup(crm.Close)
	database := *r.url
	database.Host = postgres.Addr()

	program, err := built()
	r.must(err)
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CRMINTAKE_") })
	env = append(env,
		"CRMINTAKE_NATS_URL="+(&url.URL{Scheme: "nats", Host: stream.Addr()}).String(),
		"CRMINTAKE_DATABASE_URL="+database.String(),
		"CRMINTAKE_HUBSPOT_URL="+crm.URL,
		"CRMINTAKE_HUBSPOT_TOKEN="+token,
		"CRMINTAKE_ADMIN_ADDR=127.0.0.1:0")
	// One call at a time, of full batches: so the second batch is begun when the first is done.
	args = append([]string{"run", "--id-property", withID + "=" + idProperty, "--quota", "off", "--in-flight", "1",
		"--batch-size", strconv.Itoa(batch), "--batch-wait", "2s", "--lease", lease.String(), "--call-timeout",
		callTimeout.String(),
		"--settle", "300ms", "--trial-interval", "1s", "--retry-initial", "50ms", "--retry-max", "1s", "--log-level",
		"debug"}, args...)
	w.process, err = local.StartProcess(r.t.Context(), local.ProcessConfig{Path: program.path, Args: args, Env: env,
		Stderr: &w.log})
	r.must(err)
	close(w.started)
	r.t.Cleanup(func() {
		_ = w.process.Kill() // it has ended, as a rule
		_ = w.process.Wait()
	})
}

// kill ends it by SIGKILL and returns when it is dead. It returns false, for hooks: nothing more passes.
func (w *worker) kill() bool {
	<-w.started
	w.once.Do(func() {
		_ = w.process.Kill()
		if w.waitForEnd(); w.process.Wait() != nil { // it was not done by itself before
			close(w.killed)
		}
	})
	return false
}

// waitForEnd holds up a hook until it is dead.
func (w *worker) waitForEnd() bool {
	<-w.started
	<-w.process.Done()
	return false
}

// awaitKill waits for the moment of the kill, which must come.
func (w *worker) awaitKill() {
	w.rig.t.Helper()
	select {
	case <-w.killed:
	case <-time.After(patience):
		w.rig.t.Fatalf("the moment for the kill has not come; the log:\n%s", &w.log)
	case <-w.process.Done():
		select {
		case <-w.killed:
		case <-time.After(patience):
			w.rig.t.Fatalf("it has ended without being killed; the log:\n%s", &w.log)
		}
	}
}

// awaitEnd waits for it to end by itself, well.
func (w *worker) awaitEnd() {
	w.rig.t.Helper()
	select {
	case <-w.process.Done():
		if err := w.process.Wait(); err != nil {
			w.rig.t.Fatalf("%v; the log:\n%s", err, &w.log)
		}
	case <-time.After(patience):
		w.rig.t.Fatalf("not at its end within %v; the log:\n%s", patience, &w.log)
	}
}
