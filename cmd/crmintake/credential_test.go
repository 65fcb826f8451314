package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/outbox/outboxtest"
	"crmintake/worker/hubspot/hubspottest"
)

// An OAuth app takes the place of a token, by its files or the environment. None of its secrets is told.
func TestRunWithOAuth(t *testing.T) {
	t.Parallel()
	server, _ := startNATS(t)
	crm, err := hubspottest.Start(hubspottest.Config{
		OAuth:       &hubspottest.OAuth{ClientID: "app", ClientSecret: secret, RefreshToken: secret + "-r", Rotate: true},
		ObjectTypes: map[string]hubspottest.ObjectType{"deals": {}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(crm.Close)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	setenv(t, "CRMINTAKE_NATS_URL", server.URL())
	setenv(t, "CRMINTAKE_DATABASE_URL", outboxtest.New(t))
	setenv(t, "CRMINTAKE_HUBSPOT_URL", crm.URL)
	setenv(t, "CRMINTAKE_HUBSPOT_REFRESH_TOKEN", secret+"-r")
	setenv(t, "CRMINTAKE_BATCH_WAIT", "50ms")
	crmintake(t, "", "init").want(t, 0)
	crmintake(t, `{"properties":{"name":"a"}}`, "publish", "--object-type", "deals", "-").want(t, 0)
	for _, created := range []string{"created=1", "created=0"} { // the second finds the first one's token
		r := crmintake(t, "", "run", "--drain", "--log-level", "debug", "--hubspot-client-id", "app",
			"--hubspot-client-secret-file", file)
		r.want(t, 0, created)
		if strings.Contains(r.out+r.err, secret) {
			t.Errorf("the log tells a secret:\n%s", r.err)
		}
	}
	if n := crm.Stats(); n.Refreshes != 1 || crm.Len("deals") != 1 {
		t.Errorf("%d access tokens, %d records", n.Refreshes, crm.Len("deals"))
	}

	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"incomplete": {[]string{"--hubspot-client-id", "app"}, "all three"},
		"two secrets": {[]string{"--hubspot-client-id", "app", "--hubspot-client-secret", secret,
			"--hubspot-client-secret-file", file}, "--hubspot-client-secret-file are both given"},
		"two tokens": {[]string{"--hubspot-client-id", "app", "--hubspot-client-secret", secret,
			"--hubspot-refresh-token-file", file}, "--hubspot-refresh-token-file are both given"},
		"no such file": {[]string{"--hubspot-client-id", "app", "--hubspot-client-secret-file", "/nowhere"}, "/nowhere"},
		"beside a token": {[]string{"--hubspot-client-id", "app", "--hubspot-client-secret", secret, "--hubspot-token",
			secret}, "give one"},
		"not for headers": {[]string{"--hubspot-client-id", "app", "--hubspot-client-secret", secret + " x"},
			"--hubspot-client-secret: "},
	} {
		t.Run(name, func(t *testing.T) {
			r := crmintake(t, "", append([]string{"run"}, c.args...)...)
			r.want(t, 2, c.want)
			if strings.Contains(r.out+r.err, secret) || strings.Count(strings.TrimSpace(r.err), "\n") > 0 {
				t.Errorf("not one clear line without secrets: %s", r.err)
			}
		})
	}
}

func TestBreakerFlag(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]flags.Breaker{
		"50%/500": {Share: 0.5, Window: 500}, "12.5%/1": {Share: 0.125, Window: 1}, "off": {Off: true},
	} {
		var f flags.Breaker
		if err := f.UnmarshalText([]byte(text)); err != nil || f != want {
			t.Errorf("%s: %+v, %v", text, f, err)
		}
	}
	for _, text := range []string{"", "on", "50/500", "50%", "0%/500", "100%/500", "NaN%/500", "50%/0", "50%/x",
		"0.5/500"} {
		var f flags.Breaker
		if err := f.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "50%/500, or off") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
