package main

import (
	"context"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats-server/v2/server"

	"crmintake/deploy/local"
	"crmintake/deploy/local/pki"
	"crmintake/outbox/outboxtest"
	"crmintake/worker/hubspot/hubspottest"
)

// form is one way to give all secrets, with servers that take them.
type form struct {
	name     string
	database string            // where the tests look
	env      map[string]string // for which the servers work
	// refused are changes of env: a server each that refuses what it is given then.
	refused map[string]map[string]string
	markers []string // what is secret in it beside what holds the marker
}

// world is what a form meets.
type world struct {
	name  string
	part  string // the server that is not well; "" if all are
	works bool
	env   map[string]string // changes of the form's
}

// touches tells whether a command meets what is particular about the world.
func (w world) touches(m march) bool {
	return w.works || w.part == "database" && m.database || w.part == "nats" && m.nats || w.part == "crm" && m.crm
}

// worlds are in an order in which none disturbs the next.
func (f form) worlds() []world {
	list := []world{{name: "works", works: true}}
	for _, part := range []string{"database", "nats", "crm"} {
		variable := map[string]string{"database": "CRMINTAKE_DATABASE_URL", "nats": "CRMINTAKE_NATS_URL",
			"crm": "CRMINTAKE_HUBSPOT_URL"}[part]
		u, err := url.Parse(f.env[variable])
		if err != nil {
			panic("a URL of a form can't be read")
		}
		u.Host = "127.0.0.1:1"
		list = append(list, world{name: "no " + part, part: part, env: map[string]string{variable: u.String()}},
			world{name: part + " refuses", part: part, env: f.refused[part]})
	}
	return list
}

// newForms has each slot in one form at least.
func newForms(t *testing.T) []form {
	dir := t.TempDir()
	file := func(name, content string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, bad := file("good", secret+"\n"), file("bad", secret+"-bad\n")
	role := markedRole(t)
	adminCert, adminKey := issue(t, newAuthority(t), "admin", "127.0.0.1")
	var forms []form
	for n, nats := range natsForms(t, dir, good, bad) {
		f := form{name: nats.name, env: maps.Clone(nats.env),
			refused: map[string]map[string]string{"nats": nats.refused}, markers: nats.markers}
		f.database = outboxtest.New(t)
		withPassword := func(password string) string {
			return with(t, f.database, func(u *url.URL) {
				u.User = url.User(role)
				if password != "" {
					u.User = url.UserPassword(role, password)
				}
			})
		}
		if n%2 == 0 {
			f.env["CRMINTAKE_DATABASE_URL"] = withPassword(secret)
			f.refused["database"] = map[string]string{"CRMINTAKE_DATABASE_URL": withPassword(secret + "-bad")}
		} else {
			f.env["CRMINTAKE_DATABASE_URL"], f.env["CRMINTAKE_DATABASE_PASSWORD_FILE"] = withPassword(""), good
			f.refused["database"] = map[string]string{"CRMINTAKE_DATABASE_PASSWORD_FILE": bad}
		}
		f.env["CRMINTAKE_ADMIN_TOKEN_FILE"] = good
		if n%2 == 1 {
			f.env["CRMINTAKE_ADMIN_CERT"], f.env["CRMINTAKE_ADMIN_KEY"] = adminCert, adminKey
			f.markers = append(f.markers, secretsIn(t, adminKey)...)
		}
		crm := crmForms(t, good, bad)[n%4]
		maps.Copy(f.env, crm.env)
		f.refused["crm"] = crm.refused
		f.env["CRMINTAKE_ID_PROPERTY"], f.env["CRMINTAKE_BATCH_WAIT"], f.env["CRMINTAKE_AS"] = "contracts=event_id",
			"50ms", "ann"
		forms = append(forms, f)
	}
	return forms
}

// markedRole logs in with a marked password.
func markedRole(t *testing.T) string {
	t.Helper()
	database := outboxtest.New(t)
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	role := "marked_" + strings.ToLower(strings.ReplaceAll(filepath.Base(t.TempDir())+t.Name(), "/", "_"))
	if _, err := conn.Exec(t.Context(), `CREATE ROLE `+role+` LOGIN SUPERUSER PASSWORD '`+secret+`'`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dropRole(t, database, role) })
	return role
}

func dropRole(t *testing.T, database, role string) {
	t.Helper()
	ctx := context.Background() // the test's own has ended by then
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `DROP ROLE `+role); err != nil {
		t.Error(err)
	}
}

// part is how one of the servers is given its secret.
type part struct {
	name         string
	env, refused map[string]string
	markers      []string
}

