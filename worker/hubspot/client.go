package hubspot

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"

	"crmintake/worker"
)

const (
	// idleTimeout is shorter than the edge's, so that it is rarely the edge that closes a kept connection: a request
	// that meets such a close is ambiguous.
	idleTimeout = 20 * time.Second
	// dialTimeout bounds what a call's deadline does not: net/http goes on dialling for the next call.
	dialTimeout = 10 * time.Second
	// writeBuffer holds a usual request (100 events of 300 bytes), which then leaves in one write. Answers are read
	// past the connection's own buffer. Each connection has one for as long as it is kept.
	writeBuffer = 40 << 10
	// maxHeaderBytes is far above the headers of any answer.
	maxHeaderBytes = 256 << 10
)

// Client calls the API. It may be used by many goroutines at once.
type Client struct {
	cfg       Config
	base      *url.URL
	transport *http.Transport
	now       func() time.Time
}

var _ worker.CRM = (*Client)(nil)

// New returns a client, or what is wrong with cfg. It connects to nothing yet.
func New(cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	base, err := parseBase(cfg.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("hubspot: %w", err)
	}
	return &Client{cfg: cfg, base: base, now: time.Now, transport: newTransport(cfg.RootCAs, cfg.MaxInFlight)}, nil
}

func newTransport(rootCAs *x509.CertPool, kept int) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy: proxy,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			if tcp, ok := c.(*net.TCPConn); ok {
				// Closing then discards what the kernel has not sent: the rest of a request that was given up.
				_ = tcp.SetLinger(0)
			}
			return &guardedConn{Conn: c}, nil
		},
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: rootCAs},
		TLSHandshakeTimeout:    dialTimeout,
		Protocols:              &protocols,
		MaxIdleConnsPerHost:    kept,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		WriteBufferSize:        writeBuffer,
		// Answers come as they are: under the quota there are too few of them for compression to be worth its time,
		// and nothing small can become huge.
		DisableCompression: true,
	}
}

// proxy is the system's proxy. Its error would repeat the address, which may hold a password.
func proxy(r *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(r)
	if err != nil {
		return nil, errors.New("the proxy's address in the environment is not valid")
	}
	return u, nil
}

// Close closes idle connections. Calls under way go on, and the client may be used again.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// CredentialVersion is a word that becomes another one when the credential does, or "" if the token source can't tell.
// Whoever paused because of a refused credential compares it.
func (c *Client) CredentialVersion() string {
	if v, ok := c.cfg.Token.(interface{ Version() string }); ok {
		return v.Version()
	}
	return ""
}

// workspace is the memory of one call. It is reused: at a full quota buffers would be most of what is allocated.
type workspace struct {
	request, answer []byte
	traces          traces
	doc             document
	matches         matches
}

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

// maxKeptBuffer bounds what a workspace keeps, so that one huge answer does not stay in memory.
const maxKeptBuffer = 1 << 20

func (w *workspace) release() {
	if cap(w.request) > maxKeptBuffer {
		w.request = nil
	}
	if cap(w.answer) > maxKeptBuffer {
		w.answer = nil
	}
	w.doc.release()
	workspaces.Put(w)
}

// exchange sends w.request and says what came of it; w.doc then holds the answer's body, as far as it decodes. The
// class is Answered when the answer is a 2xx that decodes.
func (c *Client) exchange(ctx context.Context, w *workspace, objectType, verb string) (worker.Class, worker.Call) {
	w.doc.reset(nil, nil)
	start := c.now()
	if !pathSafe(objectType) {
		return worker.PauseObjectType, unsent(oneLine(fmt.Sprintf("%q is not an object type; nothing was sent", objectType)))
	}
	class, call := c.send(ctx, w, http.MethodPost, "/crm/objects/"+c.cfg.Version+"/"+objectType+"/batch/"+verb)
	call.Duration = c.now().Sub(start)
	return class, call
}

