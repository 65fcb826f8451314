package hubspottest

import (
	"bytes"
	"net"
	"net/http"
	"strconv"
	"time"
)

// refuse answers a request that breaks the API's rules of form.
func (x *exchange) refuse(status int, p *problem) {
	x.malformed = true
	x.fail(status, p)
}

// fail answers with an Error object.
func (x *exchange) fail(status int, p *problem) {
	x.out = p.body(x.out, x.turn.correlationID)
	x.json(status)
}

// stand answers with the fault's status in place of the API's own answer.
func (x *exchange) stand() {
	h := x.w.Header()
	if x.effect.retryAfter {
		seconds := (x.crm.cfg.RetryAfter + time.Second - 1) / time.Second
		h.Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
	status := x.effect.status
	if x.effect.policy != "" {
		x.out = throttled(x.out, x.effect.policy, x.turn.correlationID)
		x.json(status)
		return
	}
	if p, ok := standing[status]; ok {
		x.fail(status, &p)
		return
	}
	for name := range h {
		delete(h, name) // the edge knows nothing of quotas
	}
	h.Set("Content-Type", "text/html; charset=UTF-8")
	x.out = append(x.out, page...)
	x.write(status)
}

func (x *exchange) json(status int) {
	x.w.Header()["Content-Type"] = []string{"application/json;charset=utf-8"}
	x.write(status)
}

// write sends the answer's body as it is.
func (x *exchange) write(status int) {
	x.w.Header()["Content-Length"] = []string{strconv.Itoa(len(x.out))}
	x.record(status)
	x.w.WriteHeader(status)
	_, _ = x.w.Write(x.out)
}

// send sends the answer to a call that was worked on, which some faults make unreadable.
func (x *exchange) send(status int) {
	h := x.w.Header()
	switch x.effect.fault {
	case HTMLBody:
		h.Set("Content-Type", "text/html; charset=UTF-8")
		x.out = append(x.out[:0], page...)
		x.write(status)
	case EmptyBody:
		x.out = x.out[:0]
		x.json(status)
	case TruncatedBody:
		h.Set("Content-Length", strconv.Itoa(len(x.out)))
		h.Set("Content-Type", "application/json;charset=utf-8")
		x.record(status)
		x.w.WriteHeader(status)
		_, _ = x.w.Write(x.out[:len(x.out)/2])
		_ = http.NewResponseController(x.w).Flush()
		panic(http.ErrAbortHandler)
	case LargeBody:
		x.large(status)
	default:
		x.json(status)
	}
}

// large sends the answer with blanks after its first byte.
func (x *exchange) large(status int) {
	h := x.w.Header()
	rest := x.crm.cfg.LargeAnswer - int64(len(x.out))
	h.Set("Content-Length", strconv.FormatInt(int64(len(x.out))+max(rest, 0), 10))
	h.Set("Content-Type", "application/json;charset=utf-8")
	x.record(status)
	x.w.WriteHeader(status)
	if _, err := x.w.Write(x.out[:1]); err != nil {
		return
	}
	blanks := bytes.Repeat([]byte{' '}, 64<<10)
	for rest > 0 {
		n, err := x.w.Write(blanks[:min(rest, int64(len(blanks)))])
		if err != nil {
			return // the client has had enough
		}
		rest -= int64(n)
	}
	_, _ = x.w.Write(x.out[1:])
}

// wait waits for d. It aborts the exchange when gone or the Server are closed before that.
func (x *exchange) wait(d time.Duration, gone <-chan struct{}) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-gone:
		panic(http.ErrAbortHandler)
	case <-x.crm.stop:
		panic(http.ErrAbortHandler)
	}
}

// reset breaks the connection without an answer.
func (x *exchange) reset() {
	x.record(0)
	conn, _, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a reset, and not an orderly end
	}
	_ = conn.Close()
}
