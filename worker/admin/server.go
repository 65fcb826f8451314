package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	requestWait = 5 * time.Second  // for a request to have come
	idleWait    = 2 * time.Minute  // longer than between two looks of a usual Prometheus
	answerWait  = 90 * time.Second // bounds an answer, and so how long a profile may be
	scrapeWait  = 10 * time.Second
	scrapes     = 4 // at once
	lastWait    = time.Second
	mostHeader  = 32 << 10
)

// Server serves a worker's admin endpoints. Listen makes one.
type Server struct {
	cfg      Config
	listener net.Listener
	http     http.Server
}

// Listen takes the address. What comes waits for Run.
func Listen(ctx context.Context, cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", cfg.Addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("the admin address %s is in use, perhaps by another worker: "+
			"give each its own, or port 0 for any that is free, or off", cfg.Addr)
	}
	if err != nil {
		return nil, fmt.Errorf("admin endpoints: %w", err)
	}
	if cfg.CertFile != "" {
		first, err := cfg.tls()
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		c := &certificates{cfg: cfg, last: first}
		l = tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: c.forClient})
	}
	s := &Server{cfg: cfg, listener: l}
	s.http = http.Server{
		Handler: s.handler(), MaxHeaderBytes: mostHeader,
		ReadHeaderTimeout: requestWait, ReadTimeout: requestWait, WriteTimeout: answerWait, IdleTimeout: idleWait,
		ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// certificates are those that are in their files, or, while these can't be read, those that were. /livez goes by them,
// too: without any, a file that is wrong for a moment would have the worker restarted, which then could not start.
type certificates struct {
	cfg Config

	mu      sync.Mutex // guards all below
	last    *tls.Config
	failing bool
}

func (c *certificates) forClient(*tls.ClientHelloInfo) (*tls.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, err := c.cfg.tls()
	if err != nil {
		if !c.failing {
			c.cfg.Log.Warn("the certificates of the admin endpoints can't be read; those of before are used until they can",
				"error", err)
		}
		c.failing = true
		return c.last, nil
	}
	if c.failing {
		c.cfg.Log.Info("the certificates of the admin endpoints can be read again")
	}
	c.last, c.failing = now, false
	return now, nil
}

// URL is where it serves.
func (s *Server) URL() string {
	scheme := "http://"
	if s.cfg.CertFile != "" {
		scheme = "https://"
	}
	return scheme + s.listener.Addr().String()
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWait)
		defer cancel()
		if s.http.Shutdown(ctx) != nil {
			_ = s.http.Close() // a profile, say, that would have taken longer
		}
	})
	err := s.http.Serve(s.listener)
	if stop() { // it ended by itself
		return errors.Join(fmt.Errorf("admin endpoints: %w", err), s.http.Close())
	}
	<-stopped
	return nil
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		s.cfg.Alive()
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", s.readyz)
	metrics := promhttp.HandlerFor(s.cfg.Metrics, promhttp.HandlerOpts{MaxRequestsInFlight: scrapes, Timeout: scrapeWait})
	mux.Handle("GET /metrics", s.guard(metrics))
	// Without pprof's cmdline: a command line can hold secrets.
	for path, profile := range map[string]http.HandlerFunc{
		"/debug/pprof/": pprof.Index, "/debug/pprof/profile": pprof.Profile,
		"/debug/pprof/symbol": pprof.Symbol, "/debug/pprof/trace": pprof.Trace,
	} {
		mux.Handle(path, s.guard(profile))
	}
	return mux
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	r := s.cfg.Ready()
	w.Header().Set("Content-Type", "application/json")
	if !r.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(r)
}

// guard lets through whom Config lets in.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.mayAsk(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "a bearer token, or a client's certificate, is wanted", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) mayAsk(r *http.Request) bool {
	if s.cfg.Token == nil && s.cfg.ClientCAFile == "" {
		return true // the address is a loopback one
	}
	if s.cfg.ClientCAFile != "" && r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return true
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || s.cfg.Token == nil {
		return false
	}
	token, err := s.cfg.Token.Token(r.Context())
	want, got := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(given)) // of one length, whatever was given
	return err == nil && subtle.ConstantTimeCompare(want[:], got[:]) == 1
}
