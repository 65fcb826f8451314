package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats-server/v2/server"

	"crmintake/outbox/outboxtest"
	"crmintake/worker/hubspot/hubspottest"
)

var update = flag.Bool("update", false, "write the settings into the README")

// The README's table of settings is the program's.
func TestReadmeSettings(t *testing.T) {
	t.Parallel()
	section(t, "settings", settings(t))
}

// section compares a part of the README, between two marks, with what it is to be, or writes it there.
func section(t *testing.T, name, want string) {
	t.Helper()
	const file = "../../README.md"
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->\n"
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(content), begin)
	have, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no %q and %q", file, begin, end)
	}
	if *update {
		if err := os.WriteFile(file, []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have != want {
		t.Errorf("the README's %s are not the program's; go test ./cmd/crmintake -run TestReadme -update writes them. Want:\n%s", name, want)
	}
}

// settings is the table: each flag of each command once, with the commands that have it.
func settings(t *testing.T) string {
	parser, err := kong.New(&cli{}, kong.DefaultEnvars(envPrefix))
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		flag     *kong.Flag
		commands []string
	}
	var rows []*row
	add := func(f *kong.Flag, command string) {
		if f.Hidden || f.Name == "help" || f.Name == "version" {
			return
		}
		i := slices.IndexFunc(rows, func(r *row) bool { return r.flag.Name == f.Name && r.flag.Help == f.Help })
		if i < 0 {
			i = len(rows)
			rows = append(rows, &row{flag: f})
		}
		rows[i].commands = append(rows[i].commands, command)
	}
	for _, f := range parser.Model.Flags {
		add(f, "all")
	}
	var walk func(n *kong.Node)
	walk = func(n *kong.Node) {
		for _, f := range n.Flags {
			add(f, strings.TrimPrefix(n.Path(), "crmintake "))
		}
		for _, c := range n.Children {
			walk(c)
		}
	}
	for _, command := range []string{"run", "init", "publish", "migrate", "status", "check", "outbox", "dead", "replay", "pause", "resume", "audit"} { // run's settings first: most are its own
		for _, n := range parser.Model.Children {
			if n.Name == command {
				walk(n)
			}
		}
	}
	var b strings.Builder
	b.WriteString("| flag | environment | default | commands | meaning |\n|---|---|---|---|---|\n")
	for _, r := range rows {
		standard := "none"
		switch {
		case r.flag.Required:
			standard = "required"
		case r.flag.HasDefault && r.flag.Default != "":
			standard = "`" + r.flag.Default + "`"
		case r.flag.IsBool():
			standard = "off"
		}
		variable := "none"
		if len(r.flag.Envs) > 0 {
			variable = "`" + strings.Join(r.flag.Envs, " ") + "`"
		}
		fmt.Fprintf(&b, "| `--%s` | %s | %s | %s | %s |\n", r.flag.Name, variable, standard,
			strings.Join(r.commands, ", "), strings.ReplaceAll(r.flag.Help, "|", "\\|"))
	}
	return b.String()
}

// exported are the settings that the README has one type first.
var exported = regexp.MustCompile(`(?m)^export (CRMINTAKE_.*)$`)

// The README's example settings are such that check finds nothing wrong with them, but for the addresses.
func TestReadmeExampleSettings(t *testing.T) {
	t.Parallel()
	nats, monitorURL := startMonitored(t, func(o *server.Options) { o.SyncAlways = true })
	limit := hubspottest.Limit{Calls: 190, Window: 10 * time.Second}
	crm, err := hubspottest.Start(hubspottest.Config{Token: secret, Limit: limit, ObjectTypes: map[string]hubspottest.ObjectType{
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
