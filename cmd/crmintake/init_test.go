package main

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"crmintake/outbox/outboxtest"
)

func TestInit(t *testing.T) {
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
	database := outboxtest.New(t)
	crmintake(t, "", "init", "--nats-url", "nats://me:secret@127.0.0.1:1", "--database-url", database).
		want(t, 1, "schema    version", "can't connect to NATS at 127.0.0.1:1", "check --nats-url")

	server, js := startNATS(t)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "CRM_EVENTS", Subjects: []string{"other"}}); err != nil {
		t.Fatal(err)
	}
	r := crmintake(t, "", "init", "--nats-url", server.URL(), "--database-url", "postgres://me:secret@127.0.0.1:1/x")
	r.want(t, 1, "stream    CRM_EVENTS  was there", "crm.create.>", "nats stream edit CRM_EVENTS --subjects=other,crm.create.>", "migrations: ")
	if strings.Contains(r.out+r.err, "secret") {
		t.Errorf("a password is shown: %s", r.err)
	}
}

func TestInitUsage(t *testing.T) {
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
