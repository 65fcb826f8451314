package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/jackc/pgx/v5"

	"crmintake/cmd/crmintake/internal/flags"
)

// slots are the flags that hold a secret, or name a file with one. Each of them is in some form of marker_rig_test.go.
var slots = []string{
	"database-url", "database-password-file", "nats-url", "nats-password", "nats-password-file", "nats-token",
	"nats-token-file",
	"nats-nkey-file", "nats-creds-file", "nats-key-file", "hubspot-token", "hubspot-token-file", "hubspot-client-secret",
	"hubspot-client-secret-file", "hubspot-refresh-token", "hubspot-refresh-token-file", "admin-token-file", "admin-key",
}

// public are flags that sound like secrets and hold none.
var public = []string{"hubspot-url", "nats-monitor-url", "hubspot-client-id", "nats-user", "nats-ca-file",
	"nats-cert-file", "admin-addr", "admin-cert", "admin-client-ca"}

var soundsSecret = regexp.MustCompile(`(?i)token|secret|passw|credential|creds|seed|private|\burl\b|\bkey\b`)

// Whoever adds a flag for a secret has it marked, too; whoever adds a command has it run.
func TestEverySecretIsMarked(t *testing.T) {
	t.Parallel()
	parser, err := kong.New(&cli{}, kong.DefaultEnvars(flags.EnvPrefix))
	if err != nil {
		t.Fatal(err)
	}
	var flags []*kong.Flag
	var commands []string
	var walk func(n *kong.Node)
	walk = func(n *kong.Node) {
		flags = append(flags, n.Flags...)
		if len(n.Children) == 0 {
			commands = append(commands, strings.TrimPrefix(n.Path(), "crmintake "))
		}
		for _, c := range n.Children {
			walk(c)
		}
	}
	walk(parser.Model.Node)
	var names []string
	for _, f := range flags {
		names = append(names, f.Name)
		if soundsSecret.MatchString(f.Name+" "+f.Help) && !slices.Contains(slots, f.Name) && !slices.Contains(public,
			f.Name) {
			t.Errorf("--%s sounds like a secret: put it into slots, and into a form, or say that it is public", f.Name)
		}
	}
	for _, slot := range slots {
		if !slices.Contains(names, slot) {
			t.Errorf("there is no --%s", slot)
		}
	}
	for _, command := range commands {
		if !slices.ContainsFunc(marches, func(m march) bool { return m.path() == command }) {
			t.Errorf("%s is not run with marked secrets: put it into marches", command)
		}
	}
}

// march is a command that is run with marked secrets. Those that need more than the database come first of all.
type march struct {
	args string
	in   string
	// The parts that it connects to.
	database, nats, crm bool
}

// path is the command without its arguments.
func (m march) path() string {
	words := strings.Fields(m.args)
	for i, w := range words {
		if strings.HasPrefix(w, "-") || w == "bad" || w == "1" || w == "contracts" || w == "bash" {
			return strings.Join(words[:i], " ")
		}
	}
	return m.args
}

const markedEvents = `{"properties":{"name":"x","event_id":"good"}}
{"properties":{"nmae":"x","event_id":"bad"}}
`

// marches are in an order in which each has something to do.
var marches = []march{
	{args: "version"},
	{args: "completion bash"},
	{args: "init", database: true, nats: true},
	{args: "publish --object-type contracts --id-field event_id -", in: markedEvents, nats: true},
	{args: "run --drain --settle 1s", database: true, nats: true, crm: true},
	{args: "check", database: true, nats: true, crm: true},
	{args: "status", database: true, nats: true},
	{args: "migrate up", database: true},
	{args: "migrate status", database: true},
	{args: "outbox get bad", database: true},
	{args: "outbox list", database: true},
	{args: "outbox tail", database: true},
	{args: "dead groups", database: true},
	{args: "dead list", database: true},
	{args: "dead show bad", database: true},
	{args: "dead export", database: true},
	{args: "dead edit --all --rename properties.nmae=properties.name --yes", database: true},
	{args: "dead replay --all --yes --rate 0.001 --detach", database: true},
	{args: "replay list", database: true},
	{args: "replay show 1", database: true},
	{args: "replay pause 1", database: true},
	{args: "replay resume 1", database: true},
	{args: "replay cancel 1", database: true},
	{args: "dead discard --all --reason enough --yes", database: true},
	{args: "outbox doubt --since 1h --reason enough --yes", database: true},
	{args: "dead restore bad --yes", database: true},
	{args: "outbox retry-now --all --yes", database: true},
	{args: "outbox give-up --all --reason enough --yes", database: true},
	{args: "pause contracts --reason enough", database: true},
	{args: "resume contracts", database: true},
	{args: "audit", database: true},
}

// What ends a command that would wait: it waits, follows, or meets what it was to meet.
var enough = []string{"is not there; waiting", "following", "calls are paused", "no answer", "nothing was sent"}

