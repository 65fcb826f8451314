package main

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/deploy/local/pgcluster"
	"crmintake/deploy/local/pki"
	"crmintake/migrations"
	"crmintake/outbox"
	"crmintake/outbox/outboxtest"
)

// withTLS restarts a server so that it shows a certificate, and takes the user with_cert by one of ours and nothing
// else.
func withTLS(t *testing.T, c *pgcluster.Cluster, authority *pki.Authority, hosts ...string) {
	t.Helper()
	certFile, keyFile, err := authority.Issue("server", hosts...)
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(c.Dir(), "data")
	info, err := os.Stat(data)
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	for from, to := range map[string]string{certFile: "server.crt", keyFile: "server.key", authority.File: "root.crt"} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(data, to), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(data, to), int(owner.Uid), int(owner.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	change := func(name string, edit func(string) string) {
		t.Helper()
		file := filepath.Join(data, name)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(edit(string(b))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	change("pg_hba.conf", func(s string) string { return "hostssl all with_cert all cert\n" + s })
	change("postgresql.conf", func(s string) string { return s + "\nssl = on\nssl_ca_file = 'root.crt'\n" })
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func newAuthority(t *testing.T) *pki.Authority {
	t.Helper()
	a, err := pki.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// The address' sslmode, sslrootcert, sslcert and sslkey are pgx's; this sees to it that they come through, and what is
// told when they don't do.
func TestDatabaseTLS(t *testing.T) {
	t.Parallel()
	c := outboxtest.Cluster(t)
	address := c.URL("postgres")
	if err := migrations.Up(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	fixture{database: address}.exec(t, `CREATE ROLE with_cert LOGIN SUPERUSER`)
	ours, theirs := newAuthority(t), newAuthority(t)
	withTLS(t, c, ours, "127.0.0.1")
	certFile, keyFile, err := ours.Issue("with_cert")
	if err != nil {
		t.Fatal(err)
	}
	strangerCert, strangerKey, err := theirs.Issue("with_cert")
	if err != nil {
		t.Fatal(err)
	}
	query := func(user *url.Userinfo, values ...string) string {
		return with(t, address, func(u *url.URL) {
			q := u.Query()
			for i := 0; i < len(values); i += 2 {
				q.Set(values[i], values[i+1])
			}
			u.RawQuery = q.Encode()
			if user != nil {
				u.User = user
			}
		})
	}
	me := url.User("with_cert")
	for name, one := range map[string]struct {
		address string
		code    int
		want    string
	}{
		"verify-full":       {query(nil, "sslmode", "verify-full", "sslrootcert", ours.File), 0, ""},
		"require":           {query(nil, "sslmode", "require"), 0, ""},
		"another authority": {query(nil, "sslmode", "verify-full", "sslrootcert", theirs.File), 1, "certificate"},
		"the system's":      {query(nil, "sslmode", "verify-full"), 1, "certificate"},
		"a certificate": {query(me, "sslmode", "verify-full", "sslrootcert", ours.File, "sslcert", certFile,
			"sslkey", keyFile), 0, ""},
		// By TLS 1.3 the server refuses it when the client is done, and hangs up: its reason may not arrive.
		"a stranger's": {query(me, "sslmode", "verify-full", "sslrootcert", ours.File, "sslcert",
			strangerCert, "sslkey", strangerKey), 1, "failed to connect"},
		"no certificate": {query(me, "sslmode", "verify-full", "sslrootcert", ours.File), 1, "certificate"},
		"a file that isn't there": {query(nil, "sslmode", "verify-full", "sslrootcert", "/nowhere/ca.pem"), 2,
			"/nowhere/ca.pem"},
		"a mode that isn't there": {query(nil, "sslmode", "often"), 2, "can't be read"},
	} {
		t.Run(name, func(t *testing.T) {
			r := crmintake(t, "", "outbox", "list", "--database-url", one.address)
			r.want(t, one.code, one.want)
			password, _ := mustParse(t, address).User.Password()
			if strings.Contains(r.out+r.err, password) || strings.Count(strings.TrimSpace(r.err), "\n") > 0 {
				t.Errorf("not one clear line without secrets: %s", r.err)
			}
		})
	}
	// Certificates that are replaced are those of the next connection.
	f := flags.Database{DatabaseURL: query(me, "sslmode", "verify-full", "sslrootcert", ours.File, "sslcert", certFile,
		"sslkey", keyFile)}
	store, err := f.Open(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	again := func() error {
		store.Pool().Reset()
		return store.Pool().Ping(t.Context())
	}
	for from, to := range map[string]string{strangerCert: certFile, strangerKey: keyFile} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	if again() == nil {
		t.Error("connected as a stranger")
	}
	if _, _, err := ours.Issue("with_cert"); err != nil { // in the place of the first one
		t.Fatal(err)
	}
	if err := again(); err != nil {
		t.Error(err)
	}

	// check knows what goes in the clear.
	for address, want := range map[string]bool{query(nil, "sslmode", "disable"): false, query(nil, "sslmode",
		"require"): true} {
		store, err := outbox.Open(t.Context(), address, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		if s, err := store.Inspect(t.Context()); err != nil || s.Encrypted != want || !onThisMachine(s.Addr) {
			t.Errorf("%+v, %v", s, err)
		}
	}
	// run tells what to correct, and does not wait for it.
	server, _ := startNATS(t)
	crmintake(t, "", "run", "--nats-url", server.URL(), "--hubspot-token", secret, "--database-url",
		query(nil, "sslmode", "verify-full", "sslrootcert", theirs.File)).
		want(t, 2, "sslrootcert")

	// A server of another name is nobody's but verify-ca's.
	withTLS(t, c, ours, "db.example.com")
	crmintake(t, "", "outbox", "list", "--database-url", query(nil, "sslmode", "verify-full", "sslrootcert",
		ours.File)).want(t, 1, "certificate")
	crmintake(t, "", "outbox", "list", "--database-url", query(nil, "sslmode", "verify-ca", "sslrootcert",
		ours.File)).want(t, 0)
}

func mustParse(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// A password that is replaced is used from the next connection on, without a restart.
func TestDatabasePasswordFile(t *testing.T) {
	t.Parallel()
	d := newFixture(t)
	admin, err := pgx.Connect(t.Context(), d.database)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	role := "login_" + strings.ToLower(t.Name())
	exec := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE ROLE ` + role + ` LOGIN SUPERUSER PASSWORD 'first-` + secret + `'`)
	t.Cleanup(func() { dropRole(t, d.database, role) })
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first-" + secret)
	setenv(t, "CRMINTAKE_DATABASE_URL", with(t, d.database, func(u *url.URL) { u.User = url.User(role) }))
	setenv(t, "CRMINTAKE_DATABASE_PASSWORD_FILE", file)
	_, log, stop := running(t, "run", "--log-level", "debug")
	publish(t, "a")
	until(t, "the first record is made", func() bool { return d.crm.Len("contracts") == 1 })

	exec(`ALTER ROLE ` + role + ` PASSWORD 'second-` + secret + `'`)
	exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '` + role + `'`)
	crmintake(t, "", "outbox", "list").want(t, 1, "password authentication failed")
	write("second-" + secret)
	publish(t, "b")
	until(t, "the second record is made", func() bool { return d.crm.Len("contracts") == 2 })
	crmintake(t, "", "outbox", "list").want(t, 0, "record")
	if code := stop(); code != 0 || strings.Contains(log.String(), secret) {
		t.Errorf("exit code %d, or the log tells a password: %s", code, log)
	}

	for name, one := range map[string]struct {
		args []string
		want string
	}{
		"twice":        {[]string{"--database-url", d.database}, "give one"},
		"no such file": {[]string{"--database-password-file", "/nowhere"}, "/nowhere"},
		"an empty one": {[]string{"--database-password-file", os.DevNull}, "is empty"},
	} {
		for _, command := range []string{"run", "check", "status", "init", "migrate up", "migrate status",
			"outbox list", "audit"} {
			code := 2
			if command == "check" {
				code = 1
			}
			r := crmintake(t, "", append(strings.Fields(command), one.args...)...)
			if r.want(t, code, one.want); t.Failed() {
				t.Fatalf("%s, of %s", name, command)
			}
		}
	}
}

func TestOnThisMachine(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]bool{
		"127.0.0.1:5432": true, "[::1]:4222": true, "/var/run/postgresql/.s.PGSQL.5432": true, "10.0.0.7:5432": false,
		"[2001:db8::1]:4222": false,
	} {
		if onThisMachine(addr) != want {
			t.Errorf("%s: %v", addr, !want)
		}
	}
}
