package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What can be wrong with secrets on the command line is told in one line, by every command, before anything is done.
// (That each form works is tested with package jetstream, and that none of them is told by TestNoSecretIsTold.)
func TestNATSCredentialsUsage(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	setenv(t, "CRMINTAKE_DATABASE_URL", "postgres://127.0.0.1:1/x")
	setenv(t, "CRMINTAKE_HUBSPOT_TOKEN", secret)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"two tokens": {[]string{"--nats-token", secret, "--nats-token-file", file},
			"--nats-token and --nats-token-file are both given"},
		"two passwords": {[]string{"--nats-user", "me", "--nats-password", secret, "--nats-password-file", file},
			"--nats-password-file are both given"},
		"two ways": {[]string{"--nats-token", secret, "--nats-nkey-file", file}, "give one"},
		"beside the URL's": {[]string{"--nats-url", "nats://me:" + secret + "@127.0.0.1:1", "--nats-token-file",
			file}, "give one"},
		"no password":        {[]string{"--nats-user", "me"}, "go together"},
		"no user":            {[]string{"--nats-password-file", file}, "go together"},
		"no key":             {[]string{"--nats-cert-file", file}, "go together"},
		"no such file":       {[]string{"--nats-token-file", "/nowhere"}, "--nats-token-file: "},
		"no nkey":            {[]string{"--nats-nkey-file", file}, file},
		"no credentials":     {[]string{"--nats-creds-file", file}, file},
		"no authority":       {[]string{"--nats-ca-file", file}, file},
		"no such authority":  {[]string{"--nats-ca-file", "/nowhere"}, "/nowhere"},
		"no key of its kind": {[]string{"--nats-cert-file", file, "--nats-key-file", file}, "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, command := range []string{"run", "init", "status", "publish -"} {
				r := crmintake(t, "", append(strings.Fields(command), c.args...)...)
				r.want(t, 2, c.want)
				if strings.Contains(r.out+r.err, secret) || strings.Count(strings.TrimSpace(r.err), "\n") > 0 {
					t.Errorf("%s: not one clear line without secrets: %s", command, r.err)
				}
			}
			crmintake(t, "", append([]string{"check"}, c.args...)...).want(t, 1, "failure  NATS", c.want)
		})
	}
}

// A secret that stands where it does not belong is not repeated.
func TestMisplacedSecrets(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"status", "--hubspot-token=" + secret}, {"status", "--hubspot-token", secret}, {"run", "--hubspot-tokn=" + secret},
		{"run", "--hubspot-url", "https://me:" + secret + "@api.example.com", "--database-url", "postgres://h/d",
			"--hubspot-token", secret},
		{"run", "--database-url", "postgres://u:" + secret + "@h:port/d"}, {"audit", "--database-url",
			"postgres://u:" + secret + "%zz@h/d"},
	} {
		r := crmintake(t, "", args...)
		r.want(t, 2)
		if strings.Contains(r.out+r.err, secret) {
			t.Errorf("%v: it tells the secret: %s", args[:2], r.err)
		}
	}
}