// No secret is in anything that the program prints or logs, whatever it is given in, whichever command runs, and
// whether the servers work, refuse it, or are not there.
func TestNoSecretIsTold(t *testing.T) {
	t.Parallel()
	forms := newForms(t)
	for _, slot := range slots {
		variable := flags.EnvPrefix + "_" + strings.ToUpper(strings.ReplaceAll(slot, "-", "_"))
		if !slices.ContainsFunc(forms, func(f form) bool { return f.env[variable] != "" }) {
			t.Errorf("no form has --%s", slot)
		}
	}
	for n, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			for name, value := range f.env {
				setenv(t, name, value)
			}
			for w, world := range f.worlds() {
				t.Run(world.name, func(t *testing.T) {
					for name, value := range world.env {
						setenv(t, name, value)
					}
					if world.part == "crm" { // there is something to call it for
						crmintake(t, `{"properties":{"name":"x"}}`, "publish", "--object-type", "contracts", "-").want(t, 0)
					}
					for i, m := range marches {
						// How the database is given has two forms, and what needs nothing but it is run with both of
						// them.
						if !world.touches(m) || n > 1 && !m.nats && !m.crm {
							continue
						}
						f.march(t, m, world, []string{"text", "json"}[(n+w+i)%2])
					}
					if world.works && n <= 1 {
						f.scrape(t)
					}
				})
			}
			f.searchTables(t)
		})
	}
}

func (f form) march(t *testing.T, m march, w world, format string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out := &untilTold{words: enough, do: cancel}
	args := append(strings.Fields(m.args), "--log-level", "debug", "--log-format", format, "--output", format)
	code := execute(ctx, args, systemIn(t, strings.NewReader(m.in), out, out))
	if ctx.Err() == context.DeadlineExceeded {
		t.Errorf("%s does not end: %s", m.args, out)
	}
	if waits := strings.HasPrefix(m.args, "run") || m.args == "outbox tail"; !waits && (code == 0) != w.works {
		t.Errorf("%s ended with %d: %s", m.args, code, out)
	}
	if strings.HasPrefix(m.args, "run") && !w.works && code == 0 && !out.told() {
		t.Errorf("run did not meet what it was to meet: %s", out)
	}
	f.search(t, fmt.Sprintf("%s (%s)", m.args, format), out.String())
	if !w.works {
		return
	}
	help := crmintake(t, "", append(strings.Fields(m.path()), "--help")...)
	f.search(t, m.path()+" --help", help.out+help.err)
}

// scrape looks at what a worker tells over HTTP.
func (f form) scrape(t *testing.T) {
	t.Helper()
	_, log, stop := running(t, "run", "--log-level", "debug")
	defer stop()
	until(t, "the worker has started", func() bool { return strings.Contains(log.String(), "msg=started") })
	address := adminURL.FindStringSubmatch(log.String())[1]
	// That it is our own server is not what is looked at.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for _, path := range []string{"/metrics", "/readyz", "/livez", "/debug/pprof/", "/debug/pprof/goroutine?debug=2",
		"/debug/pprof/cmdline"} {
		for _, token := range []string{secret, secret + "-bad"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+token)
			answer, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if err != nil || path == "/metrics" && (answer.StatusCode == 200) != (token == secret) {
				t.Errorf("%s: %d %v", path, answer.StatusCode, err)
			}
			f.search(t, path, fmt.Sprint(answer.Header)+string(body))
		}
	}
	stop()
	f.search(t, "the log of a worker that was asked", log.String())
}

// untilTold keeps what is printed, and does something once one of the words was.
type untilTold struct {
	output
	words []string
	do    func()
}

func (o *untilTold) Write(p []byte) (int, error) {
	n, err := o.output.Write(p)
	if o.told() {
		o.do()
	}
	return n, err
}

func (o *untilTold) told() bool {
	return slices.ContainsFunc(o.words, func(w string) bool { return strings.Contains(o.String(), w) })
}

// search looks for anything secret in a text.
func (f form) search(t *testing.T, what, text string) {
	t.Helper()
	for _, marker := range append([]string{secret}, f.markers...) {
		if strings.Contains(text, marker) {
			t.Errorf("%s tells a secret (%.12s…):\n%s", what, marker, text)
		}
	}
}

// searchTables looks at what is written where everybody who reads the outbox sees it.
func (f form) searchTables(t *testing.T) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), f.database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, table := range []string{"attempt", "outbox_error", "pause", "quota", "worker", "operator_action",
		"credential"} {
		var text string
		if err := conn.QueryRow(t.Context(), `SELECT coalesce(string_agg(t::text, ' '), '') FROM `+table+
			` t`).Scan(&text); err != nil {
			t.Fatal(err)
		}
		f.search(t, "the table "+table, text)
	}
}
