package main

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"crmintake/migrations"
	"crmintake/outbox/outboxtest"
)

// Each role can do its own work, by the commands that are it, and no other's. (What it may not do by SQL is tested with
// the rights.)
func TestRoles(t *testing.T) {
	t.Parallel()
	server, _ := startNATS(t)
	crm := account(t)
	owner := outboxtest.Cluster(t).URL("postgres") // roles are a server's
	for name, value := range map[string]string{
		"NATS_URL": server.URL(), "HUBSPOT_URL": crm.URL, "HUBSPOT_TOKEN": secret, "ID_PROPERTY": "contracts=event_id",
		"BATCH_WAIT": "50ms", "AS": "ann",
	} {
		setenv(t, "CRMINTAKE_"+name, value)
	}
	crmintake(t, "", "init", "--database-url", owner, "--roles").want(t, 0,
		"crmintake_worker, crmintake_operator, crmintake_reader are up to date")
	crmintake(t, "", "migrate", "up", "--database-url", owner, "--roles").want(t, 0, "are up to date")
	login := func(role string) string {
		fixture{database: owner}.exec(t, `CREATE ROLE `+role+`_login LOGIN PASSWORD 'x' IN ROLE `+role)
		return with(t, owner, func(u *url.URL) { u.User = url.UserPassword(role+"_login", "x") })
	}
	worker, operator, reader := login(migrations.WorkerRole), login(migrations.OperatorRole), login(migrations.ReaderRole)
	by := func(address, command string) result {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience) // a worker that lacks a right tries for ever
		defer cancel()
		return crmintakeFrom(t, ctx, strings.NewReader(""), append(strings.Fields(command), "--database-url", address)...)
	}
	work := func(flags string) result {
		t.Helper()
		r := by(worker, "run --drain --log-level debug "+flags)
		if strings.Contains(r.err, "permission denied") {
			t.Fatalf("a worker lacks a right: %s", r.err)
		}
		return r
	}

	// A worker, with all that happens to events, an edited one that is replayed as a job, and retention.
	crmintake(t, markedEvents, "publish", "--object-type", "contracts", "--id-field", "event_id", "-").want(t, 0)
	work("").want(t, 0, "created=1", "dead=1")
	by(worker, "check").want(t, 0)
	// What the runbook has typed in a worker's pod it may do; for what a person does and did, it says, another login is
	// wanted.
	for _, command := range []string{"status", "outbox list", "outbox get bad", "dead groups", "dead list",
		"dead export", "migrate status"} {
		by(worker, command).want(t, 0)
	}
	for _, command := range []string{"dead show bad", "replay list", "replay show 1", "replay pause 1", "audit"} {
		by(worker, command).want(t, 1, "permission denied")
	}
	by(reader, "check").want(t, 1, "the role lacks", "crmintake_worker")

	for _, command := range []string{"status", "outbox list", "outbox get bad", "dead groups", "dead list",
		"dead show bad", "dead export", "replay list", "audit", "migrate status"} {
		by(reader, command).want(t, 0)
		by(operator, command).want(t, 0)
	}
	for _, command := range []string{
		"dead edit --all --rename properties.nmae=properties.name --yes", "dead replay --all --yes",
		"dead discard --all --reason x --yes",
		"pause contracts --reason x", "resume contracts", "dead restore bad --yes", "outbox retry-now --all --yes",
	} {
		if command == "resume contracts" { // there is something to end
			by(operator, "pause contracts --reason x").want(t, 0)
		}
		if command == "outbox retry-now --all --yes" { // there is something to hurry
			fixture{database: owner}.exec(t, `UPDATE event SET status = 'retry',
  dead_at = NULL, reason = NULL, fingerprint = NULL,
				next_attempt_at = now() + interval '1 hour' WHERE event_id = 'bad'`)
		}
		if command == "dead restore bad --yes" {
			by(operator, "dead discard bad --reason x --yes").want(t, 0, "Done to 1 event")
		}
		by(reader, command).want(t, 1, "permission denied")
		by(worker, command).want(t, 1, "permission denied")
		if command == "dead restore bad --yes" {
			by(operator, command).want(t, 0, "Done to 1 event")
		}
	}
	by(worker, "outbox tail").want(t, 1, "permission denied")
	by(operator, "outbox retry-now --all --yes").want(t, 0, "Done to 1 event")
	fixture{database: owner}.exec(t, `UPDATE event SET status = 'dead',
  dead_at = now(), reason = 'rejected', fingerprint = 'f',
		next_attempt_at = NULL WHERE event_id = 'bad'`)
	by(operator, "resume contracts").want(t, 0)
	for _, address := range []string{reader, operator} {
		by(address, "run --drain").want(t, 1, "the role lacks INSERT on event", "migrate up --roles")
	}

	by(operator, "dead edit --all --rename properties.nmae=properties.name --yes").want(t, 0, "Done to 1 event")
	by(operator, "dead replay --all --yes --rate 10 --detach").want(t, 0, "Replay 1 is started")
	for _, command := range []string{"replay pause 1", "replay resume 1"} {
		by(operator, command).want(t, 0)
	}
	work("--keep-created 1ms").want(t, 0, "created=1")
	crmintake(t, `{"properties":{"nmae":"x","event_id":"worse"}}`, "publish", "--object-type", "contracts",
		"--id-field", "event_id", "-").want(t, 0)
	work("--breaker 10%/1 --trial-interval 1s").want(t, 0)
	by(operator, "resume contracts").want(t, 0)
	by(operator, "dead replay --all --yes").want(t, 0)
	for _, address := range []string{reader, worker} {
		by(address, "outbox give-up --all --reason x --yes").want(t, 1, "permission denied")
	}
	by(operator, "outbox give-up --all --reason x --yes").want(t, 0, "Done to 1 event")
	by(operator, "dead replay --all --yes").want(t, 0)
	work("").want(t, 0, "dead=1")
	by(operator, "dead discard --all --reason x --yes").want(t, 0, "Done to 1 event")
	by(operator, "dead replay worse --yes --rate 1 --detach").want(t, 0)
	by(operator, "audit").want(t, 0, "discard")
	for _, address := range []string{operator, reader} {
		out, log, stop := running(t, "outbox", "tail", "--database-url", address)
		until(t, "it follows", func() bool { return strings.Contains(log.String(), "following") })
		if code := stop(); code != 0 {
			t.Errorf("exit code %d: %s%s", code, out, log)
		}
	}
}
