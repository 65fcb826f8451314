package jetstream

import (
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"crmintake/deploy/local"
	"crmintake/deploy/local/pki"
)

// guarded is a server that wants to know who comes. What it wants can be changed: it is so from the next start on.
type guarded struct {
	*local.NATS
	mu    sync.Mutex
	wants func(*server.Options)
}

func newGuarded(t *testing.T, wants func(*server.Options)) *guarded {
	t.Helper()
	g := &guarded{wants: wants}
	var err error
	g.NATS, err = local.StartNATS(local.NATSConfig{Options: func(o *server.Options) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.wants(o)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// change has the server want something else.
func (g *guarded) change(t *testing.T, wants func(*server.Options)) {
	t.Helper()
	g.mu.Lock()
	g.wants = wants
	g.mu.Unlock()
	if err := g.Restart(); err != nil {
		t.Fatal(err)
	}
}

// fixed is a secret that may be replaced.
type fixed struct {
	mu   sync.Mutex
	text string
}

func (f *fixed) get() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text
}

func (f *fixed) set(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.text = text
}

// proof is a form of credentials: who the server lets in, what we say, and what comes after both were replaced.
type proof struct {
	wants   func(*server.Options)
	auth    Auth
	wrong   Auth
	replace func(t *testing.T) (wants func(*server.Options))
}

func ok[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// proofs are all forms. No secret in them is without the word "secret", but for what is in the files.
func proofs(t *testing.T) map[string]proof {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	user := func(password string) func(*server.Options) {
		return func(o *server.Options) { o.Username, o.Password = "me", password }
	}
	token := func(token string) func(*server.Options) { return func(o *server.Options) { o.Authorization = token } }
	password, bearer := &fixed{text: "secret"}, &fixed{text: "secret"}
	is := func(text string) func() string { return func() string { return text } }
	guard := ok[func(*server.Options)](t)
	guard(local.NKeyGuard(file("other.nk")))
	guard(local.CredsGuard(file("other.creds")))
	return map[string]proof{
		"user and password": {user("secret"), Auth{User: "me", Password: password.get},
			Auth{User: "me", Password: is("wrong-secret")},
			func(*testing.T) func(*server.Options) { password.set("new-secret"); return user("new-secret") }},
		"token": {token("secret"), Auth{Token: bearer.get}, Auth{Token: is("wrong-secret")},
			func(*testing.T) func(*server.Options) { bearer.set("new-secret"); return token("new-secret") }},
		"nkey": {guard(local.NKeyGuard(file("my.nk"))), Auth{NKeyFile: file("my.nk")}, Auth{NKeyFile: file("other.nk")},
			func(t *testing.T) func(*server.Options) {
				return ok[func(*server.Options)](t)(local.NKeyGuard(file("my.nk")))
			}},
		"credentials file": {guard(local.CredsGuard(file("my.creds"))), Auth{CredsFile: file("my.creds")},
			Auth{CredsFile: file("other.creds")},
			func(t *testing.T) func(*server.Options) {
				return ok[func(*server.Options)](t)(local.CredsGuard(file("my.creds")))
			}},
	}
}

// Each form lets in who has it, and nobody else, and may be replaced while a connection is there: the next one has the
// new one.
func TestCredentials(t *testing.T) {
	t.Parallel()
	for name, p := range proofs(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newGuarded(t, p.wants)
			var text logBuffer
			log := slog.New(slog.NewTextHandler(&text, nil))
			for _, auth := range [][]Auth{nil, {p.wrong}} {
				_, err := Connect(s.URL(), "test", log, auth...)
				if err == nil {
					t.Fatal("let in without a proof")
				}
				contains(t, err.Error(), "--nats-url")
				if MayPass(err) || strings.Contains(err.Error(), "secret") {
					t.Errorf("the error is %v, and may pass: %v", err, MayPass(err))
				}
			}
			nc, err := Connect(s.URL(), "test", log, p.auth)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			s.change(t, p.replace(t))
			until(t, "it is back, with what was replaced", func() bool {
				return nc.Stats().Reconnects > 0 && nc.IsConnected()
			})
			if err := nc.FlushTimeout(patience); err != nil {
				t.Error(err)
			}
			if strings.Contains(text.String(), "secret") {
				t.Errorf("the log tells a secret: %s", &text)
			}
		})
	}
}

// serverTLS is what has a server show a certificate, and ask for one.
func serverTLS(t *testing.T, authority *pki.Authority, hosts ...string) func(*server.Options) {
	t.Helper()
	config, err := authority.MutualTLS(hosts...)
	if err != nil {
		t.Fatal(err)
	}
	return func(o *server.Options) {
		o.TLS, o.TLSVerify, o.TLSTimeout, o.TLSConfig = true, true, patience.Seconds(), config
	}
}

func newAuthority(t *testing.T) *pki.Authority {
	t.Helper()
	a, err := pki.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	s := newGuarded(t, serverTLS(t, ours, "127.0.0.1"))
	url := strings.Replace(s.URL(), "nats://", "tls://", 1)
	issue := func(a *pki.Authority) (certFile, keyFile string) {
		t.Helper()
		certFile, keyFile, err := a.Issue("client")
		if err != nil {
			t.Fatal(err)
		}
		return certFile, keyFile
	}
	certFile, keyFile := issue(ours)
	strangerCert, strangerKey := issue(theirs)
	log := slog.New(slog.DiscardHandler)

	for name, auth := range map[string]Auth{
		"of the system's authorities": {CertFile: certFile, KeyFile: keyFile},
		"of another authority":        {CAFile: theirs.File, CertFile: certFile, KeyFile: keyFile},
	} {
		_, err := Connect(url, "test", log, auth)
		if err == nil || MayPass(err) {
			t.Fatalf("%s: %v", name, err)
		}
		contains(t, err.Error(), "--nats-ca-file")
	}
	for name, auth := range map[string]Auth{
		"none of ours": {CAFile: ours.File},
		"a stranger's": {CAFile: ours.File, CertFile: strangerCert, KeyFile: strangerKey},
	} {
		if nc, err := Connect(url, "test", log, auth); err == nil {
			nc.Close()
			t.Errorf("%s: let in", name)
		}
	}
	nc, err := Connect(s.URL(), "test", log, Auth{CAFile: ours.File, CertFile: certFile, KeyFile: keyFile})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if state, err := nc.TLSConnectionState(); err != nil || state.Version < tls.VersionTLS12 {
		t.Errorf("%+v, %v", state, err)
	}

	// All certificates are replaced, the authority's too.
	next := newAuthority(t)
	nextCert, nextKey := issue(next)
	for from, to := range map[string]string{next.File: ours.File, nextCert: certFile, nextKey: keyFile} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	next.File = ours.File
	s.change(t, serverTLS(t, next, "127.0.0.1"))
	until(t, "it is back, with the new certificates", func() bool {
		return nc.Stats().Reconnects > 0 && nc.IsConnected()
	})

	// A certificate is for a name.
	s.change(t, serverTLS(t, next, "nats.example.com"))
	if _, err := Connect(url, "test", log, Auth{CAFile: ours.File, CertFile: certFile, KeyFile: keyFile}); err == nil {
		t.Error("let in by a server of another name")
	}
}

// A server without TLS is left alone where TLS is wanted: no credentials go there.
func TestNoTLS(t *testing.T) {
	t.Parallel()
	s := newGuarded(t, func(o *server.Options) { o.Authorization = "secret" })
	_, err := Connect(s.URL(), "test", slog.New(slog.DiscardHandler),
		Auth{CAFile: newAuthority(t).File, Token: func() string { return "secret" }})
	if err == nil {
		t.Fatal("connected without TLS")
	}
	if want := nats.ErrSecureConnWanted.Error(); !strings.Contains(err.Error(), want) {
		t.Errorf("the error is %v, want %v", err, want)
	}
}

func TestAuthValidate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad")
	if err := os.WriteFile(bad, []byte("no secret of any kind"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing")
	for _, a := range []Auth{
		{NKeyFile: bad}, {NKeyFile: missing}, {CredsFile: bad}, {CredsFile: missing}, {CAFile: bad},
		{CAFile: missing}, {CertFile: bad, KeyFile: bad},
	} {
		err := a.Validate()
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", a, err)
		} else if !strings.Contains(err.Error(), dir) && a.CertFile == "" {
			t.Errorf("%+v: the error names no file: %v", a, err)
		}
	}
	if err := (Auth{CAFile: newAuthority(t).File}).Validate(); err != nil {
		t.Error(err)
	}
}
