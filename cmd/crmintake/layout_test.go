package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// dependencies are all packages that a package is built from, itself left out.
func dependencies(t *testing.T, pkg string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", pkg).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return slices.DeleteFunc(strings.Fields(string(out)), func(p string) bool { return p == pkg })
}

// The layout that the README draws: who may be built from whom.
func TestLayout(t *testing.T) {
	t.Parallel()
	for pkg, never := range map[string][]string{
		"crmintake/cmd/crmintake":              {"github.com/nats-io/nats-server", "crmintake/worker/hubspot/hubspottest", "crmintake/deploy", "testing"},
		"crmintake/batcher":                    {"crmintake/", "github.com/"},
		"crmintake/worker/plainjson":           {"crmintake/", "github.com/"},
		"crmintake/outbox":                     {"crmintake/", "github.com/nats-io"},
		"crmintake/outbox/operator":            {"crmintake/worker", "crmintake/migrations", "crmintake/deploy", "github.com/nats-io"},
		"crmintake/migrations":                 {"crmintake/", "github.com/nats-io"},
		"crmintake/worker":                     {"crmintake/", "github.com/", "go.opentelemetry.io/", "golang.org/"},
		"crmintake/worker/event":               {"crmintake/outbox", "crmintake/batcher", "crmintake/worker/pipeline", "crmintake/worker/jetstream", "crmintake/worker/hubspot", "github.com/nats-io", "github.com/jackc"},
		"crmintake/worker/pipeline":            {"crmintake/worker/jetstream", "crmintake/worker/hubspot", "crmintake/worker/admin", "crmintake/migrations", "crmintake/deploy", "github.com/nats-io"},
		"crmintake/worker/jetstream":           {"crmintake/outbox", "crmintake/worker/pipeline", "crmintake/worker/hubspot", "crmintake/migrations", "crmintake/deploy", "github.com/nats-io/nats-server"},
		"crmintake/worker/hubspot":             {"crmintake/outbox", "crmintake/worker/pipeline", "crmintake/worker/jetstream", "crmintake/migrations", "crmintake/deploy", "github.com/nats-io"},
		"crmintake/worker/admin":               {"crmintake/", "github.com/nats-io", "github.com/jackc"},
		"crmintake/worker/hubspot/hubspottest": {"crmintake/", "github.com/nats-io", "github.com/jackc"},
	} {
		for _, dependency := range dependencies(t, pkg) {
			for _, n := range never {
				if dependency == n || strings.HasPrefix(dependency, strings.TrimSuffix(n, "/")+"/") {
					t.Errorf("%s is built from %s", pkg, dependency)
				}
			}
		}
	}
}
