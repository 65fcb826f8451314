package test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	nats "github.com/cloudevents/sdk-go/protocol/nats_jetstream/v2"
	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
)

// CloudEvents' SDK for Go publishes each event in both modes, and again: each is one record, under one id.
func TestCloudEventsSDK(t *testing.T) {
	t.Parallel()
	program, said, _ := startDemo(t)
	text, err := os.ReadFile(said)
	if err != nil {
		t.Fatal(err)
	}
	env, url := os.Environ(), ""
	for _, v := range regexp.MustCompile(`export '(.+)'`).FindAllStringSubmatch(string(text), -1) {
		env = append(env, v[1])
		if value, ok := strings.CutPrefix(v[1], "CRMINTAKE_NATS_URL="); ok {
			url = value
		}
	}
	command := func(args ...string) ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Env = env
		return cmd.CombinedOutput()
	}
	sender, err := nats.NewSender(url, "CRM_EVENTS", "crm.create.deals", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sender.Close(context.Background()) }()
	client, err := cloudevents.NewClient(sender)
	if err != nil {
		t.Fatal(err)
	}
	send := func(mode context.Context, id string, data any) {
		t.Helper()
		e := cloudevents.NewEvent()
		e.SetID(id)
		e.SetSource("/shop/eu")
		e.SetType("com.example.order.placed")
		e.SetExtension("tenant", "eu")
		if err := e.SetData(cloudevents.ApplicationJSON, data); err != nil {
			t.Fatal(err)
		}
		if err := client.Send(mode, e); cloudevents.IsUndelivered(err) {
			t.Fatal(err)
		}
	}
	structured, binary := binding.WithForceStructured(t.Context()), binding.WithForceBinary(t.Context())
	for _, mode := range []context.Context{structured, binary, structured} {
		send(mode, "sdk/0", map[string]any{"properties": map[string]string{"dealname": "SDK 0"}})
	}
	for _, mode := range []context.Context{binary, structured} {
		send(mode, "sdk-1", map[string]any{"properties": map[string]string{"dealname": "SDK 1"}})
		send(mode, "sdk-2", "no event")
	}
	for id, want := range map[string]string{"/shop/eu/sdk%2F0": "created", "/shop/eu/sdk-1": "created",
		"/shop/eu/sdk-2": "dead invalid_event"} {
		await(t, id+" is "+want, func() error {
			out, err := command("outbox", "get", id, "--output", "json")
			var row struct{ Status, Reason string }
			if err == nil {
				err = json.Unmarshal(out, &row)
			}
			if err != nil || strings.TrimSpace(row.Status+" "+row.Reason) != want {
				return fmt.Errorf("not yet (%v)\n%s", err, out)
			}
			return nil
		})
	}
	if out, err := command("dead", "list", "--output", "json", "--dead-reason", "id_reused"); err != nil ||
		strings.Contains(string(out), "sdk") {
		t.Errorf("a repeat is taken for another event: %v: %s", err, out)
	}
}
