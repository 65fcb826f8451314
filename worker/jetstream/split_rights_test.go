package jetstream

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"crmintake/deploy/local"
)

// Where object types can't have consumers of their own, all are delivered as long as the stream has others than what is
// restricted; why is logged once.
func TestRestrictWithoutLanes(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"no work queue": func(c *jetstream.StreamConfig) { c.Retention = jetstream.LimitsPolicy },
		"few consumers": func(c *jetstream.StreamConfig) { c.MaxConsumers = 5 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			c := jetstream.StreamConfig{Name: "CRM_EVENTS", Subjects: []string{"crm.create.>"},
				Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew}
			change(&c)
			if _, err := e.js.CreateStream(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			log := slog.New(slog.NewTextHandler(e.log, nil))
			s := e.init(t, InitConfig{AckWait: time.Hour, Config: Config{Log: log}})
			e.of(t, "contracts", "contracts")
			s.Restrict(map[string]int{"contracts": 0})
			nothingComes(t, s)
			s.Restrict(map[string]int{"contracts": 1})
			brings(t, s, "contracts")
			e.of(t, "deals")
			brings(t, s, "contracts", "deals")
			if n := strings.Count(e.log.String(), "will slow down the others"); n != 1 {
				t.Errorf("told %d times:\n%s", n, e.log)
			}
			if names := e.names(t); len(names) != 1 {
				t.Errorf("consumers %q", names)
			}
		})
	}
}

// What a worker needs of NATS, as deploy/README.md lists it; and what it does without the rights to have consumers of
// its own.
func TestPermissions(t *testing.T) {
	t.Parallel()
	allowed := []string{
		"$JS.API.INFO", "$JS.API.STREAM.INFO.CRM_EVENTS", "$JS.API.CONSUMER.INFO.CRM_EVENTS.crmintake",
		"$JS.API.CONSUMER.MSG.NEXT.CRM_EVENTS.*", "$JS.ACK.CRM_EVENTS.>",
	}
	lanes := []string{"$JS.API.CONSUMER.CREATE.CRM_EVENTS.*.crm.create.>", "$JS.API.CONSUMER.DELETE.CRM_EVENTS.*",
		"$JS.API.CONSUMER.LIST.CRM_EVENTS"}
	for name, publish := range map[string][]string{
		"all": append(slices.Clone(allowed), lanes...), "none for consumers": allowed,
		"only for the shared one": append(slices.Clone(allowed), "$JS.API.CONSUMER.CREATE.CRM_EVENTS.crmintake.>"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnvWith(t, local.NATSConfig{Options: func(o *server.Options) {
				o.Users = []*server.User{{Username: "worker", Password: "secret", Permissions: &server.Permissions{
					Publish:   &server.SubjectPermission{Allow: publish},
					Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
				}}, {Username: "admin", Password: "secret"}}
				o.NoAuthUser = "admin"
			}})
			e.init(t, InitConfig{AckWait: time.Hour})
			log := slog.New(slog.NewTextHandler(e.log, nil))
			nc, err := Connect(strings.Replace(e.server.URL(), "nats://", "nats://worker:secret@", 1), "worker", log)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			s, err := Open(t.Context(), nc, Config{Log: log}) // what is not allowed is not answered
			if err != nil {
				t.Fatal(err)
			}
			e.of(t, "contracts", "deals", "a.b")
			s.Restrict(map[string]int{"contracts": 0})
			if name != "all" {
				ackAll(brings(t, s, "contracts", "deals", "a.b"))
				contains(t, e.log.String(), "a paused object type's backlog will slow down the others")
				return
			}
			ackAll(brings(t, s, "deals", "a.b"))
			settled(t, s, 1, 0)
			s.Restrict(nil)
			ackAll(brings(t, s, "contracts"))
			e.one(t, s)
			if log := e.log.String(); strings.Contains(log, "Permissions") {
				t.Errorf("refused:\n%s", log)
			}
		})
	}
}
