package local

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"crmintake/deploy/local/internal/loopback"
)

// natsReady bounds a start; recovering a large store is the slowest part of it.
const natsReady = 30 * time.Second

// NATSConfig says how to run the NATS server. The zero value is documented field by field.
type NATSConfig struct {
	Dir        string    // where JetStream stores; empty for a temporary directory that Stop removes
	MaxPayload int32     // largest message with its headers, in bytes; 0 for NATS' default of 1 MiB
	SyncAlways bool      // fsync before each publish is confirmed; NATS' default is to do so every two minutes
	Log        io.Writer // the server's log; nil for nowhere. Writes never overlap.
	// Options changes the server's own options before each start, so that who may come in can be another after Restart;
	// nil for nothing.
	Options func(*server.Options)
}

// NATS is a NATS server with JetStream in this process. Its methods may be called by many goroutines at once.
type NATS struct {
	options server.Options // copied for each start, because the server writes to its own
	change  func(*server.Options)
	remove  func() error // nil if the directory is the caller's
	log     *natsLog

	mu      sync.Mutex
	server  *server.Server // nil once it is stopped
	stopped bool
}

// StartNATS returns when the server accepts connections.
func StartNATS(cfg NATSConfig) (*NATS, error) {
	n := &NATS{change: cfg.Options, log: &natsLog{to: cfg.Log}}
	dir := cfg.Dir
	if dir == "" {
		var err error
		if dir, n.remove, err = TempDir("crmintake-nats-"); err != nil {
			return nil, fmt.Errorf("start NATS: %w", err)
		}
	}
	n.options = server.Options{
		ServerName: "local",
		Host:       loopback.Host,
		JetStream:  true,
		StoreDir:   dir,
		MaxPayload: cfg.MaxPayload,
		SyncAlways: cfg.SyncAlways,
		NoSigs:     true,
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	// The port may have been taken since we looked.
	var err error
	for range 3 {
		if n.options.Port, err = loopback.FreePort(); err != nil {
			break
		}
		if n.server, err = n.start(); err == nil {
			return n, nil
		}
	}
	if n.remove != nil {
		err = errors.Join(err, n.remove())
	}
	return nil, fmt.Errorf("start NATS: %w", err)
}

// start runs a new server on the port and the store of the options.
func (n *NATS) start() (*server.Server, error) {
	options := n.options
	if n.change != nil {
		n.change(&options)
	}
	s, err := server.NewServer(&options)
	if err != nil {
		return nil, err
	}
	n.log.reset()
	s.SetLoggerV2(n.log, false, false, false)
	s.Start()
	if !s.ReadyForConnections(natsReady) {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, fmt.Errorf("the server is not ready: %s", n.log.last())
	}
	if fatal := n.log.last(); !s.JetStreamEnabled() {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, fmt.Errorf("JetStream does not start: %s", fatal)
	}
	return s, nil
}

// URL is the same over restarts.
func (n *NATS) URL() string { return fmt.Sprintf("nats://%s:%d", n.options.Host, n.options.Port) }

// Restart shuts the server down, which disconnects all clients, and starts it with the same port and store. After an
// error no server runs, and Restart may be tried again.
func (n *NATS) Restart() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped {
		return errors.New("restart NATS: it has been stopped")
	}
	n.shutdown()
	var err error
	if n.server, err = n.start(); err != nil {
		return fmt.Errorf("restart NATS: %w", err)
	}
	return nil
}

// Stop shuts the server down and removes the directory, unless it is the caller's. It is final; calling it again does
// nothing.
func (n *NATS) Stop() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped {
		return nil
	}
	n.stopped = true
	n.shutdown()
	if n.remove == nil {
		return nil
	}
	if err := n.remove(); err != nil {
		return fmt.Errorf("stop NATS: %w", err)
	}
	return nil
}

func (n *NATS) shutdown() {
	if n.server != nil {
		n.server.Shutdown()
		n.server.WaitForShutdown()
		n.server = nil
	}
}

// natsLog writes the log and remembers the last error, because Start itself returns none.
type natsLog struct {
	mu    sync.Mutex
	to    io.Writer // may be nil
	error string
}

func (l *natsLog) write(level, format string, args []any) {
	line := fmt.Sprintf(format, args...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if level == "error" || level == "fatal" {
		l.error = line
	}
	if l.to != nil {
		fmt.Fprintf(l.to, "%s %s: %s\n", time.Now().Format(time.RFC3339Nano), level, line)
	}
}

func (l *natsLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.error = ""
}

func (l *natsLog) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.error
}

func (l *natsLog) Noticef(format string, v ...any) { l.write("notice", format, v) }
func (l *natsLog) Warnf(format string, v ...any)   { l.write("warning", format, v) }
func (l *natsLog) Errorf(format string, v ...any)  { l.write("error", format, v) }
func (l *natsLog) Fatalf(format string, v ...any)  { l.write("fatal", format, v) }
func (l *natsLog) Debugf(format string, v ...any)  { l.write("debug", format, v) }
func (l *natsLog) Tracef(format string, v ...any)  { l.write("trace", format, v) }