func natsForms(t *testing.T, dir, good, bad string) []part {
	t.Helper()
	file := func(name string) string { return filepath.Join(dir, name) }
	start := func(wants func(*server.Options)) string {
		t.Helper()
		s, err := local.StartNATS(local.NATSConfig{Options: wants})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		})
		return s.URL()
	}
	guard := func(wants func(*server.Options), err error) func(*server.Options) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return wants
	}
	// A server each: what is in a stream already is not published again.
	user := func() string { return start(func(o *server.Options) { o.Username, o.Password = "me", secret }) }
	token := func() string { return start(func(o *server.Options) { o.Authorization = secret }) }
	inURL := user()
	nkey := start(guard(local.NKeyGuard(file("good.nk"))))
	creds := start(guard(local.CredsGuard(file("good.creds"))))
	guard(local.NKeyGuard(file("bad.nk")))
	guard(local.CredsGuard(file("bad.creds")))
	ours, theirs := newAuthority(t), newAuthority(t)
	trusting := start(natsTLS(t, ours))
	certFile, keyFile := issue(t, ours, "client")
	strangerCert, strangerKey := issue(t, theirs, "client")

	env := func(url string, pairs ...string) map[string]string {
		m := map[string]string{"CRMINTAKE_NATS_URL": url}
		for i := 0; i < len(pairs); i += 2 {
			m["CRMINTAKE_NATS_"+pairs[i]] = pairs[i+1]
		}
		return m
	}
	refused := func(pairs ...string) map[string]string {
		m := env("", pairs...)
		delete(m, "CRMINTAKE_NATS_URL")
		return m
	}
	return []part{
		{"user", env(user(), "USER", "me", "PASSWORD", secret), refused("PASSWORD", secret+"-bad"), nil},
		{"user and file", env(user(), "USER", "me", "PASSWORD_FILE", good), refused("PASSWORD_FILE", bad), nil},
		{"token", env(token(), "TOKEN", secret), refused("TOKEN", secret+"-bad"), nil},
		{"token in a file", env(token(), "TOKEN_FILE", good), refused("TOKEN_FILE", bad), nil},
		{"nkey", env(nkey, "NKEY_FILE", file("good.nk")), refused("NKEY_FILE", file("bad.nk")),
			secretsIn(t, file("good.nk"), file("bad.nk"))},
		{"credentials", env(creds, "CREDS_FILE", file("good.creds")), refused("CREDS_FILE", file("bad.creds")),
			secretsIn(t, file("good.creds"), file("bad.creds"))},
		{"in the URL", env(strings.Replace(inURL, "//", "//me:"+secret+"@", 1)), env(strings.Replace(inURL, "//",
			"//me:"+secret+"-bad@", 1)), nil},
		{"certificate", env(trusting, "CA_FILE", ours.File, "CERT_FILE", certFile, "KEY_FILE", keyFile),
			refused("CERT_FILE", strangerCert, "KEY_FILE", strangerKey), secretsIn(t, keyFile, strangerKey)},
	}
}

// natsTLS has a server show a certificate, and ask for one of the same authority.
func natsTLS(t *testing.T, authority *pki.Authority) func(*server.Options) {
	t.Helper()
	config, err := authority.MutualTLS("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return func(o *server.Options) {
		o.TLS, o.TLSVerify, o.TLSTimeout, o.TLSConfig = true, true, patience.Seconds(), config
	}
}

func issue(t *testing.T, authority *pki.Authority, name string, hosts ...string) (certFile, keyFile string) {
	t.Helper()
	certFile, keyFile, err := authority.Issue(name, hosts...)
	if err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}

// secretsIn are the lines of files that are secret.
func secretsIn(t *testing.T, files ...string) (markers []string) {
	t.Helper()
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimSpace(line); len(line) > 20 && !strings.ContainsAny(line, " ") {
				markers = append(markers, line)
			}
		}
	}
	if len(markers) < len(files) {
		t.Fatalf("%d secrets in %d files", len(markers), len(files))
	}
	return markers
}

func crmForms(t *testing.T, good, bad string) []part {
	t.Helper()
	start := func(cfg hubspottest.Config) string {
		t.Helper()
		cfg.ObjectTypes = map[string]hubspottest.ObjectType{"contracts": {Properties: []string{"name"},
			Unique: []string{"event_id"}}}
		crm, err := hubspottest.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(crm.Close)
		return crm.URL
	}
	static := start(hubspottest.Config{Token: secret})
	app := start(hubspottest.Config{OAuth: &hubspottest.OAuth{ClientID: "app", ClientSecret: secret,
		RefreshToken: secret}})
	env := func(url string, pairs ...string) map[string]string {
		m := map[string]string{"CRMINTAKE_HUBSPOT_URL": url}
		for i := 0; i < len(pairs); i += 2 {
			m["CRMINTAKE_HUBSPOT_"+pairs[i]] = pairs[i+1]
		}
		return m
	}
	return []part{
		{"token", env(static, "TOKEN", secret), env(static, "TOKEN", secret+"-bad"), nil},
		{"token in a file", env(static, "TOKEN_FILE", good), env(static, "TOKEN_FILE", bad), nil},
		{"app", env(app, "CLIENT_ID", "app", "CLIENT_SECRET", secret, "REFRESH_TOKEN", secret),
			env(app, "CLIENT_SECRET", secret+"-bad"), nil},
		{"app in files", env(app, "CLIENT_ID", "app", "CLIENT_SECRET_FILE", good, "REFRESH_TOKEN_FILE", good),
			env(app, "REFRESH_TOKEN_FILE", bad), nil},
	}
}
