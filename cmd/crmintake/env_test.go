package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox/outboxtest"
)

// A variable that is none of ours is told, with the one that was meant, and nothing is done.
func TestEnvironmentNames(t *testing.T) {
	t.Parallel()
	setenv(t, "CRMINTAKE_DATABASE_URL", outboxtest.New(t))
	for name, want := range map[string]string{
		"CRMINTAKE_QOUTA":                  "did you mean CRMINTAKE_QUOTA?",
		"CRMINTAKE_DATABSE_URL":            "did you mean CRMINTAKE_DATABASE_URL?",
		"CRMINTAKE_HUBSPOT_TOKENFILE":      "did you mean CRMINTAKE_HUBSPOT_TOKEN_FILE?",
		"CRMINTAKE_FROBNICATE":             "'crmintake run --help' names them",
		"CRMINTAKE_YES":                    "--yes is for the command line only",
		"CRMINTAKE_ALL":                    "--all is for the command line only",
		"CRMINTAKE_SERVICE_HOST":           "", // Kubernetes': of a service crmintake, and of one crmintake-web
		"CRMINTAKE_PORT_8080_TCP_ADDR":     "",
		"CRMINTAKE_WEB_SERVICE_PORT_HTTPS": "",
		"CRMINTAKE_TEST_DATABASE_URL":      "",
		"CRMINTAKEX":                       "",
	} {
		t.Run(name, func(t *testing.T) {
			setenv(t, name, "v-"+secret)
			r := crmintake(t, "", "dead", "list")
			if want == "" {
				r.want(t, 0, "No dead events")
			} else {
				r.want(t, 2, name, want, "unset "+name)
			}
			if strings.Contains(r.out+r.err, secret) {
				t.Errorf("it tells the value: %s", r.err)
			}
			crmintake(t, "", "dead", "list", "--help").want(t, 0, "Usage")
		})
	}
}

// A variable that is empty is one that is not given.
func TestEmptyVariables(t *testing.T) {
	t.Parallel()
	setenv(t, "CRMINTAKE_DATABASE_URL", "")
	crmintake(t, "", "dead", "list").want(t, 2, "missing flags: --database-url")
	setenv(t, "CRMINTAKE_LIMIT", "")
	setenv(t, "CRMINTAKE_OUTPUT", "")
	crmintake(t, "", "dead", "list", "--database-url", outboxtest.New(t)).want(t, 0, "No dead events")
}

// forTheLine makes a change bigger, takes the question away, or says which event is changed to what: no variable does
// that.
var forTheLine = []string{"all", "yes", "dead", "allow-duplicate", "set", "unset", "rename", "file", "revision",
	"discard", "version", "help"}

func TestWhatHasAVariable(t *testing.T) {
	t.Parallel()
	parser, err := kong.New(&cli{}, kong.DefaultEnvars(flags.EnvPrefix))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range flags.Of(parser.Model.Node) {
		if slices.Contains(forTheLine, f.Name) != (len(f.Envs) == 0) {
			t.Errorf("--%s has the variables %q", f.Name, f.Envs)
		}
	}
	setenv(t, "CRMINTAKE_DATABASE_URL", outboxtest.New(t))
	crmintake(t, "", "dead", "discard", "--reason", "x").want(t, 2, "say --all")
}

// Each command has an example in its help, and each example is one of that command.
func TestExamples(t *testing.T) {
	t.Parallel()
	var c cli
	parser, err := kong.New(&c, kong.Name("crmintake"))
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, n := range parser.Model.Leaves(false) {
		command := commandOf(n)
		commands = append(commands, command)
		if len(examples[command]) == 0 {
			t.Errorf("%s has no example: see help.go", command)
		}
		help := crmintake(t, "", append(strings.Fields(command), "--help")...)
		help.want(t, 0, "For example:")
		for _, line := range examples[command] {
			if !strings.Contains(help.out, "\n    crmintake "+line+"\n") {
				t.Errorf("the help of %s lacks %s:\n%s", command, line, help.out)
			}
			words, _, _ := strings.Cut(line, " > ")
			args := shellWords(words)
			if takesDatabase(n) {
				args = append(args, "--database-url", "x")
			}
			parsed, err := parser.Parse(args)
			if err != nil || commandOf(parsed.Selected()) != command {
				t.Errorf("%s: %v", line, err)
			}
		}
	}
	for command := range examples {
		if !slices.Contains(commands, command) {
			t.Errorf("there is no command %s", command)
		}
	}
	if help := crmintake(t, "", "run", "--help"); !strings.Contains(view.OneLine(help.out),
		"(default 100/10s, $CRMINTAKE_QUOTA)") {
		t.Errorf("no default: %s", help.out)
	}
}

func takesDatabase(n *kong.Node) bool {
	return slices.ContainsFunc(n.Flags, func(f *kong.Flag) bool { return f.Name == "database-url" })
}

// shellWords knows blanks and single quotes.
func shellWords(line string) (words []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	return words
}

func TestVersionFlag(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--version"}, {"version"}, {"outbox", "list", "--version"}} {
		crmintake(t, "", args...).want(t, 0, "crmintake ", ", go1.")
	}
}
