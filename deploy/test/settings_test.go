package test

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

var variable = regexp.MustCompile(`CRMINTAKE_[A-Z]+(_[A-Z]+)*`)

// Every variable that is set, or told of, is one of the program's. The README's table is held against the program by a test of its own.
func TestSettings(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(root + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(readme), "<!-- settings -->")
	table, _, ok := strings.Cut(table, "<!-- /settings -->")
	if !ok {
		t.Fatal("the README has no table of settings")
	}
	known := map[string]bool{}
	for _, name := range variable.FindAllString(table, -1) {
		known[name] = true
	}
	texts := map[string]string{"the chart, rendered": helm(t, "template", "crmintake", chart, "--values", everything)}
	for _, pattern := range []string{"Dockerfile", "compose.yaml", "systemd/*", "runbook.md"} {
		paths, err := fs.Glob(os.DirFS(".."), pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v %v", pattern, paths, err)
		}
		for _, path := range paths {
			content, err := os.ReadFile("../" + path)
			if err != nil {
				t.Fatal(err)
			}
			texts[path] = string(content)
		}
	}
	for where, text := range texts {
		for _, name := range variable.FindAllString(text, -1) {
			if !known[name] {
				t.Errorf("%s: the program knows no %s", where, name)
			}
		}
	}
}
