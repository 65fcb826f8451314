package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// list is what go list prints of our packages by a format, a line for each, whose first word is the package.
func list(t *testing.T, format string) map[string][]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", format, "crmintake/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		if words := strings.Fields(line); len(words) > 0 {
			all[words[0]] = words[1:]
		}
	}
	return all
}

// dependencies are, of each package, all that it is built from, however far away, its own internal ones left out.
func dependencies(t *testing.T) map[string][]string {
	t.Helper()
	all := list(t, `{{.ImportPath}} {{join .Deps " "}}`)
	for pkg, built := range all {
		all[pkg] = slices.DeleteFunc(built, func(p string) bool { return strings.HasPrefix(p, pkg+"/internal/") })
	}
	return all
}

// What a package must never be built from, however far away.
func TestLayout(t *testing.T) {
	t.Parallel()
	all := dependencies(t)
	for pkg, never := range map[string][]string{
		"crmintake/cmd/crmintake": {"github.com/nats-io/nats-server",
			"crmintake/worker/hubspot/hubspottest", "crmintake/deploy", "testing"},
		"crmintake/batcher":          {"crmintake/", "github.com/"},
		"crmintake/worker/plainjson": {"crmintake/", "github.com/"},
		"crmintake/outbox":           {"crmintake/", "github.com/nats-io"},
		"crmintake/outbox/operator": {"crmintake/worker", "crmintake/migrations", "crmintake/deploy",
			"github.com/nats-io"},
		"crmintake/migrations": {"crmintake/", "github.com/nats-io"},
		"crmintake/worker":     {"crmintake/", "github.com/", "go.opentelemetry.io/", "golang.org/"},
		"crmintake/worker/event": {"crmintake/outbox", "crmintake/batcher", "crmintake/worker/pipeline",
			"crmintake/worker/jetstream", "crmintake/worker/hubspot", "github.com/nats-io", "github.com/jackc"},
		"crmintake/worker/pipeline": {"crmintake/worker/jetstream", "crmintake/worker/hubspot",
			"crmintake/worker/admin", "crmintake/migrations", "crmintake/deploy", "github.com/nats-io"},
		"crmintake/worker/fleet": {"crmintake/worker/pipeline", "crmintake/worker/jetstream",
			"crmintake/worker/hubspot", "crmintake/migrations", "crmintake/deploy", "github.com/nats-io"},
		"crmintake/worker/jetstream": {"crmintake/outbox", "crmintake/worker/pipeline",
			"crmintake/worker/hubspot", "crmintake/migrations", "crmintake/deploy", "github.com/nats-io/nats-server"},
		"crmintake/worker/hubspot": {"crmintake/outbox", "crmintake/worker/pipeline",
			"crmintake/worker/jetstream", "crmintake/migrations", "crmintake/deploy", "github.com/nats-io"},
		"crmintake/worker/admin":               {"crmintake/", "github.com/nats-io", "github.com/jackc"},
		"crmintake/worker/hubspot/hubspottest": {"crmintake/", "github.com/nats-io", "github.com/jackc"},
	} {
		if len(all[pkg]) == 0 {
			t.Errorf("there is no %s", pkg)
		}
		for _, dependency := range all[pkg] {
			for _, n := range never {
				if dependency == n || strings.HasPrefix(dependency, strings.TrimSuffix(n, "/")+"/") {
					t.Errorf("%s is built from %s", pkg, dependency)
				}
			}
		}
	}
}

// These stand on the standard library alone.
func TestLayoutStandardLibrary(t *testing.T) {
	t.Parallel()
	all := dependencies(t)
	for _, pkg := range []string{"crmintake/worker", "crmintake/batcher", "crmintake/worker/plainjson"} {
		if len(all[pkg]) == 0 {
			t.Errorf("there is no %s", pkg)
		}
		for _, dependency := range all[pkg] {
			if top, _, _ := strings.Cut(dependency, "/"); top == "crmintake" || strings.Contains(top, ".") {
				t.Errorf("%s is built from %s", pkg, dependency)
			}
		}
	}
}

// mostOfOurs is how many of our packages one may import. Commands, which wire all together, are free.
const mostOfOurs = 6

// imports are our packages that have code, with those of ours that each imports. A package's own internal ones are
// parts of it, and left out.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	internal := func(p string) bool { return slices.Contains(strings.Split(p, "/"), "internal") }
	all := map[string][]string{}
	for pkg, imported := range list(t, `{{if .GoFiles}}{{.ImportPath}} {{join .Imports " "}}{{end}}`) {
		if internal(pkg) {
			continue
		}
		ours := []string{}
		for _, p := range imported {
			if p, ok := strings.CutPrefix(p, "crmintake/"); ok && !internal(p) {
				ours = append(ours, p)
			}
		}
		all[strings.TrimPrefix(pkg, "crmintake/")] = ours
	}
	return all
}

// The README's picture has each package, and beside it what it imports. Only what it says may be imported.
// Left out are the parts of the test bench, deploy/local/…; an arrow to … stands for any.
func TestLayoutPicture(t *testing.T) {
	t.Parallel()
	const file, name = "../../README.md", "packages"
	code := imports(t)
	for p, ours := range code {
		if !strings.HasPrefix(p, "cmd/") && len(ours) > mostOfOurs {
			t.Errorf("%s imports %d packages of ours, more than %d: %v", p, len(ours), mostOfOurs, ours)
		}
	}
	_, have, _ := marked(t, file, name)
	var b strings.Builder
	b.WriteString("```\n")
	for _, m := range regexp.MustCompile(`(?m)^([a-z/]+) +(\S.*?)(?: +→.*)?$`).FindAllStringSubmatch(have, -1) {
		p, what := m[1], m[2]
		ours, ok := code[p]
		if !ok {
			t.Errorf("there is no package %s", p)
			continue
		}
		delete(code, p)
		arrow := ""
		switch {
		case strings.HasPrefix(p, "cmd/"):
			arrow = "→ …"
		case len(ours) > 0:
			arrow = "→ " + strings.Join(ours, ", ")
		}
		const indent = 68 // where arrows begin
		arrow = strings.TrimSpace(wrap(arrow, strings.Repeat(" ", indent+2)))
		b.WriteString(strings.TrimRight(fmt.Sprintf("%-27s%-41s%s", p, what, arrow), " ") + "\n")
	}
	b.WriteString("```\n")
	for p := range code {
		if !strings.HasPrefix(p, "deploy/local/") {
			t.Errorf("the README has no package %s: add a line with what it is for", p)
		}
	}
	section(t, file, name, b.String())
}
