package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/worker/pipeline"
)

func TestOnUnknown(t *testing.T) {
	t.Parallel()
	type of = map[string]pipeline.OnUnknown
	for name, c := range map[string]struct {
		env    string
		args   []string
		others pipeline.OnUnknown
		of     of
	}{
		"default": {"", nil, pipeline.Park, of{}},
		"all":     {"", []string{"--on-unknown", "resend"}, pipeline.Resend, of{}},
		"one":     {"", []string{"--on-unknown", "notes=resend"}, "", of{"notes": pipeline.Resend}},
		"mixed": {"", []string{"--on-unknown", "notes=park,resend,2-7=park"}, pipeline.Resend,
			of{"notes": pipeline.Park, "2-7": pipeline.Park}},
		"repeated": {"", []string{"--on-unknown", "resend", "--on-unknown", "notes=park"}, pipeline.Resend,
			of{"notes": pipeline.Park}},
		"environment":           {"notes=resend,park", nil, pipeline.Park, of{"notes": pipeline.Resend}},
		"flag over environment": {"notes=resend,park", []string{"--on-unknown", "resend"}, pipeline.Resend, of{}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.env != "" {
				setenv(t, "CRMINTAKE_ON_UNKNOWN", c.env)
			}
			var cli cli
			env := flags.Variables{Given: environmentIn(t)}
			parser, err := kong.New(&cli, kong.DefaultEnvars(flags.EnvPrefix), kong.PostBuild(env.Take), kong.Resolvers(&env),
				kong.Writers(new(bytes.Buffer), new(bytes.Buffer)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.Parse(append([]string{"run", "--database-url", "postgres://h/d"}, c.args...)); err != nil {
				t.Fatal(err)
			}
			if err := cli.Run.OnUnknown.Check(); err != nil {
				t.Error(err)
			}
			cfg := cli.Run.config(cli.Run.BatchWait)
			if cfg.OnUnknown != c.others {
				t.Errorf("for all others %q, want %q", cfg.OnUnknown, c.others)
			}
			if diff := cmp.Diff(c.of, cfg.OnUnknownOf); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOnUnknownRefuses(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"maybe":                   `"maybe": want park or resend`,
		"notes=maybe":             "as notes=resend",
		"=resend":                 "as notes=resend",
		"notes=":                  "as notes=resend",
		"resend,park":             "both resend and park for all other object types",
		"notes=resend,notes=park": "both resend and park for notes",
		"no/tes=resend":           "not an object type",
		"resend,contracts=park":   `contracts=park has no effect beside the id property "event_id"`,
	} {
		t.Run(value, func(t *testing.T) {
			r := crmintake(t, "", "run", "--database-url", "postgres://h/d", "--hubspot-token", secret, "--id-property",
				"contracts=event_id",
				"--on-unknown", value)
			r.want(t, 2, want)
			if n := strings.Count(strings.TrimSpace(r.err), "\n"); n > 1 {
				t.Errorf("more than a clear line:\n%s", r.err)
			}
		})
	}
}
