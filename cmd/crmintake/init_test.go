package main

import (
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"crmintake/migrations"
	"crmintake/outbox/outboxtest"
)

func TestInit(t *testing.T) {
	t.Parallel()
	server, js := startNATS(t)
	database := outboxtest.New(t)
	args := []string{"init", "--nats-url", server.URL(), "--database-url", database, "--ack-wait", "30s"}

	crmintake(t, "", args...).want(t, 0,
		"stream    CRM_EVENTS  created\n", "consumer  crmintake  created\n", "schema    version ", "was there")
	consumer, err := js.Consumer(t.Context(), "CRM_EVENTS", "crmintake")
	if err != nil {
		t.Fatal(err)
	}
	if wait := consumer.CachedInfo().Config.AckWait; wait.String() != "30s" {
		t.Errorf("ack wait %v", wait)
	}

	again := crmintake(t, "", append(args, "--output", "json")...)
	again.want(t, 0)
	var report initReport
	again.json(t, &report)
	if report.Stream.Created || report.Consumer.Created || len(report.Schema.Applied) != 0 || report.Schema.Version == 0 {
		t.Errorf("the second time: %s", again.out)
	}
	if notes := append(report.Stream.Notes, report.Consumer.Notes...); len(notes) > 0 {
		t.Errorf("of its own work it says: %q", notes)
	}
}

// What is wrong with one part does not keep the others from being created.
func TestInitGetsAsFarAsItCan(t *testing.T) {
	t.Parallel()
	database := outboxtest.New(t)
	crmintake(t, "", "init", "--nats-url", "nats://me:secret@127.0.0.1:1", "--database-url", database).
		want(t, 1, "schema    version", "can't connect to NATS at 127.0.0.1:1", "check --nats-url")

	server, js := startNATS(t)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "CRM_EVENTS",
		Subjects: []string{"other"}}); err != nil {
		t.Fatal(err)
	}
	r := crmintake(t, "", "init", "--nats-url", server.URL(), "--database-url", "postgres://me:secret@127.0.0.1:1/x")
	r.want(t, 1, "stream    CRM_EVENTS  was there", "crm.create.>",
		"nats stream edit CRM_EVENTS --subjects=\"other,crm.create.>\" --force", "migrations: ")
	if strings.Contains(r.out+r.err, "secret") {
		t.Errorf("a password is shown: %s", r.err)
	}
}

func TestInitUsage(t *testing.T) {
	t.Parallel()
	for flag, value := range map[string]string{
		"--replicas": "6",
		"--ack-wait": "10ms",
		"--subject":  "crm.create.contacts",
		"--stream":   "a.b",
		"--consumer": "a b",
		"--nats-url": "http://me:secret@host",
	} {
		r := crmintake(t, "", "init", "--database-url", "postgres://127.0.0.1:1/x", flag, value)
		r.want(t, 2)
		if strings.Contains(r.err, "secret") {
			t.Errorf("a password is shown: %s", r.err)
		}
	}
	crmintake(t, "", "init").want(t, 2, "--database-url")
}

// Of what it could not make nothing is said to be there, and JetStream that is off is told as that, with what to type.
func TestInitTellsWhatIsNotThere(t *testing.T) {
	t.Parallel()
	off, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	off.Start()
	t.Cleanup(func() {
		off.Shutdown()
		off.WaitForShutdown()
	})
	if !off.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	args := []string{"init", "--nats-url", off.ClientURL(), "--database-url", "postgres://127.0.0.1:1/x"}
	r := crmintake(t, "", args...)
	r.want(t, 1, "stream    CRM_EVENTS  not made", "consumer  crmintake  not made", "schema    not made",
		"start nats-server with -js", "migrations: ")
	if strings.Contains(r.out, "was there") {
		t.Errorf("it says what it can't know: %s", r.out)
	}
	var report initReport
	crmintake(t, "", append(args, "--output", "json")...).json(t, &report)
	if report != (initReport{}) {
		t.Errorf("%+v", report)
	}
	for _, command := range []string{"publish --object-type deals -", "status --database-url postgres://127.0.0.1:1/x"} {
		crmintake(t, "", append(strings.Fields(command), "--nats-url", off.ClientURL())...).want(t, 1,
			"start nats-server with -js")
	}

	// The stream is made, and its consumer is not.
	nats, js := startNATS(t)
	s, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "CRM_EVENTS", Subjects: []string{"crm.create.>"},
		Retention: jetstream.WorkQueuePolicy})
	if err == nil {
		_, err = s.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "other"})
	}
	if err != nil {
		t.Fatal(err)
	}
	crmintake(t, "", "init", "--nats-url", nats.URL(), "--database-url", outboxtest.New(t)).
		want(t, 1, "stream    CRM_EVENTS  was there", "consumer  crmintake  not made", "create the consumer crmintake")
}

// Of several at once, one says that it applied a migration.
func TestInitAtOnce(t *testing.T) {
	t.Parallel()
	server, _ := startNATS(t)
	database := outboxtest.New(t)
	if err := migrations.DownTo(t.Context(), database, 0); err != nil {
		t.Fatal(err)
	}
	applied := make(chan int, 4)
	var all sync.WaitGroup
	for range cap(applied) {
		all.Go(func() {
			var report initReport
			r := crmintake(t, "", "init", "--nats-url", server.URL(), "--database-url", database, "--output", "json")
			r.want(t, 0)
			r.json(t, &report)
			applied <- len(report.Schema.Applied)
		})
	}
	all.Wait()
	total := 0
	for range cap(applied) {
		total += <-applied
	}
	if total != 1 {
		t.Errorf("%d migrations were applied, they say", total)
	}
}
