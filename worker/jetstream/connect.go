package jetstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	connectWait = 5 * time.Second // for each server of the URL
	closeWait   = 2 * time.Second
	// reconnectWait and as much again at random: a restarted server is found within a second, and many workers do not
	// come at once.
	reconnectWait = 500 * time.Millisecond
)

// ValidateURL reports what is wrong with a NATS URL, or several separated by commas, without showing it: it may hold
// credentials.
func ValidateURL(urls string) error {
	_, err := addresses(urls)
	return err
}

// addresses takes host and port of each URL.
func addresses(urls string) (list []string, err error) {
	for i, text := range strings.Split(urls, ",") {
		text = strings.TrimSpace(text)
		if text != "" && !strings.Contains(text, "://") {
			text = "nats://" + text
		}
		u, err := url.Parse(text)
		// url.Parse quotes the whole URL in its error.
		if err != nil || u.Hostname() == "" {
			return nil, fmt.Errorf("NATS URL %d is not one such as nats://host:4222", i+1)
		}
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return nil, fmt.Errorf("NATS URL %d begins with %s://; want nats://, tls://, ws:// or wss://", i+1,
				u.Scheme)
		}
		list = append(list, u.Host)
	}
	return list, nil
}

// Connect connects to the first of the servers that answers, under a name that the server's monitoring shows. It does
// not wait for a server that is not there: a wrong address should be seen at once.
//
// From then on a lost connection is restored, however long that takes. The loss is logged once and the recovery once,
// and so is each kind of error that the server or the client reports on the side. Neither log nor errors hold
// credentials.
//
// Without auth, of which there is one at most, the URLs' own user or token is all that there is.
func Connect(urls, name string, log *slog.Logger, auth ...Auth) (*nats.Conn, error) {
	list, err := addresses(urls)
	if err != nil {
		return nil, err
	}
	var proof []nats.Option
	var key *nkey
	for _, a := range auth {
		if proof, key, err = a.options(); err != nil {
			return nil, err
		}
	}
	where := strings.Join(list, ", ")
	l := &connectionLog{log: log.With("nats", where)}
	nc, err := nats.Connect(urls, append(proof,
		nats.Name(name),
		nats.Timeout(connectWait),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait, reconnectWait),
		// Credentials may be refused for a while, when a server comes back before its users do; the client would give
		// up for good.
		nats.IgnoreAuthErrorAbort(),
		nats.DisconnectErrHandler(l.lost),
		nats.ReconnectHandler(l.recovered),
		nats.ErrorHandler(l.failed),
	)...)
	if err != nil {
		return nil, fmt.Errorf("can't connect to NATS at %s: %w; %s", where, err, advice(err))
	}
	if key != nil {
		key.conn.Store(nc)
	}
	return nc, nil
}

// ConnectContext is Connect that returns once ctx has ended, too. What was begun then ends by itself, soon.
func ConnectContext(ctx context.Context, urls, name string, log *slog.Logger, auth ...Auth) (*nats.Conn, error) {
	type result struct {
		nc  *nats.Conn
		err error
	}
	done := make(chan result, 1)
	go func() {
		nc, err := Connect(urls, name, log, auth...) // the client's own has no context
		done <- result{nc, err}
	}()
	select {
	case r := <-done:
		return r.nc, r.err
	case <-ctx.Done():
		go func() {
			if r := <-done; r.nc != nil {
				r.nc.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

func advice(err error) string {
	if refused(err) {
		return "check user and password, or the token, in --nats-url; or what the other --nats flags give"
	}
	if untrusted(err) {
		return "check --nats-ca-file, and that the name in --nats-url is one of the certificate's"
	}
	return "check --nats-url, and that the server runs and lets this machine in"
}

// refused: the server does not take the credentials.
func refused(err error) bool {
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) ||
		errors.Is(err, nats.ErrAuthRevoked) ||
		errors.Is(err, nats.ErrAccountAuthExpired)
}

// untrusted: we do not take the server's certificate.
func untrusted(err error) bool { return errors.As(err, new(*tls.CertificateVerificationError)) }

// MayPass reports whether an error of Connect, Open or Init may be gone after some time: the server is not reachable,
// or starts. Waiting does not mend wrong credentials, a certificate that is not trusted, or a missing stream.
func MayPass(err error) bool {
	var api *jetstream.APIError
	switch {
	case refused(err), untrusted(err),
		errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return false
	case errors.As(err, &api):
		return api.Code == 503 // the cluster has no leader at the moment, or the like
	}
	for _, passing := range []error{
		nats.ErrNoServers, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected, nats.ErrConnectionReconnecting,
		nats.ErrStaleConnection, nats.ErrMaxConnectionsExceeded, nats.ErrMaxAccountConnectionsExceeded,
		context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF,
	} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return errors.As(err, new(net.Error))
}

// Close sends what is on its way, acks above all, and closes the connection. The error says that some of it may not
// have left.
func Close(nc *nats.Conn) error {
	defer nc.Close()
	if nc.IsClosed() {
		return nil
	}
	if !nc.IsConnected() {
		return errors.New("close NATS: there is no connection; what was to be sent on it is dropped")
	}
	if err := nc.FlushTimeout(closeWait); err != nil {
		return fmt.Errorf("close NATS: %w", err)
	}
	return nil
}

// waitConnected waits for a connection, no longer than limit. A closed one counts as connected: whoever uses it will
// hear of that.
func waitConnected(ctx context.Context, nc *nats.Conn, limit time.Duration) bool {
	up := func() bool { return nc.IsConnected() || nc.IsClosed() }
	if up() {
		return true
	}
	changed := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer nc.RemoveStatusListener(changed)
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for !up() { // first of all: it may have come back before we listened
		select {
		case <-changed:
		case <-timer.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// connectionLog logs what happens to a connection. The client calls it from one goroutine at a time, but promises that
// nowhere.
type connectionLog struct {
	log *slog.Logger

	mu     sync.Mutex
	lostAt time.Time       // zero while connected
	seen   map[string]bool // kinds of errors logged since the last recovery
}

func (l *connectionLog) lost(nc *nats.Conn, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if nc.IsClosed() || !l.lostAt.IsZero() { // closed by ourselves
		return
	}
	l.lostAt = time.Now()
	if err == nil {
		err = errors.New("closed by the server")
	}
	l.log.Warn("connection to NATS lost; waiting for it", "error", err)
}

func (l *connectionLog) recovered(nc *nats.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log.Info("connection to NATS restored", "server", nc.ConnectedAddr(), "lost_for",
		time.Since(l.lostAt).Round(time.Millisecond))
	l.lostAt, l.seen = time.Time{}, nil
}

// failed logs the first error of a kind, and the others for debugging.
func (l *connectionLog) failed(_ *nats.Conn, sub *nats.Subscription, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// The subject, which the server quotes, may be an inbox and differ each time.
	kind, _, _ := strings.Cut(err.Error(), `"`)
	level := slog.LevelDebug
	if !l.seen[kind] {
		level = slog.LevelError
		if l.seen == nil {
			l.seen = map[string]bool{}
		}
		l.seen[kind] = true
	}
	attrs := []any{"error", err}
	if sub != nil {
		attrs = append(attrs, "subscription", sub.Subject)
	}
	l.log.Log(context.Background(), level, "NATS reports an error; more of this kind are logged for debugging only",
		attrs...)
}
