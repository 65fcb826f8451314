package test

import (
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

var variable = regexp.MustCompile(`CRMINTAKE_[A-Z]+(_[A-Z]+)*`)

// Every variable that is set, or told of, is one of the program's. REFERENCE.md is compared with the program by a test
// of its own.
func TestSettings(t *testing.T) {
	t.Parallel()
	reference, err := os.ReadFile(root + "/cmd/crmintake/REFERENCE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, settings, _ := strings.Cut(string(reference), "<!-- settings -->")
	settings, _, ok := strings.Cut(settings, "<!-- /settings -->")
	if !ok {
		t.Fatal("REFERENCE.md has no settings")
	}
	known := map[string]bool{}
	for _, name := range variable.FindAllString(settings, -1) {
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

// What is typed by hand, as the file of the unit's settings says, finds the files that the unit gives the service. They
// can't be among the settings themselves, which would win over the unit's own.
func TestSettingsByHand(t *testing.T) {
	t.Parallel()
	settings, err := os.ReadFile("../systemd/crmintake.env")
	if err != nil {
		t.Fatal(err)
	}
	unit, err := os.ReadFile("../systemd/crmintake.service")
	if err != nil {
		t.Fatal(err)
	}
	var typed string
	for _, m := range regexp.MustCompile(`(?m)^#   (.+)$`).FindAllStringSubmatch(string(settings), -1) {
		typed += strings.NewReplacer("/etc/crmintake/crmintake.env", "../systemd/crmintake.env", "crmintake check",
			"env").Replace(m[1]) + "\n"
	}
	said, err := exec.CommandContext(t.Context(), "sh", "-c", typed).CombinedOutput()
	if err != nil || !strings.Contains(string(said), "CRMINTAKE_DATABASE_URL=postgres://") {
		t.Fatalf("%s%v\n%s", typed, err, said)
	}
	loaded := regexp.MustCompile(
		`(?m)^LoadCredential=(.+):(.+)\nEnvironment=(CRMINTAKE_\w+)=%d/(.+)$`).FindAllStringSubmatch(string(unit), -1)
	if len(loaded) == 0 {
		t.Fatal("the unit loads nothing")
	}
	for _, m := range loaded {
		if m[1] != m[4] || !strings.Contains(string(said), m[3]+"="+m[2]+"\n") {
			t.Errorf("%s is not %s", m[3], m[2])
		}
		if strings.Contains(string(settings), "\n"+m[3]) {
			t.Errorf("the settings take %s away from the unit", m[3])
		}
	}
}