func (c *Client) send(ctx context.Context, w *workspace, method, path string) (worker.Class, worker.Call) {
	w.answer = w.answer[:0] // of the call before
	token, err := c.cfg.Token.Token(ctx)
	if errors.Is(err, ErrTokenLater) {
		call := unsent(oneLine("nothing was sent: " + err.Error()))
		call.Wait = unwell
		return worker.Unavailable, call
	}
	if err != nil {
		call := unsent(oneLine("no credential, nothing was sent: " + err.Error() +
			"; provide a valid access token, calls go on when it is there"))
		call.Cause = worker.BadCredential
		return worker.PauseAccount, call
	}
	hide := newRedactor(token)
	guard := &writeGuard{now: c.now}
	guard.deadline, _ = ctx.Deadline()
	defer func() {
		if !guard.read.Load() {
			w.request = nil // net/http may still read it, as when an answer comes early: it must not be used again
		}
	}()
	resp, err := c.transport.RoundTrip(c.newRequest(ctx, guard, w.request, token, method, path))
	if err != nil {
		written, kept := guard.close()
		call := unanswered(hide.line("no answer: " + err.Error()))
		switch {
		case written > 0:
			call.Wait = unwell
			return worker.Ambiguous, call
		case !kept: // a kept connection that turned out closed says nothing of the CRM
			call.Wait = unwell
		}
		return worker.Unavailable, call
	}
	defer guard.close()
	defer resp.Body.Close()
	if resp.StatusCode >= 200 {
		w.answer, err = readAnswer(w.answer, resp.Body, resp.ContentLength, c.cfg.MaxAnswerBytes)
	}
	class, call := w.readResponse(resp.StatusCode, resp.Header, hide.bytes(w.answer), err, hide, c.now())
	if resp.StatusCode == http.StatusUnauthorized {
		class = c.refused(ctx, token, &call)
	}
	return class, call
}

// refused is the class of a refused token: if there is another one by now, the call is only to be made again.
func (c *Client) refused(ctx context.Context, token string, call *worker.Call) worker.Class {
	source, ok := c.cfg.Token.(interface {
		Refused(ctx context.Context, token string) error
	})
	if !ok {
		return worker.PauseAccount
	}
	switch err := source.Refused(ctx, token); {
	case err == nil:
		const renewed = "; there is another token by now"
		call.Detail, call.LogDetail = oneLine(call.Detail+renewed), oneLine(call.LogDetail+renewed)
		return worker.Unavailable
	case errors.Is(err, ErrTokenLater):
		later := "; " + err.Error()
		call.Detail, call.LogDetail, call.Wait = oneLine(call.Detail+later), oneLine(call.LogDetail+later), unwell
		return worker.Unavailable
	case err == errSameToken:
	default: // why comes first: the end of a long line is cut off
		why := err.Error() + "; the answer was: "
		call.Detail, call.LogDetail = oneLine(why+call.Detail), oneLine(why+call.LogDetail)
	}
	return worker.PauseAccount
}

func (c *Client) newRequest(
	ctx context.Context, guard *writeGuard, body []byte, token, method, path string,
) *http.Request {
	trace := &httptrace.ClientTrace{
		GotConn:      func(info httptrace.GotConnInfo) { guardedConnOf(info.Conn).attach(guard, info.Reused) },
		WroteRequest: func(httptrace.WroteRequestInfo) { guard.read.Store(true) },
	}
	u := *c.base
	u.Path += path
	r := &http.Request{
		Method: method, URL: &u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"Authorization": {"Bearer " + token},
			"Content-Type":  {"application/json"},
			"Accept":        {"application/json"},
			"User-Agent":    {c.cfg.UserAgent},
		},
		// Without GetBody net/http can't send it a second time. With a reader of any other type it would send the
		// headers first.
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
	return r.WithContext(httptrace.WithClientTrace(ctx, trace))
}

var errTooLong = errors.New("the answer is longer than the limit")

// readAnswer appends the whole body to dst, which has at most limit bytes.
func readAnswer(dst []byte, body io.Reader, length, limit int64) ([]byte, error) {
	if length > limit {
		return dst, errTooLong
	}
	need := 4 << 10
	if length > 0 {
		need = int(length) + 1 // and one to see the end with
	}
	for {
		if cap(dst)-len(dst) == 0 || cap(dst) < need {
			grown := make([]byte, len(dst), max(need, 2*cap(dst)))
			copy(grown, dst)
			dst = grown
		}
		n, err := body.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case int64(len(dst)) > limit:
			return dst[:limit], errTooLong
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return dst, fmt.Errorf("the answer broke off: %w", err)
		}
	}
}

// unanswered describes a call that was made, as far as it went.
func unanswered(detail string) worker.Call {
	return worker.Call{Cause: worker.NoAnswer, Detail: detail, Limits: noLimits}
}

// unsent describes one that was not.
func unsent(detail string) worker.Call {
	call := unanswered(detail)
	call.Unsent = true
	return call
}
