package main

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var adminURL = regexp.MustCompile(`msg="admin endpoints" url=(\S+)`)

// admin returns the address of a worker's endpoints, once its log tells.
func (s *starting) admin() string {
	s.t.Helper()
	s.until("admin endpoints")
	return adminURL.FindStringSubmatch(s.String())[1]
}

// ask gets a path of a worker's, with a bearer token unless it is "".
func (s *starting) ask(path, token string) (status int, body string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.admin()+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if strings.Contains(string(b), secret) {
		s.t.Errorf("%s tells a secret: %s", path, b)
	}
	return resp.StatusCode, string(b)
}

// untilAsked waits until a path answers with this status and these words.
func (s *starting) untilAsked(path string, status int, words ...string) {
	s.t.Helper()
	for limit := time.Now().Add(patience); ; {
		got, body := s.ask(path, "")
		ok := got == status
		for _, w := range words {
			ok = ok && strings.Contains(body, w)
		}
		if ok {
			return
		}
		if time.Now().After(limit) {
			s.t.Fatalf("%s: %d %s; want %d with %q; the log:\n%s", path, got, body, status, words, s)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-s.t.Context().Done():
		}
	}
}

// A worker says what it waits for, at its start and later on, and what is paused.
func TestReadyz(t *testing.T) {
	t.Parallel()
	natsURL, databaseURL := ready(t)
	straight := databaseURL
	natsURL, stream := behind(t, natsURL)
	databaseURL, postgres := behind(t, databaseURL)
	stream.Refuse(true)
	postgres.Refuse(true)
	s := startRun(t, natsURL, databaseURL)
	s.untilAsked("/readyz", 503, `"ready":false`, "Postgres is not there yet", "NATS is not there yet")
	s.untilAsked("/livez", 200, "ok")
	s.untilAsked("/metrics", 200, `crmintake_connected{server="postgres"} 0`,
		`crmintake_events_total{outcome="created",reason=""} 0`)
	postgres.Refuse(false)
	s.until("Postgres is there")
	s.untilAsked("/readyz", 503, `["NATS is not there yet"]`)
	stream.Refuse(false)
	s.untilAsked("/readyz", 200, `{"ready":true`)
	s.untilAsked("/metrics", 200, `crmintake_connected{server="postgres"} 1`, `crmintake_connected{server="nats"} 1`,
		"go_goroutines", "process_open_fds",
		`goversion="go1`)

	postgres.Refuse(true)
	postgres.Cut()
	s.untilAsked("/readyz", 503, "Postgres does not answer, for ")
	s.untilAsked("/metrics", 200, `crmintake_connected{server="postgres"} 0`, `crmintake_connected{server="nats"} 1`)
	s.untilAsked("/livez", 200, "ok")
	postgres.Refuse(false)
	s.untilAsked("/readyz", 200, `{"ready":true`)
	// As after a failover that leads to a standby: what lasts is told, and not what it began with.
	fixture{database: straight}.exec(t,
		`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$`)
	postgres.Cut()
	s.untilAsked("/readyz", 503, "Postgres takes no writes, for ",
		`"verdict":"in trouble: Postgres takes no writes, for `, "target_session_attrs")
	s.until(`another reason`)
	writes, err := url.Parse(straight)
	if err != nil {
		t.Fatal(err)
	}
	writes.RawQuery = "default_transaction_read_only=off"
	fixture{database: writes.String()}.exec(t,
		`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET default_transaction_read_only', current_database()); END $$`)
	postgres.Cut()
	s.untilAsked("/readyz", 200, `{"ready":true`)
	stream.Refuse(true)
	stream.Cut()
	s.untilAsked("/readyz", 503, "NATS is not connected")
	s.untilAsked("/readyz", 503, `"verdict":"in trouble: NATS can't be asked`, "--nats-url")
	s.untilAsked("/metrics", 200, `crmintake_connected{server="nats"} 0`)
	stream.Refuse(false)
	s.untilAsked("/readyz", 200, `{"ready":true`)

	crmintake(t, "", "pause", "contracts", "--reason", "a secret reason", "--database-url", straight).want(t, 0)
	s.untilAsked("/readyz", 200, `{"ready":true,"paused":["contracts (operator)"]`,
		`"verdict":"held: contracts is paused by a person`, "crmintake resume contracts")
	s.untilAsked("/metrics", 200, `crmintake_paused{cause="operator",scope="object_type"} 1`,
		`crmintake_verdict{state="held"} 1`,
		`crmintake_verdict{state="idle"} 0`, "crmintake_needs_person 0", "crmintake_stopped 0")
	if _, body := s.ask("/readyz", ""); strings.Contains(body, "a secret reason") {
		t.Errorf("it tells what a person said: %s", body)
	}
	s.stop()
	s.want(0, "msg=stopped")
}

func TestAdminEndpoints(t *testing.T) {
	t.Parallel()
	natsURL, databaseURL := ready(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startRun(t, natsURL, databaseURL, "--admin-addr", "127.0.0.1:0", "--admin-token-file", file)
	s.until("msg=started")
	for path, status := range map[string]int{"/metrics": 401, "/debug/pprof/": 401, "/livez": 200, "/readyz": 200} {
		if got, body := s.ask(path, ""); got != status {
			t.Errorf("%s: %d %s, want %d", path, got, body, status)
		}
	}
	if got, body := s.ask("/metrics", secret); got != 200 || !strings.Contains(body, "crmintake_build_info{") {
		t.Errorf("/metrics with the token: %d %s", got, body)
	}
	address := strings.TrimPrefix(s.admin(), "http://")
	s.stop()
	s.want(0)
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Error("the endpoints outlive the worker")
	}
}

func TestAdminAddressInUse(t *testing.T) {
	t.Parallel()
	natsURL, databaseURL := ready(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := startRun(t, natsURL, databaseURL, "--admin-addr", l.Addr().String())
	s.want(1, "is in use, perhaps by another worker")
	s = startRun(t, natsURL, databaseURL, "--drain", "--admin-addr", "off")
	s.want(0, "msg=stopped")
	if strings.Contains(s.String(), "admin endpoints") {
		t.Errorf("they are there though they are off:\n%s", s)
	}
}
