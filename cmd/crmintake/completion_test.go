package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"crmintake/deploy/local"
	"crmintake/outbox/operator"
)

func TestComplete(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line      string // its words, the last being typed
		has, lack []string
	}{
		{"", []string{"run", "outbox", "status"}, []string{"list", "--output", completeWord}},
		{"outb", []string{"outbox"}, []string{"run"}},
		{"outbox ", []string{"get", "list", "tail", "give-up"}, []string{"run"}},
		{"outbox list --st", []string{"--status"}, []string{"--stream", "--limit"}},
		{"status --st", []string{"--stream"}, nil},
		{"outbox list --status ", []string{"dead", "created"}, []string{"get", "--status"}},
		{"outbox list --status d", []string{"dead", "discarded"}, []string{"created"}},
		{"outbox list --status=d", []string{"--status=dead"}, []string{"--status=created"}},
		{"outbox list --status = d", []string{"--status=dead"}, nil},
		{"outbox give-up --status ", []string{"retry", "unknown"}, []string{"dead"}},
		{"--output json ver", []string{"version"}, []string{"run"}},
		{"status --watch --out", []string{"--output"}, nil}, // it needs no value
		{"completion ", []string{"bash", "zsh", "fish"}, nil},
		{"publish fi", nil, []string{"fi"}},
		{"no such command ", nil, nil},
	} {
		r := crmintake(t, "", append([]string{completeWord}, strings.Split(c.line, " ")...)...)
		r.want(t, 0)
		var words []string
		for line := range strings.Lines(r.out) {
			word, _, _ := strings.Cut(line, "\t")
			words = append(words, word)
		}
		for _, w := range c.has {
			if !slices.Contains(words, w) {
				t.Errorf("%q lacks %s: %q", c.line, w, words)
			}
		}
		for _, w := range c.lack {
			if slices.Contains(words, w) {
				t.Errorf("%q has %s", c.line, w)
			}
		}
	}
	crmintake(t, "", "completion", "tcsh").want(t, 2, "bash")
}

// Groups and object types are those of the outbox, where it can be asked.
func TestCompleteWhatTheOutboxKnows(t *testing.T) {
	t.Parallel()
	undecided(t, []string{"c1"}, []string{"d1"})
	crmintake(t, "", "outbox", "give-up", "c1", "--reason", "x", "--yes").want(t, 0)
	var groups operator.Groups
	crmintake(t, "", "dead", "groups", "--output", "json").json(t, &groups)
	group := groups.List[0].Fingerprint
	proposed := func(line string) string {
		t.Helper()
		r := crmintake(t, "", append([]string{completeWord}, strings.Split(line, " ")...)...)
		r.want(t, 0)
		return r.out
	}
	for line, want := range map[string]string{
		"dead list --group ":                      group + "\t1 event contracts exhausted\n",
		"dead list --group=" + group[:3]:          "--group=" + group + "\t1 event contracts exhausted\n",
		"dead list --group " + group + ",":        group + "," + group + "\t1 event contracts exhausted\n",
		"outbox list --object-type ":              "contracts\t\ndeals\t\n",
		"outbox list --object-type d":             "deals\t\n",
		"pause ":                                  "contracts\t\ndeals\t\n",
		"pause --reason x de":                     "deals\t\n",
		"dead list --redact --group f00d0fnobody": "",
	} {
		if got := proposed(line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
	address := getenv(t, "CRMINTAKE_DATABASE_URL")
	setenv(t, "CRMINTAKE_DATABASE_URL", "postgres://127.0.0.1:1/x")
	if got := proposed("pause "); got != "" {
		t.Errorf("without a database: %q", got)
	}
	if got := proposed("resume --database-url " + address + " d"); got != "deals\t\n" {
		t.Errorf("with one on the line: %q", got)
	}
}

// The script in a real bash, with the real program.
func TestCompleteInBash(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	if _, err := local.BuildWorker(t.Context(), bin); err != nil {
		t.Fatal(err)
	}
	for words, want := range map[string]string{
		"crmintake out":                      "outbox",
		"crmintake outbox list --status de":  "dead",
		"crmintake outbox list --status = d": "dead discarded",
		"crmintake outbox list --status =":   "sending created retry unknown dead discarded",
	} {
		script := `source <(crmintake completion bash)
COMP_WORDBREAKS=$' \t\n=:'
COMP_WORDS=(` + words + `); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_crmintake; echo ${COMPREPLY[@]}`
		bash := exec.CommandContext(t.Context(), "bash", "-c", script)
		bash.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		if out, err := bash.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s: %q, %v; want %s", words, out, err, want)
		}
	}
}
