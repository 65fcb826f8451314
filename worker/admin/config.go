package admin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// TokenSource gives the bearer token that requests must have. It may be another one each time, and its error must not
// tell it.
type TokenSource interface {
	Token(ctx context.Context) (string, error)
}

// Readiness is whether a worker can work.
type Readiness struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons,omitempty"` // why not, without anything that an error or an event said
	Paused  []string `json:"paused,omitempty"`  // a worker that is paused is ready all the same
	// Verdict is how things stand, for all workers, as the first line of status has it, and Do what to do about it.
	Verdict string `json:"verdict,omitempty"`
	Do      string `json:"do,omitempty"`
}

// Config is what to serve, and to whom.
type Config struct {
	Addr string // host and port; port 0 takes a free one

	// Token lets in whoever has it; nil: there is none.
	Token TokenSource
	// CertFile and KeyFile are the server's certificate, for TLS. Without them it speaks plain HTTP.
	CertFile, KeyFile string
	// ClientCAFile lets in whoever has a certificate of these authorities.
	ClientCAFile string

	Metrics prometheus.Gatherer
	// Ready is asked for /readyz, and Alive for /livez, which answers once it has returned. Neither may wait for a
	// server.
	Ready func() Readiness
	Alive func()
	Log   *slog.Logger
}

// Validate returns what is wrong with the settings. It reads the certificates' files.
func (c Config) Validate() error {
	host, port, err := net.SplitHostPort(c.Addr)
	if _, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil {
		return fmt.Errorf("the admin address %q is not one such as 127.0.0.1:8080", c.Addr)
	}
	switch {
	case (c.CertFile == "") != (c.KeyFile == ""):
		return errors.New("the admin endpoints' certificate needs both: its file and its key's")
	case c.ClientCAFile != "" && c.CertFile == "":
		return errors.New("to ask clients of the admin endpoints for certificates takes one of their own, and its key")
	case !loopback(host) && c.Token == nil && c.ClientCAFile == "":
		return fmt.Errorf("the admin address %s can be reached by others: that wants a token's file, "+
			"or certificates of clients; or take a loopback address", c.Addr)
	}
	if c.CertFile == "" {
		return nil
	}
	_, err = c.tls()
	return err
}

// loopback: only this machine reaches the host. A name other than localhost may mean anything.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// tls reads the certificates as they are now.
func (c Config) tls() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("the admin endpoints' certificate: %w", err)
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if c.ClientCAFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(c.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("the admin endpoints' client authorities: %w", err)
	}
	// Probes come without a certificate; what needs one asks for it.
	t.ClientAuth, t.ClientCAs = tls.VerifyClientCertIfGiven, x509.NewCertPool()
	if !t.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("the admin endpoints' client authorities: %s has no certificate", c.ClientCAFile)
	}
	return t, nil
}
