package main

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"crmintake/cmd/crmintake/internal/view"
	"crmintake/migrations"
	"crmintake/outbox/operator"
	"crmintake/outbox/outboxtest"
	"crmintake/worker/hubspot/hubspottest"
)

// secret marks every place that holds a credential.
const secret = "marker-of-a-secret"

// account starts a simulated CRM.
func account(t testing.TB) *hubspottest.Server {
	t.Helper()
	crm, err := hubspottest.Start(hubspottest.Config{Token: secret, ObjectTypes: map[string]hubspottest.ObjectType{
		"contracts": {
			Properties: []string{"name"}, Unique: []string{"event_id", "serial"},
			Types: map[string]hubspottest.PropertyType{"serial": {Type: "number", FieldType: "number"}},
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(crm.Close)
	return crm
}

// The main job, by the commands of the README.
func TestInitPublishRunGet(t *testing.T) {
	t.Parallel()
	server, _ := startNATS(t)
	crm := account(t)
	setenv(t, "CRMINTAKE_NATS_URL", server.URL())
	setenv(t, "CRMINTAKE_DATABASE_URL", outboxtest.New(t))
	setenv(t, "CRMINTAKE_HUBSPOT_URL", crm.URL)
	setenv(t, "CRMINTAKE_HUBSPOT_TOKEN", secret)
	setenv(t, "CRMINTAKE_ID_PROPERTY", "contracts=event_id")
	setenv(t, "CRMINTAKE_BATCH_WAIT", "50ms")

	crmintake(t, "", "init").want(t, 0, "CRM_EVENTS")
	events := `{"properties":{"name":"a"}}` + "\n" + `{"properties":{"nmae":"b"}}` + "\n" +
		`{"properties":{"name":"c","event_id":"mine"}}` + "\n"
	crmintake(t, events, "publish", "--object-type", "contracts", "-").want(t, 0, "Published 3 events")
	r := crmintake(t, "", "run", "--drain", "--log-level", "debug")
	r.want(t, 0, "msg=started", "msg=stopped", "created=2", "dead=1")
	if strings.Contains(r.out+r.err, secret) {
		t.Errorf("the log tells the credential:\n%s", r.err)
	}

	crmintake(t, "", "outbox", "get", idAt(t, 1)).want(t, 0, idAt(t, 1), "created", "contracts")
	crmintake(t, "", "outbox", "get", idAt(t, 2)).want(t, 0, "dead (rejected)", "PROPERTY_DOESNT_EXIST", "nmae",
		"correlation id")
	crmintake(t, "", "outbox", "get", "nobody").want(t, 2, `no event with the id "nobody"`)
	var got view.Event
	crmintake(t, "", "outbox", "get", idAt(t, 2), "--output", "json").json(t, &got)
	if got.Status != "dead" || got.Payload.Text != `{"properties":{"nmae":"b"}}` || len(got.Errors) != 1 ||
		got.Errors[0].Raw == nil {
		t.Errorf("%+v", got)
	}
	crmintake(t, "", "dead", "list").want(t, 0, idAt(t, 2), "rejected")
	crmintake(t, "", "dead", "list", "--dead-reason", "conflict").want(t, 0, "No dead events")
	var list operator.Page
	crmintake(t, "", "dead", "list", "--output", "json", "--object-type", "contracts").json(t, &list)
	if len(list.Events) != 1 || list.Events[0].EventID != idAt(t, 2) {
		t.Errorf("%+v", list)
	}
	if n := crm.Count("contracts", "event_id"); n[idAt(t, 1)] != 1 || n["mine"] != 1 || len(n) != 2 {
		t.Errorf("records: %v", n)
	}
}

// run refuses to start, with a line that says what to do.
func TestRunRefuses(t *testing.T) {
	t.Parallel()
	server, _ := startNATS(t)
	crm := account(t)
	database := outboxtest.New(t)
	empty := outboxtest.New(t)
	if err := migrations.DownTo(t.Context(), empty, 0); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	good := []string{"run", "--nats-url", server.URL(), "--database-url", database, "--hubspot-url", crm.URL,
		"--hubspot-token", secret}
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no stream":     {nil, 1, "type 'crmintake init'"},
		"schema behind": {[]string{"--database-url", empty}, 1, "type 'crmintake migrate up'"},
		"database password": {[]string{"--database-url", with(t, database,
			func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), secret) })}, 2,
			"check user and password in --database-url"},
		"unknown database": {[]string{"--database-url", with(t, database,
			func(u *url.URL) { u.Path = "/nowhere" })}, 2, "create the database"},
		"bad database URL": {[]string{"--database-url", "postgres://u:x@y:" + secret + ":1@h/x"}, 2, "can't be read"},
		"NATS password": {[]string{"--nats-url", "nats://me:" + secret + "@" + protected(t)}, 2,
			"check user and password"},
		"NATS URL":              {[]string{"--nats-url", "http://u:" + secret + "@x"}, 2, "want nats://"},
		"subject":               {[]string{"--subject", "crm.create"}, 2, "must end in one wildcard"},
		"lease within the call": {[]string{"--lease", "30s"}, 2, "must be longer than the call timeout"},
		"batch of 101":          {[]string{"--batch-size", "101"}, 2, "at most 100 inputs"},
		"zero":                  {[]string{"--in-flight", "0"}, 2, "--in-flight: must be more than 0"},
		"two tokens":            {[]string{"--hubspot-token-file", file}, 2, "give one"},
		"no such token file":    {[]string{"--hubspot-token", "", "--hubspot-token-file", "/nowhere"}, 2, "/nowhere"},
		"no token":              {[]string{"--hubspot-token", ""}, 2, "CRMINTAKE_HUBSPOT_TOKEN"},
		"plain http": {[]string{"--hubspot-url", "http://api.example.com"}, 2,
			"plain http only to a loopback address"},
		"quota":               {[]string{"--quota", "many"}, 2, "190/10s"},
		"keep created":        {[]string{"--keep-created", "30d"}, 2, "want a time, as 720h, or off"},
		"breaker":             {[]string{"--breaker", "half"}, 2, "50%/500"},
		"large breaker":       {[]string{"--breaker", "50%/1000000"}, 2, "breaker"},
		"bad id property":     {[]string{"--id-property", "a/b=c"}, 2, "not an object type"},
		"unknown flag":        {[]string{"--bach-size", "1"}, 2, "batch-size"},
		"memory":              {[]string{"--memory", "1MiB"}, 2, "memory"},
		"admin address":       {[]string{"--admin-addr", "8080"}, 2, "--admin-addr"},
		"open admin address":  {[]string{"--admin-addr", ":0"}, 2, "can be reached by others: that wants a token's file"},
		"no admin token file": {[]string{"--admin-addr", ":0", "--admin-token-file", "/nowhere"}, 2, "--admin-token-file"},
		"no admin certificate": {[]string{"--admin-cert", "/nowhere/c", "--admin-key", "/nowhere/k",
			"--admin-token-file", file}, 2, "/nowhere/c"},
	} {
		t.Run(name, func(t *testing.T) {
			r := crmintake(t, "", append(append([]string{}, good...), c.args...)...)
			r.want(t, c.code, c.want)
			if strings.Contains(r.out+r.err, secret) {
				t.Errorf("it tells the credential: %s", r.err)
			}
			if lines := strings.Count(strings.TrimSpace(r.err), "\n"); lines > 1 {
				t.Errorf("more than a clear line:\n%s", r.err)
			}
		})
	}
}

