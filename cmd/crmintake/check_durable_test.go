package main

import (
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats-server/v2/server"

	"crmintake/deploy/local"
	"crmintake/deploy/local/pgcluster"
)

// monitored starts a NATS server with its HTTP monitoring, in a fleet of our own.
func monitored(t *testing.T, sync func(*server.Options)) (d fixture, monitorURL string) {
	t.Helper()
	d = newFixture(t)
	nats, monitorURL := startMonitored(t, sync)
	setenv(t, "CRMINTAKE_NATS_URL", nats.URL())
	crmintake(t, "", "init").want(t, 0)
	return d, monitorURL
}

func startMonitored(t *testing.T, sync func(*server.Options)) (nats *local.NATS, monitorURL string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	nats, err = local.StartNATS(local.NATSConfig{Options: func(o *server.Options) {
		o.HTTPHost, o.HTTPPort = "127.0.0.1", port
		sync(o)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := nats.Stop(); err != nil {
			t.Error(err)
		}
	})
	return nats, fmt.Sprintf("http://127.0.0.1:%d", port)
}

// A stream with one replica may forget what it confirmed: check says so unless it sees that its server syncs first, and
// a worker logs it once.
func TestCheckStreamDurable(t *testing.T) {
	t.Parallel()
	_, url := monitored(t, func(o *server.Options) { o.SyncAlways = true })
	crmintake(t, "", "check").want(t, 0, "warning  stream", "one replica, and it is not known", "sync_interval: always",
		"--nats-monitor-url")
	if r := crmintake(t, "", "check", "--nats-monitor-url", url+"/"); r.code != 0 || strings.Contains(r.out, "replica") {
		t.Errorf("%d: %s", r.code, r.out)
	}
	r := crmintake(t, "", "run", "--drain")
	r.want(t, 0, `level=WARN msg="stream: CRM_EVENTS has one replica`)
	if n := strings.Count(r.err, "one replica"); n != 1 {
		t.Errorf("told %d times: %s", n, r.err)
	}
	if r := crmintake(t, "", "run", "--drain", "--nats-monitor-url", url); r.code != 0 || strings.Contains(r.err,
		"level=WARN") {
		t.Errorf("%d: %s", r.code, r.err)
	}
	crmintake(t, "", "check", "--nats-monitor-url", "http://127.0.0.1:1").want(t, 0, "does not tell whether")
	for _, wrong := range []string{"127.0.0.1:8222", "nats://127.0.0.1:4222", "http://u:" + secret + "@127.0.0.1:8222",
		"http://"} {
		crmintake(t, "", "run", "--nats-monitor-url", wrong).want(t, 2, "http://127.0.0.1:8222")
		crmintake(t, "", "check", "--nats-monitor-url", wrong).want(t, 1, "http://127.0.0.1:8222")
	}
}

func TestCheckStreamSyncsLate(t *testing.T) {
	t.Parallel()
	_, url := monitored(t, func(o *server.Options) { o.SyncInterval = 10 * time.Second })
	crmintake(t, "", "check", "--nats-monitor-url", url).want(t, 0, "warning  stream", "its server syncs every 10s",
		"sync_interval: always",
		"nats stream edit CRM_EVENTS --replicas=3 --force")
	_, other := monitored(t, func(o *server.Options) { o.ServerName, o.SyncAlways = "other", true })
	crmintake(t, "", "check", "--nats-monitor-url", url).want(t, 0, "at the server other, and --nats-monitor-url is "+
		"that of the server local; give that of other")
	if r := crmintake(t, "", "check", "--nats-monitor-url", other); strings.Contains(r.out, "replica") {
		t.Error(r.out)
	}
}

// A server that forgets commits fails the check, and each start of a worker tells of it once.
func TestCheckDatabaseDurable(t *testing.T) {
	t.Parallel()
	newFixture(t)
	forgetful, err := pgcluster.Start(t.Context(), pgcluster.Config{Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := forgetful.Stop(); err != nil {
			t.Error(err)
		}
	})
	setenv(t, "CRMINTAKE_DATABASE_URL", forgetful.URL("postgres"))
	crmintake(t, "", "migrate", "up").want(t, 0)
	typeSQL(t, `"ALTER SYSTEM SET fsync = off" "ALTER SYSTEM SET full_page_writes = off" "SELECT pg_reload_conf()"`)
	until(t, "check sees that", func() bool {
		return strings.Contains(crmintake(t, "", "check").out,
			"full_page_writes is off")
	})
	r := crmintake(t, "", "check")
	r.want(t, 1, "failure  database", "fsync is off", "full_page_writes is off")
	crmintake(t, "", "run", "--drain").want(t, 0, "database: fsync is off", "database: full_page_writes is off")
	typeSQL(t, r.out)
	until(t, "check sees no failure", func() bool { return crmintake(t, "", "check").code == 0 })
}

// typeSQL does, as a superuser, what a text says to type.
func typeSQL(t *testing.T, text string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), getenv(t, "CRMINTAKE_DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	said := regexp.MustCompile(`"((?:ALTER|SELECT) [^"]*)"`).FindAllStringSubmatch(text, -1)
	if len(said) < 2 {
		t.Fatalf("it says nothing to type: %s", text)
	}
	for _, m := range said {
		if _, err := conn.Exec(t.Context(), m[1]); err != nil {
			t.Errorf("%s: %v", m[1], err)
		}
	}
}

// A standby that no commit waits for is told of, with what a failover would lose; one that commits wait for is not, nor
// is a subscriber.
func TestCheckAsynchronousStandby(t *testing.T) {
	t.Parallel()
	newFixture(t)
	settings := pgcluster.Config{Durable: true, Settings: map[string]string{"wal_level": "logical"}}
	primary, err := pgcluster.Start(t.Context(), settings)
	if err != nil {
		t.Fatal(err)
	}
	stop := func(c *pgcluster.Cluster) {
		t.Cleanup(func() {
			if err := c.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
	stop(primary)
	setenv(t, "CRMINTAKE_DATABASE_URL", primary.URL("postgres"))
	crmintake(t, "", "migrate", "up").want(t, 0)
	if r := crmintake(t, "", "check"); r.code != 0 || strings.Contains(r.out, "standby") {
		t.Errorf("%d: %s", r.code, r.out)
	}
	standby, err := pgcluster.Standby(t.Context(), primary, settings)
	if err != nil {
		t.Fatal(err)
	}
	stop(standby)
	until(t, "check sees the standby", func() bool {
		return strings.Contains(crmintake(t, "", "check").out,
			"1 standby follows it")
	})
	r := crmintake(t, "", "check")
	r.want(t, 0, "warning  database", "no commit waits for it", "crmintake outbox doubt --since")
	crmintake(t, "", "run", "--drain").want(t, 0, "database: 1 standby follows it")
	typeSQL(t, r.out)
	until(t, "check sees that commits wait", func() bool {
		return !strings.Contains(crmintake(t, "", "check").out,
			"standby")
	})
}
