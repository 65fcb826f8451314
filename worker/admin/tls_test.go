package admin

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// authority signs certificates for tests.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	a := authority{t: t}
	_, der := a.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, &a.key)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

// sign makes a key and a certificate of it: one of the authority's, or, when it has none yet, its own.
func (a authority) sign(c *x509.Certificate, key **ecdsa.PrivateKey) (keyDER, certDER []byte) {
	a.t.Helper()
	made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if key != nil {
		*key = made
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour),
		time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, made
	}
	if certDER, err = x509.CreateCertificate(rand.Reader, c, parent, &made.PublicKey, signer); err != nil {
		a.t.Fatal(err)
	}
	if keyDER, err = x509.MarshalPKCS8PrivateKey(made); err != nil {
		a.t.Fatal(err)
	}
	return keyDER, certDER
}

func (a authority) write(path, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// issue writes a certificate and its key.
func (a authority) issue(cert, key string, usage x509.ExtKeyUsage) {
	a.t.Helper()
	keyDER, certDER := a.sign(&x509.Certificate{
		ExtKeyUsage: []x509.ExtKeyUsage{usage}, KeyUsage: x509.KeyUsageDigitalSignature,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, nil)
	a.write(cert, "CERTIFICATE", certDER)
	a.write(key, "PRIVATE KEY", keyDER)
}

// client trusts the authority, and has a certificate of another one, or none.
func (a authority) client(of *authority) *http.Client {
	a.t.Helper()
	t := &tls.Config{RootCAs: x509.NewCertPool()}
	t.RootCAs.AddCert(a.cert)
	if of != nil {
		dir := a.t.TempDir()
		cert, key := filepath.Join(dir, "c"), filepath.Join(dir, "k")
		of.issue(cert, key, x509.ExtKeyUsageClientAuth)
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			a.t.Fatal(err)
		}
		// Whatever authorities the server asks for.
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: t, DisableKeepAlives: true}}
}

func TestMutualTLS(t *testing.T) {
	ours, clients, strangers := newAuthority(t), newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	cfg := Config{
		Addr: "0.0.0.0:0", CertFile: filepath.Join(dir, "cert"), KeyFile: filepath.Join(dir, "key"),
		ClientCAFile: filepath.Join(dir, "clients"),
	}
	ours.issue(cfg.CertFile, cfg.KeyFile, x509.ExtKeyUsageServerAuth)
	clients.write(cfg.ClientCAFile, "CERTIFICATE", clients.cert.Raw)
	s := serve(t, cfg)
	s.want(ours.client(&clients), "/metrics", "", 200, "a_count")
	s.want(ours.client(&clients), "/debug/pprof/", "", 200, "goroutine")
	s.want(ours.client(nil), "/metrics", "", 401, "")
	s.want(ours.client(nil), "/metrics", "some token", 401, "")
	s.want(ours.client(nil), "/livez", "", 200, "ok")
	s.want(ours.client(nil), "/readyz", "", 200, "true")
	if status, _, err := s.get(ours.client(&strangers), "/livez", ""); err == nil {
		t.Errorf("a stranger's certificate is taken: %d", status)
	}

	// All of them are replaced.
	next := newAuthority(t)
	next.issue(cfg.CertFile, cfg.KeyFile, x509.ExtKeyUsageServerAuth)
	strangers.write(cfg.ClientCAFile, "CERTIFICATE", strangers.cert.Raw)
	s.want(next.client(&strangers), "/metrics", "", 200, "a_count")
	if status, _, err := s.get(ours.client(&clients), "/metrics", ""); err == nil {
		t.Errorf("those of before are taken still: %d", status)
	}
}

// Either lets in, where both are asked for.
func TestTokenOverTLS(t *testing.T) {
	ours, clients := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	cfg := Config{
		Addr: "0.0.0.0:0", CertFile: filepath.Join(dir, "cert"), KeyFile: filepath.Join(dir, "key"),
		ClientCAFile: filepath.Join(dir, "clients"),
		Token:        file(filepath.Join(dir, "token")),
	}
	ours.issue(cfg.CertFile, cfg.KeyFile, x509.ExtKeyUsageServerAuth)
	clients.write(cfg.ClientCAFile, "CERTIFICATE", clients.cert.Raw)
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("word"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, cfg)
	s.want(ours.client(nil), "/metrics", "word", 200, "a_count")
	s.want(ours.client(nil), "/metrics", "", 401, "")
	s.want(ours.client(&clients), "/metrics", "", 200, "a_count")

	clients.write(cfg.ClientCAFile, "NOTHING", nil)
	if err := cfg.Validate(); err == nil {
		t.Error("a file without a certificate is taken for authorities")
	}
}

// lines is what was logged.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) count(words string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), words)
}

// Certificates that can't be read keep no probe from its answer, and that is said once.
func TestCertificatesThatCannotBeRead(t *testing.T) {
	ours := newAuthority(t)
	dir := t.TempDir()
	log := &lines{}
	cfg := Config{
		Addr: "127.0.0.1:0", CertFile: filepath.Join(dir, "cert"), KeyFile: filepath.Join(dir, "key"),
		ClientCAFile: filepath.Join(dir, "clients"),
		Log:          slog.New(slog.NewTextHandler(log, nil)),
	}
	ours.issue(cfg.CertFile, cfg.KeyFile, x509.ExtKeyUsageServerAuth)
	ours.write(cfg.ClientCAFile, "CERTIFICATE", ours.cert.Raw)
	s := serve(t, cfg)
	const fails, works = "those of before are used", "can be read again"
	expect := func(when string, warned, mended int) {
		t.Helper()
		if f, w := log.count(fails), log.count(works); f != warned || w != mended {
			t.Errorf("%s: logged %d failures and %d ends, want %d and %d", when, f, w, warned, mended)
		}
	}
	if err := os.WriteFile(cfg.CertFile, []byte("half a cert"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.want(ours.client(nil), "/livez", "", 200, "ok")
	s.want(ours.client(&ours), "/metrics", "", 200, "a_count")
	expect("a broken certificate", 1, 0)
	next := newAuthority(t)
	next.issue(cfg.CertFile, cfg.KeyFile, x509.ExtKeyUsageServerAuth)
	s.want(next.client(nil), "/livez", "", 200, "ok")
	expect("another one", 1, 1)
	if err := os.Remove(cfg.ClientCAFile); err != nil {
		t.Fatal(err)
	}
	s.want(next.client(nil), "/livez", "", 200, "ok")
	s.want(next.client(nil), "/metrics", "", 401, "")
	s.want(next.client(&ours), "/metrics", "", 200, "a_count")
	expect("no authorities", 2, 1)
}
