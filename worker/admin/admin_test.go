package admin

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"crmintake/deploy/local/parallel"
)

func TestMain(m *testing.M) {
	parallel.Default()
	goleak.VerifyTestMain(m)
}

// server is one that runs, and what it says of itself.
type server struct {
	*Server
	t     *testing.T
	ready atomic.Pointer[Readiness]
	alive atomic.Int32 // how often it was asked
	stop  context.CancelFunc
	ended chan error
}

// serve runs a server until the test ends.
func serve(t *testing.T, cfg Config) *server {
	t.Helper()
	s := &server{t: t, ended: make(chan error, 1)}
	s.ready.Store(&Readiness{Ready: true})
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "a_count", Help: "It counts."}))
	cfg.Metrics = registry
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Ready = func() Readiness { return *s.ready.Load() }
	if cfg.Alive == nil {
		cfg.Alive = func() { s.alive.Add(1) }
	}
	var err error
	if s.Server, err = Listen(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.WithoutCancel(t.Context()))
	go func() {
		s.ended <- s.Run(ctx)
		close(s.ended)
	}()
	t.Cleanup(func() {
		s.stop()
		if err := <-s.ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

// local is a client's address of a server that listens on all.
func (s *server) local(path string) string {
	s.t.Helper()
	_, port, err := net.SplitHostPort(s.listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	scheme, _, _ := strings.Cut(s.URL(), "://")
	return scheme + "://127.0.0.1:" + port + path
}

// get asks with a bearer token, unless it is "".
func (s *server) get(client *http.Client, path, token string) (status int, body string, err error) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.local(path), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// want fails unless the answer has this status, and these words in it.
func (s *server) want(client *http.Client, path, token string, status int, words string) {
	s.t.Helper()
	got, body, err := s.get(client, path, token)
	if err != nil || got != status || !strings.Contains(body, words) {
		s.t.Errorf("%s: %d %.200q, %v; want %d with %q", path, got, body, err, status, words)
	}
}

// plain is a client that keeps no connection.
func plain() *http.Client { return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} }

func TestOnLoopbackAllMayAsk(t *testing.T) {
	s := serve(t, Config{Addr: "127.0.0.1:0"})
	c := plain()
	s.want(c, "/livez", "", 200, "ok")
	if s.alive.Load() != 1 {
		t.Error("nobody was asked whether the worker goes on")
	}
	s.want(c, "/metrics", "", 200, "a_count 0")
	s.want(c, "/debug/pprof/", "", 200, "goroutine")
	s.want(c, "/debug/pprof/heap", "", 200, "")
	s.want(c, "/debug/pprof/cmdline", "", 404, "") // which could tell secrets
	s.want(c, "/", "", 404, "")
}

func TestReadiness(t *testing.T) {
	s := serve(t, Config{Addr: "127.0.0.1:0"})
	for _, r := range []Readiness{
		{Ready: true},
		{Ready: true, Paused: []string{"contracts (breaker)"}},
		{Reasons: []string{"Postgres does not answer, for 3s", "NATS is not connected"}},
	} {
		s.ready.Store(&r)
		status, body, err := s.get(plain(), "/readyz", "")
		var got Readiness
		if err == nil {
			err = json.Unmarshal([]byte(body), &got)
		}
		if err != nil || (status == 200) != r.Ready || !r.Ready && status != 503 {
			t.Errorf("%+v: %d %q %v", r, status, body, err)
		}
		if diff := cmp.Diff(r, got); diff != "" {
			t.Error(diff)
		}
	}
}

// file is a token that can be replaced.
type file string

func (f file) Token(context.Context) (string, error) {
	b, err := os.ReadFile(string(f))
	return strings.TrimSpace(string(b)), err
}

func TestToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	put := func(token string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("the first one")
	for _, address := range []string{"0.0.0.0:0", "127.0.0.1:0"} { // on loopback, too, once it is given
		put("the first one")
		s := serve(t, Config{Addr: address, Token: file(path)})
		c := plain()
		for _, guarded := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/profile?seconds=1",
			"/debug/pprof/symbol", "/debug/pprof/trace?seconds=1"} {
			for _, wrong := range []string{"", "another", "the first one and more", "the first on"} {
				s.want(c, guarded, wrong, 401, "bearer token")
			}
		}
		s.want(c, "/metrics", "the first one", 200, "a_count")
		s.want(c, "/debug/pprof/", "the first one", 200, "goroutine")
		s.want(c, "/livez", "", 200, "ok")
		s.want(c, "/readyz", "", 200, "true")
		put("the second one")
		s.want(c, "/metrics", "the first one", 401, "")
		s.want(c, "/metrics", "the second one", 200, "a_count")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		s.want(c, "/metrics", "", 401, "") // and not: no token is the right one
		s.want(c, "/metrics", "the second one", 401, "")
	}
}

func TestAddressInUse(t *testing.T) {
	s := serve(t, Config{Addr: "127.0.0.1:0"})
	_, err := Listen(t.Context(), Config{Addr: s.listener.Addr().String()})
	if err == nil || !strings.Contains(err.Error(), "is in use, perhaps by another worker") {
		t.Errorf("%v", err)
	}
}

// An answer that takes long, as a profile may, keeps nobody from stopping.
func TestStopDuringAnAnswer(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	s := serve(t, Config{Addr: "127.0.0.1:0", Alive: func() { close(begun); <-release }})
	cut := make(chan error)
	go func() {
		c := plain()
		c.Timeout = 20 * time.Second // a test that waits so long has failed
		_, _, err := s.get(c, "/livez", "")
		cut <- err
	}()
	<-begun
	s.stop()
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
	if err := <-cut; err == nil || os.IsTimeout(err) {
		t.Errorf("want it cut off, not %v", err)
	}
	close(release)
}

func TestValidate(t *testing.T) {
	token := file("x")
	for name, c := range map[string]struct {
		cfg  Config
		want string // of the error; "" for none
	}{
		"loopback":                 {Config{Addr: "127.0.0.1:8080"}, ""},
		"another of loopback":      {Config{Addr: "127.9.9.9:0"}, ""},
		"localhost":                {Config{Addr: "localhost:8080"}, ""},
		"IPv6":                     {Config{Addr: "[::1]:8080"}, ""},
		"IPv4 in IPv6":             {Config{Addr: "[::ffff:127.0.0.1]:8080"}, ""},
		"all":                      {Config{Addr: ":8080"}, "can be reached by others"},
		"all by name":              {Config{Addr: "0.0.0.0:8080"}, "can be reached by others"},
		"all of IPv6":              {Config{Addr: "[::]:8080"}, "can be reached by others"},
		"another":                  {Config{Addr: "192.0.2.1:8080"}, "can be reached by others"},
		"a name":                   {Config{Addr: "localhost.example.com:8080"}, "can be reached by others"},
		"another, with a token":    {Config{Addr: "192.0.2.1:8080", Token: token}, ""},
		"no port":                  {Config{Addr: "127.0.0.1"}, "is not one such as"},
		"port of words":            {Config{Addr: "127.0.0.1:http"}, "is not one such as"},
		"too large a port":         {Config{Addr: "127.0.0.1:65536"}, "is not one such as"},
		"nothing":                  {Config{}, "is not one such as"},
		"no key":                   {Config{Addr: "127.0.0.1:0", CertFile: "c"}, "needs both"},
		"no certificate":           {Config{Addr: "127.0.0.1:0", KeyFile: "k"}, "needs both"},
		"clients' without our own": {Config{Addr: "127.0.0.1:0", ClientCAFile: "a"}, "takes one of their own"},
		"no such certificate": {Config{Addr: "127.0.0.1:0", CertFile: "/nowhere/c", KeyFile: "/nowhere/k"},
			"/nowhere/c"},
		"TLS does not let others in": {Config{Addr: ":0", CertFile: "/nowhere/c", KeyFile: "/nowhere/k"},
			"can be reached by others"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.cfg.Validate()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