// with changes an address.
func with(t *testing.T, address string, change func(*url.URL)) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	change(u)
	return u.String()
}

// protected is the address of a NATS server that asks for a password.
func protected(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, Username: "me",
		Password: "another", NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	return s.Addr().String()
}

// The consumer's ack wait is known only once it was asked.
func TestRunRefusesAShortAckWait(t *testing.T) {
	t.Parallel()
	server, _ := startNATS(t)
	setenv(t, "CRMINTAKE_NATS_URL", server.URL())
	setenv(t, "CRMINTAKE_DATABASE_URL", outboxtest.New(t))
	crmintake(t, "", "init", "--ack-wait", "5s").want(t, 0)
	crmintake(t, "", "run", "--hubspot-url", account(t).URL, "--hubspot-token", secret, "--batch-wait", "6s").want(t, 2,
		"ack wait 5s")
}

func TestHelp(t *testing.T) {
	t.Parallel()
	crmintake(t, "").want(t, 0, "crmintake", "publish")
	for _, command := range []string{"init", "run", "publish", "status", "check", "outbox", "outbox get", "outbox list",
		"outbox tail", "pause", "resume", "completion", "dead", "dead groups", "dead list", "dead show", "dead edit",
		"dead discard", "dead replay", "replay", "replay list", "replay show", "replay pause", "replay resume",
		"replay cancel", "dead export", "audit", "migrate", "migrate up", "migrate status", "version"} {
		crmintake(t, "", append(strings.Fields(command), "--help")...).want(t, 0, "Usage: crmintake "+command)
	}
	crmintake(t, "", "frobnicate").want(t, 2, "frobnicate", "--help")
}

func TestVersion(t *testing.T) {
	t.Parallel()
	crmintake(t, "", "version").want(t, 0, "crmintake", "commit")
	var b build
	crmintake(t, "", "version", "--output", "json").json(t, &b)
	if b.Go == "" || b.Commit == "" {
		t.Errorf("%+v", b)
	}
}

// A worker that gets a signal stops with 0.
func TestRunStops(t *testing.T) {
	t.Parallel()
	server, _ := startNATS(t)
	setenv(t, "CRMINTAKE_NATS_URL", server.URL())
	setenv(t, "CRMINTAKE_DATABASE_URL", outboxtest.New(t))
	crmintake(t, "", "init").want(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	started := &trigger{on: "msg=started", do: cancel}
	if code := execute(ctx, []string{"run", "--hubspot-url", account(t).URL, "--hubspot-token", secret},
		systemIn(t, strings.NewReader(""), started, started)); code != 0 {
		t.Errorf("exit code %d\n%s", code, started.text)
	}
}

// trigger does something once a text has been written.
type trigger struct {
	on   string
	do   func()
	text string
}

func (w *trigger) Write(p []byte) (int, error) {
	w.text += string(p)
	if strings.Contains(w.text, w.on) {
		w.do()
	}
	return len(p), nil
}
