package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"crmintake/deploy/local"
	"crmintake/outbox/outboxtest"
	"crmintake/worker/hubspot/hubspottest"
)

// The walk-through of outbox/operator/README.md, as it stands there: each command is typed into a shell, and prints
// what is shown there.
func TestWalkThrough(t *testing.T) {
	t.Parallel()
	server, _ := startNATS(t)
	crm, err := hubspottest.Start(hubspottest.Config{Token: secret, ObjectTypes: map[string]hubspottest.ObjectType{
		"deals": {Properties: []string{"dealname", "dealstage"}, Counted: []string{"dealname", "dealstage"},
			Unique: []string{"source_event_id"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(crm.Close)
	dir := t.TempDir()
	built, err := local.BuildWorker(t.Context(), dir)
	if err == nil && filepath.Base(built) != "crmintake" {
		err = os.Rename(built, filepath.Join(dir, "crmintake"))
	}
	if err != nil {
		t.Fatal(err)
	}
	env := slices.DeleteFunc(environmentIn(t).List(), func(v string) bool { return strings.HasPrefix(v, "CRMINTAKE_") })
	env = append(env, "PATH="+dir+":"+getenv(t, "PATH"), "USER=anna",
		"CRMINTAKE_NATS_URL="+server.URL(), "CRMINTAKE_DATABASE_URL="+outboxtest.New(t), "CRMINTAKE_HUBSPOT_URL="+crm.URL,
		"CRMINTAKE_HUBSPOT_TOKEN="+secret, "CRMINTAKE_ADMIN_ADDR=127.0.0.1:0", "CRMINTAKE_ID_PROPERTY=deals=source_event_id",
		"CRMINTAKE_AS=anna")
	shell := func(command string) (out string, err error) {
		c := exec.CommandContext(t.Context(), "sh", "-c", command)
		c.Dir, c.Env = dir, env
		b, err := c.CombinedOutput()
		return string(b), err
	}
	if out, err := shell("crmintake init"); err != nil {
		t.Fatal(err, out)
	}
	var log bytes.Buffer
	worker, err := local.StartProcess(t.Context(), local.ProcessConfig{Path: filepath.Join(dir, "crmintake"),
		Args: []string{"run", "--breaker", "50%/5000"}, Env: env, Stderr: &log})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = worker.Kill()
		_ = worker.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	}()

	for _, step := range walkThrough(t) {
		// A person looks again where it is the worker's turn; what changes something is typed once.
		looks := regexp.MustCompile(`^crmintake (dead (groups|list|show)|replay show) `).MatchString(step.command + " ")
		for limit := time.Now().Add(time.Minute); ; {
			out, err := shell(step.command)
			if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if err == nil && step.shows(out) {
				break
			}
			if !looks || time.Now().After(limit) {
				t.Fatalf("$ %s\n%s%v\nwant:\n%s", step.command, out, err, strings.Join(step.prints, "\n"))
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-t.Context().Done():
			}
		}
	}

	names := crm.Count("deals", "dealname")
	for n := range 500 {
		if name := fmt.Sprintf("Order %d", n+1); names[name] != 1 {
			t.Errorf("%s has %d records, want 1", name, names[name])
		}
	}
	if len(names) != 500 {
		t.Errorf("%d records, want 500", len(names))
	}
	if won := crm.Count("deals", "dealstage")["closedwon"]; won != 500 {
		t.Errorf("%d records are won, want 500", won)
	}
}

// walkStep is a command and what it prints.
type walkStep struct {
	command string
	prints  []string
}

// shows is whether the output is what the document shows: its lines in their order, where … stands for anything.
func (s walkStep) shows(out string) bool {
	var lines []string
	for _, line := range s.prints {
		lines = append(lines, strings.ReplaceAll(regexp.QuoteMeta(strings.TrimRight(line, " ")), "…", ".*"))
	}
	var have []string
	for line := range strings.Lines(out) {
		have = append(have, strings.TrimRight(line, " \n"))
	}
	return regexp.MustCompile(`^` + strings.Join(lines, "\n") + `\n*$`).MatchString(strings.Join(have, "\n"))
}

// walkThrough reads it from its document. A line that begins with "> " goes on with the command above it.
func walkThrough(t *testing.T) (steps []walkStep) {
	t.Helper()
	_, text, _ := marked(t, "../../outbox/operator/README.md", "walk-through")
	code := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "```"):
			code = !code
		case !code:
		case strings.HasPrefix(line, "$ "):
			steps = append(steps, walkStep{command: line[2:]})
		case strings.HasPrefix(line, "> ") && len(steps) > 0:
			steps[len(steps)-1].command += "\n" + line[2:]
		case len(steps) > 0:
			s := &steps[len(steps)-1]
			s.prints = append(s.prints, line)
		}
	}
	if len(steps) < 6 {
		t.Fatalf("%d steps", len(steps))
	}
	return steps
}
