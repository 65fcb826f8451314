package main

import (
	"cmp"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats-server/v2/server"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/outbox/outboxtest"
	"crmintake/worker/hubspot/hubspottest"
)

var update = flag.Bool("update", false, "write into the documents what tests compare with the program")

// REFERENCE.md has the program's commands, and no other.
func TestReferenceCommands(t *testing.T) {
	t.Parallel()
	section(t, "REFERENCE.md", "commands", commands(t))
}

// REFERENCE.md has the program's settings, and no other.
func TestReferenceSettings(t *testing.T) {
	t.Parallel()
	section(t, "REFERENCE.md", "settings", settings(t))
}

// marked is what a document has between the marks of this name, with what stands before and after it, marks included.
func marked(t *testing.T, file, name string) (head, content, tail string) {
	t.Helper()
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->\n"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(b), begin)
	content, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no %q and %q", file, begin, end)
	}
	return head + begin, content, end + tail
}

// section compares a part of a document, between two marks, with what the program has, or writes it there.
func section(t *testing.T, file, name, want string) {
	t.Helper()
	head, have, tail := marked(t, file, name)
	if *update {
		if err := os.WriteFile(file, []byte(head+want+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have != want {
		t.Errorf("%s: the %s are not the program's; go test ./cmd/crmintake -run 'TestReference|TestLayoutPicture' "+
			"-update writes them. Want:\n%s",
			file, name, want)
	}
}

// columns is how wide a line of a document may be.
const columns = 120

// wrap breaks a text into lines of at most 120 columns, each with the indent.
func wrap(text, indent string) string {
	var b strings.Builder
	width := columns
	for _, word := range strings.Fields(text) {
		w := utf8.RuneCountInString(word)
		if width += 1 + w; width > columns {
			b.WriteString("\n" + indent)
			width = len(indent) + w
		} else {
			b.WriteString(" ")
		}
		b.WriteString(word)
	}
	return strings.TrimPrefix(b.String(), "\n") + "\n"
}

// item is an entry of a list in Markdown.
func item(heading, text string) string {
	return "- " + strings.TrimSpace(wrap(heading, "  ")) + "\\\n" + wrap(text, "  ")
}

// model is the program's grammar.
func model(t *testing.T) *kong.Application {
	t.Helper()
	parser, err := kong.New(&cli{}, kong.DefaultEnvars(flags.EnvPrefix))
	if err != nil {
		t.Fatal(err)
	}
	return parser.Model
}

// commands is the list of all commands, with what each is for.
func commands(t *testing.T) string {
	var b strings.Builder
	for _, n := range model(t).Leaves(true) {
		b.WriteString(item("`"+strings.TrimPrefix(n.Path(), "crmintake ")+"`", n.Help))
	}
	return b.String()
}

// settings is the list of all flags, in a section for each set of commands that share them.
func settings(t *testing.T) string {
	program := model(t)
	type row struct {
		flag *kong.Flag
		of   []*kong.Node
	}
	var rows []*row
	var walk func(n *kong.Node)
	walk = func(n *kong.Node) {
		for _, f := range n.Flags {
			if f.Hidden || f.Name == "help" || f.Name == "version" {
				continue
			}
			i := slices.IndexFunc(rows, func(r *row) bool { return r.flag.Name == f.Name && r.flag.Help == f.Help })
			if i < 0 {
				i = len(rows)
				rows = append(rows, &row{flag: f})
			}
			rows[i].of = append(rows[i].of, n)
		}
		for _, c := range n.Children {
			walk(c)
		}
	}
	// run's settings first: most are its own.
	order := []string{"run", "init", "publish", "migrate", "status", "check",
		"outbox", "dead", "replay", "pause", "resume", "audit"}
	slices.SortStableFunc(program.Children, func(a, b *kong.Node) int {
		return slices.Index(order, a.Name) - slices.Index(order, b.Name)
	})
	walk(program.Node)
	var b strings.Builder
	last := ""
	for _, r := range rows {
		if of := whose(program.Node, r.of); of != last {
			b.WriteString("\n" + wrap("Of "+of+":", "") + "\n")
			last = of
		}
		heading := "`--" + r.flag.Name + "`"
		if len(r.flag.Envs) > 0 {
			heading += ", `" + strings.Join(r.flag.Envs, " ") + "`"
		}
		switch {
		case r.flag.Required:
			heading += ", required"
		case r.flag.HasDefault && r.flag.Default != "":
			heading += ", default `" + r.flag.Default + "`"
		case r.flag.IsBool():
			heading += ", default off"
		}
		b.WriteString(item(heading, r.flag.Help))
	}
	return b.String() + "\n"
}

// whose names the commands that have a flag: by their group, where all of the group have it.
func whose(program *kong.Node, have []*kong.Node) string {
	if slices.Contains(have, program) {
		return "all commands"
	}
	var names []string
	for _, n := range program.Children {
		var some []string
		leaves := n.Leaves(true)
		if len(leaves) == 0 {
			leaves = []*kong.Node{n}
		}
		for _, leaf := range leaves {
			if slices.Contains(have, leaf) {
				some = append(some, "`"+strings.TrimPrefix(leaf.Path(), "crmintake ")+"`")
			}
		}
		if len(some) > 1 && len(some) == len(leaves) {
			some = []string{"`" + n.Name + "`"}
		}
		names = append(names, some...)
	}
	return strings.Join(names, ", ")
}

// exported are the settings that the README has one type first.
var exported = regexp.MustCompile(`(?m)^export (CRMINTAKE_.*)$`)

// The README's example settings are such that check finds nothing wrong with them, but for the addresses.
func TestReadmeExampleSettings(t *testing.T) {
	t.Parallel()
	nats, monitorURL := startMonitored(t, func(o *server.Options) { o.SyncAlways = true })
	limit := hubspottest.Limit{Calls: 190, Window: 10 * time.Second}
	crm, err := hubspottest.Start(hubspottest.Config{Token: secret, Limit: limit,
		ObjectTypes: map[string]hubspottest.ObjectType{
			"deals": {Properties: []string{"dealname"}, Unique: []string{"source_event_id"}},
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(crm.Close)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	ours := map[string]string{"CRMINTAKE_NATS_URL": nats.URL(), "CRMINTAKE_NATS_MONITOR_URL": monitorURL,
		"CRMINTAKE_DATABASE_URL": outboxtest.New(t), "CRMINTAKE_HUBSPOT_TOKEN_FILE": token}
	content, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(content), "\n## Connect ")
	section, _, _ = strings.Cut(section, "\n## ")
	said := 0
	for _, line := range exported.FindAllStringSubmatch(section, -1) {
		for _, word := range strings.Fields(line[1]) {
			name, value, _ := strings.Cut(word, "=")
			setenv(t, name, cmp.Or(ours[name], value))
			delete(ours, name)
			said++
		}
	}
	if len(ours) > 0 || said < 5 {
		t.Fatalf("it has %d settings, and lacks %v", said, ours)
	}
	setenv(t, "CRMINTAKE_HUBSPOT_URL", crm.URL)
	crmintake(t, "", "init").want(t, 0)
	r := crmintake(t, "", "check")
	r.want(t, 0)
	if strings.Contains(r.out, "warning") || strings.Contains(r.out, "failure") {
		t.Errorf("check says:\n%s", r.out)
	}
}
