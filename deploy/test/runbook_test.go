package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// rule is one of the alerts.
type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	Annotations map[string]string `json:"annotations"`
}

func rules(t *testing.T) (list []rule) {
	t.Helper()
	content, err := os.ReadFile("../prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []rule `json:"rules"`
		} `json:"groups"`
	}
	if err := yaml.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		list = append(list, g.Rules...)
	}
	if len(list) == 0 {
		t.Fatal("there are no alerts")
	}
	return list
}

func runbook(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile("../runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// Each alert has an entry, each entry its alert, and each alert a test.
func TestRunbookEntries(t *testing.T) {
	var entries, alerts []string
	for _, m := range regexp.MustCompile(`(?m)^## (.+)$`).FindAllStringSubmatch(runbook(t), -1) {
		entries = append(entries, m[1])
	}
	tests, err := os.ReadFile("../prometheus/alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules(t) {
		alerts = append(alerts, r.Alert)
		if want := "deploy/runbook.md#" + strings.ToLower(r.Alert); r.Annotations["runbook"] != want {
			t.Errorf("%s: the runbook's entry is at %q, not %q", r.Alert, want, r.Annotations["runbook"])
		}
		if !regexp.MustCompile(`alertname: ` + r.Alert + `\n\s+exp_alerts:`).Match(tests) {
			t.Errorf("%s: no test sees it fire", r.Alert)
		}
	}
	if !slices.Equal(entries, alerts) {
		t.Errorf("alerts:  %v\nentries: %v", alerts, entries)
	}
}

// The program takes each command of the runbook with its flags.
func TestRunbookCommands(t *testing.T) {
	program(t)
	commands := 0
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(runbook(t), -1) {
		for line := range strings.Lines(strings.ReplaceAll(block[1], "\\\n", "")) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), "   #")
			if !strings.HasPrefix(line, "crmintake ") {
				continue
			}
			commands++
			if said, err := exec.CommandContext(t.Context(), "sh", "-c", line+" --help").CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", line, err, said)
			}
		}
	}
	if commands < 20 {
		t.Errorf("%d commands were found", commands)
	}
}

// program builds the program and puts it first on the path.
func program(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "crmintake"), "./cmd/crmintake")
	cmd.Dir = root
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}
