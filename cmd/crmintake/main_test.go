package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"crmintake/deploy/local"
	"crmintake/outbox/outboxtest"
)

func TestMain(m *testing.M) {
	outboxtest.Syncing() // check has its word about servers that don't
	outboxtest.Main(m)
}

// result is what a run of the program left behind.
type result struct {
	code     int
	out, err string
}

// crmintake runs the program with an input.
func crmintake(t testing.TB, in string, args ...string) result {
	t.Helper()
	return crmintakeFrom(t, t.Context(), strings.NewReader(in), args...)
}

func crmintakeFrom(t testing.TB, ctx context.Context, in io.Reader, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	code := execute(ctx, args, systemIn(t, in, &out, &err))
	return result{code, out.String(), err.String()}
}

// want fails the test unless the program ended with the code and what it printed, out and err, has the parts.
func (r result) want(t testing.TB, code int, parts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	for _, part := range parts {
		if !strings.Contains(r.out+r.err, part) {
			t.Errorf("the output lacks %q", part)
		}
	}
	if t.Failed() {
		t.Logf("out: %s\nerr: %s", r.out, r.err)
	}
}

// json decodes what the program printed.
func (r result) json(t testing.TB, v any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(r.out))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		t.Fatalf("%v\n%s", err, r.out)
	}
	if d.More() {
		t.Errorf("more than one value: %s", r.out)
	}
}

// startNATS runs a NATS server for the test, without any stream.
func startNATS(t testing.TB) (*local.NATS, jetstream.JetStream) {
	t.Helper()
	server, err := local.StartNATS(local.NATSConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	nc, err := nats.Connect(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return server, js
}
