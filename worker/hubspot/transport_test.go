package hubspot

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"crmintake/deploy/local/parallel"
	"crmintake/worker"
)

func TestMain(m *testing.M) {
	parallel.Default()
	goleak.VerifyTestMain(m)
}

const okBody = `{"status":"COMPLETE","results":[{"id":"1","objectWriteTraceId":"ta"},{"id":"2",` +
	`"objectWriteTraceId":"tb"},{"id":"3","objectWriteTraceId":"i2"}]}`

// The request, to the byte.
func TestCreateRequest(t *testing.T) {
	const want = `{"inputs":[` +
		`{"objectWriteTraceId":"t\"1","associations":[],"properties":{"a":"1"}},` +
		`{"objectWriteTraceId":"i1","associations":[],"properties":{"a":"2"}},` + // the same id twice
		`{"objectWriteTraceId":"i2-0","associations":[],"properties":{"a":"3"}},` + // i2 is somebody's own
		`{"objectWriteTraceId":"i2","associations":[],"properties":{"a":"4"}},` +
		`{"objectWriteTraceId":"i4","associations":[],"properties":{"a":"5"}},` +
		`{"objectWriteTraceId":"i5"}]}` // not UTF-8
	inputs := []worker.Input{
		{TraceID: `t"1`, Body: []byte(`{"associations":[],"properties":{"a":"1"}}`)},
		{TraceID: "twice", Body: []byte(`{"associations":[],"properties":{"a":"2"}}`)},
		{Body: []byte(`{"associations":[],"properties":{"a":"3"}}`)},
		{TraceID: "i2", Body: []byte(`{"associations":[],"properties":{"a":"4"}}`)},
		{TraceID: "twice", Body: []byte(`{"associations":[],"properties":{"a":"5"}}`)},
		{TraceID: "\xff", Body: []byte(`{}`)},
	}
	var got []string
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, r.Method+" "+r.URL.Path+" "+r.Proto, r.Header.Get("Authorization"), r.Header.Get("Content-Type"),
			r.Header.Get("Accept-Encoding"), r.UserAgent(), string(body))
	}, func(c *Config) { c.BaseURL += "/base/"; c.Version = "v3"; c.UserAgent = "me" })
	c.Create(t.Context(), "2-123", inputs)
	for i, w := range []string{"POST /base/crm/objects/v3/2-123/batch/create HTTP/1.1", "Bearer pat-test",
		"application/json", "", "me", want} {
		if i >= len(got) || got[i] != w {
			t.Errorf("got %q, want %q", got, w)
		}
	}
}

// peer is a server that does with its connections what it likes.
func peer(t *testing.T, serve func(n int, c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { defer c.Close(); serve(n, c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return "http://" + l.Addr().String()
}

func to(t *testing.T, url string) *Client {
	t.Helper()
	c, err := New(Config{BaseURL: url, Token: StaticToken("pat-test")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// readRequest reads one whole request.
func readRequest(r *bufio.Reader) error {
	req, err := http.ReadRequest(r)
	if err == nil {
		_, err = io.Copy(io.Discard, req.Body)
	}
	return err
}

func reset(c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// What a call without an answer, or with a part of one, means.
func TestBrokenExchanges(t *testing.T) {
	head := "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"
	refused := func(*testing.T) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return "http://" + l.Addr().String()
	}
	after := func(answer string) func(*testing.T) string {
		return func(t *testing.T) string {
			return peer(t, func(_ int, c net.Conn) {
				if readRequest(bufio.NewReader(c)) == nil {
					_, _ = io.WriteString(c, answer)
				}
			})
		}
	}
	for _, x := range []struct {
		name  string
		peer  func(*testing.T) string
		class worker.Class
	}{
		{"refused", refused, worker.Unavailable},
		{"closed after the request", after(""), worker.Ambiguous},
		{"reset after the request", func(t *testing.T) string {
			return peer(t, func(_ int, c net.Conn) { _ = readRequest(bufio.NewReader(c)); reset(c) })
		}, worker.Ambiguous},
		{"reset in the middle of the request", func(t *testing.T) string {
			return peer(t, func(_ int, c net.Conn) { _, _ = c.Read(make([]byte, 1)); reset(c) })
		}, worker.Ambiguous},
		{"no HTTP", after("hello\r\n\r\n"), worker.Ambiguous},
		{"headers that end early", after(head), worker.Ambiguous},
		{"body that ends early", after(head + "Content-Length: 500\r\n\r\n" + okBody), worker.Ambiguous},
		{"chunks that end early", after(head + "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"res"), worker.Ambiguous},
		{"body until the connection ends, complete", after(head + "\r\n" + okBody), worker.Answered},
		{"body until the connection ends, cut", after(head + "\r\n" + okBody[:len(okBody)-1]), worker.Ambiguous},
		{"a refusal whose body ends early", after("HTTP/1.1 400 Bad\r\nContent-Length: 500\r\n\r\n{"), worker.Refused},
		{"a length beyond the limit", after(head + "Content-Length: 99999999999\r\n\r\n{}"), worker.Ambiguous},
		{"another protocol, which waits for us", func(t *testing.T) string {
			return peer(t, func(_ int, c net.Conn) {
				r := bufio.NewReader(c)
				if readRequest(r) == nil {
					_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
					_, _ = r.ReadByte() // until the client hangs up
				}
			})
		}, worker.Ambiguous},
		{"headers without end", after(head + strings.Repeat("X: y\r\n", maxHeaderBytes/6+1)), worker.Ambiguous},
	} {
		t.Run(x.name, func(t *testing.T) {
			a := to(t, x.peer(t)).Create(t.Context(), "contacts", three())
			if a.Class != x.class || a.Class != worker.Answered && a.Call.Detail == "" {
				t.Errorf("class %v, want %v: %+v", a.Class, x.class, a.Call)
			}
			checkLaws(t, a, 3)
		})
	}
}

// A call that waits for its answer ends with its context.
func TestTimeout(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	url := peer(t, func(_ int, c net.Conn) {
		r := bufio.NewReader(c)
		_ = readRequest(r)
		cancel()
		_, _ = r.ReadByte() // until the client hangs up
	})
	if a := to(t, url).Create(ctx, "contacts", three()); a.Class != worker.Ambiguous {
		t.Errorf("class %v: %s", a.Class, a.Call.Detail)
	}
}

// A context that is over, or a clock that is past the deadline once the connection is there, lets no byte out.
func TestNothingAfterTheDeadline(t *testing.T) {
	var bytes atomic.Int64
	url := peer(t, func(_ int, c net.Conn) { n, _ := io.Copy(io.Discard, c); bytes.Add(n) })
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if a := to(t, url).Create(over, "contacts", three()); a.Class != worker.Unavailable {
		t.Errorf("class %v: %s", a.Class, a.Call.Detail)
	}
	deadline := time.Now().Add(time.Hour)
	ctx, cancel := context.WithDeadline(t.Context(), deadline)
	defer cancel()
	for name, now := range map[string]time.Time{
		"both clocks":     deadline.Add(time.Second),
		"the wall clock":  deadline.Round(0),
		"just on the dot": deadline,
	} {
		c := to(t, url)
		c.now = func() time.Time { return now }
		a := c.Create(ctx, "contacts", three())
		if a.Class != worker.Unavailable || !strings.Contains(a.Call.Detail, errDeadline.Error()) {
			t.Errorf("%s: class %v: %s", name, a.Class, a.Call.Detail)
		}
		c.Close()
	}
	if n := bytes.Load(); n != 0 {
		t.Errorf("%d bytes left", n)
	}
}

// halting is a connection whose writes stop for as long as the test likes.
type halting struct {
	net.Conn
	began, goOn chan struct{}
}

func (h halting) Write(b []byte) (int, error) {
	close(h.began)
	<-h.goOn
	return len(b), nil
}

// A write that is under way counts as written, and none begins once the guard is closed.
func TestWriteGuard(t *testing.T) {
	h := halting{began: make(chan struct{}), goOn: make(chan struct{})}
	c, g := &guardedConn{Conn: h}, &writeGuard{now: time.Now}
	c.attach(g, true)
	done := make(chan error)
	go func() { _, err := c.Write([]byte("abc")); done <- err }()
	<-h.began
	if written, kept := g.close(); written != 3 || !kept {
		t.Errorf("written %d, kept %v", written, kept)
	}
	close(h.goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n, err := c.Write([]byte("d")); n != 0 || err != errOver {
		t.Errorf("%d, %v after close", n, err)
	}
}

// stuck is a connection whose writes go on after it was closed.
type stuck struct{ net.Conn }

func (stuck) Close() error { return nil }

// What net/http is still reading is not used again: a request whose answer came before it was sent.
func TestRequestIsLeftAlone(t *testing.T) {
	answered := make(chan struct{})
	c := to(t, "http://127.0.0.1:1")
	var ends []net.Conn
	c.transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe() // which has no buffer
		ends = append(ends, ours, theirs)
		go func() {
			_, _ = theirs.Read(make([]byte, 1))
			_, _ = io.WriteString(theirs, "HTTP/1.1 201 Created\r\nContent-Length: "+strconv.Itoa(len(okBody))+"\r\n\r\n"+okBody)
			<-answered
			_, _ = io.Copy(io.Discard, theirs)
		}()
		return &guardedConn{Conn: stuck{ours}}, nil
	}
	w := &workspace{request: make([]byte, 2*writeBuffer)}
	if class, call := c.exchange(t.Context(), w, "contacts", "create"); class != worker.Answered {
		t.Errorf("class %v: %s", class, call.Detail)
	}
	if w.request != nil {
		t.Error("the buffer could be used again while it is being sent")
	}
	close(answered)
	for _, end := range ends {
		_ = end.Close()
	}

	w.request = make([]byte, 100)
	c = client(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, okBody)
	})
	if c.exchange(t.Context(), w, "contacts", "create"); w.request == nil {
		t.Error("the buffer of a usual request is not used again")
	}
}

// An answer whose body is not read, as that of a 101, is not judged by the body of the call before.
func TestAnswerWithoutABody(t *testing.T) {
	const body = `{"category":"VALIDATION_ERROR","correlationId":"of-call-1","message":"of call 1"}`
	c := to(t, peer(t, func(_ int, c net.Conn) {
		r := bufio.NewReader(c)
		if readRequest(r) == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"+body)
		}
		if readRequest(r) == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		}
	}))
	w := new(workspace)
	for _, want := range []int{400, 101} {
		w.request = make([]byte, 100)
		_, call := c.exchange(t.Context(), w, "contacts", "create")
		if had := call.CorrelationID != "" || len(call.Raw) > 0; call.Status != want || had != (want == 400) {
			t.Errorf("%d: %s, %q, %q", call.Status, call.Detail, call.CorrelationID, call.Raw)
		}
	}
}

// One call is one request, also when the server has hung up on a kept connection just then.
func TestKeptConnectionHungUp(t *testing.T) {
	var requests atomic.Int64
	url := peer(t, func(n int, c net.Conn) {
		r := bufio.NewReader(c)
		for i := 0; readRequest(r) == nil; i++ {
			requests.Add(1)
			if n == 0 && i == 1 {
				return // reads the second request, and hangs up
			}
			_, _ = io.WriteString(c, "HTTP/1.1 201 Created\r\nContent-Length: "+strconv.Itoa(len(okBody))+"\r\n\r\n"+okBody)
		}
	})
	c := to(t, url)
	for i, want := range []worker.Class{worker.Answered, worker.Ambiguous, worker.Answered} {
		if a := c.Create(t.Context(), "contacts", three()); a.Class != want {
			t.Errorf("call %d: class %v: %s", i, a.Class, a.Call.Detail)
		}
		if got := requests.Load(); got != int64(i+1) {
			t.Fatalf("%d requests after %d calls", got, i+1)
		}
	}
}

// A redirect is not followed, and the token goes nowhere else.
func TestRedirect(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("followed") }))
	defer elsewhere.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		c := client(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, status) })
		if a := c.Create(t.Context(), "contacts", three()); a.Class != worker.PauseObjectType {
			t.Errorf("%d: class %v", status, a.Class)
		}
	}
}

func TestTLS(t *testing.T) {
	requests := 0
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		if r.Proto != "HTTP/1.1" {
			t.Error(r.Proto)
		}
		w.WriteHeader(201)
		_, _ = io.WriteString(w, okBody)
	}))
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	roots := server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs

	unknown := to(t, server.URL)
	if a := unknown.Create(t.Context(), "contacts", three()); a.Class != worker.Unavailable || requests != 0 {
		t.Errorf("unknown authority: class %v, %d requests: %s", a.Class, requests, a.Call.Detail)
	}
	known, err := New(Config{BaseURL: server.URL, Token: StaticToken("pat-test"), RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer known.Close()
	for range 2 { // on one connection
		if a := known.Create(t.Context(), "contacts", three()); a.Class != worker.Answered {
			t.Errorf("class %v: %s", a.Class, a.Call.Detail)
		}
	}
	plain := peer(t, func(_ int, c net.Conn) { _, _ = c.Read(make([]byte, 5)) })
	noTLS, err := New(Config{BaseURL: strings.Replace(plain, "http:", "https:", 1), Token: StaticToken("pat-test")})
	if err != nil {
		t.Fatal(err)
	}
	defer noTLS.Close()
	if a := noTLS.Create(t.Context(), "contacts", three()); a.Class != worker.Unavailable {
		t.Errorf("no handshake: class %v: %s", a.Class, a.Call.Detail)
	}
}

// Many calls at once do not mix their answers, and keep their connections.
func TestConcurrentCalls(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, trace, _ := strings.Cut(string(body), `"objectWriteTraceId":"`)
		trace, _, _ = strings.Cut(trace, `"`)
		w.WriteHeader(201)
		_, _ = io.WriteString(w, complete(`"results":[{"id":"`+trace+`","objectWriteTraceId":"`+trace+`"}]`))
	})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			id := "id-" + strconv.Itoa(i)
			for range 50 {
				a := c.Create(t.Context(), "contacts", []worker.Input{{TraceID: id, Body: []byte(`{}`)}})
				if a.Outcomes[0].RecordID != id {
					t.Errorf("%s: %+v", id, a)
				}
			}
		})
	}
	all.Wait()
}

const marker = "pat-na1-MARKER/secret=="

func TestNewRefusesBadConfig(t *testing.T) {
	if _, err := New(Config{BaseURL: "http://api.hubapi.com"}); err == nil || !strings.Contains(err.Error(), "token") ||
		!strings.Contains(err.Error(), "plain http") {
		t.Errorf("error %v", err)
	}
}

// What was never sent is told apart from a call that came to nothing.
func TestUnsent(t *testing.T) {
	gone := client(t, func(http.ResponseWriter, *http.Request) {}, func(c *Config) { c.BaseURL = "http://127.0.0.1:1" })
	without := client(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") },
		func(c *Config) { c.Token = failing{io.EOF} })
	later := client(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") },
		func(c *Config) { c.Token = failing{ErrTokenLater} })
	inputs := []worker.Input{{Body: []byte(`{"properties":{}}`)}}
	for name, c := range map[string]struct {
		answer worker.Answer
		class  worker.Class
		unsent bool
	}{
		"no server":      {gone.Create(t.Context(), "contacts", inputs), worker.Unavailable, false},
		"no credential":  {without.Create(t.Context(), "contacts", inputs), worker.PauseAccount, true},
		"none for now":   {later.Create(t.Context(), "contacts", inputs), worker.Unavailable, true},
		"no object type": {without.Create(t.Context(), "con/tacts", inputs), worker.PauseObjectType, true},
		"no inputs":      {without.Create(t.Context(), "contacts", nil), worker.Refused, true},
	} {
		if c.answer.Class != c.class || c.answer.Call.Unsent != c.unsent {
			t.Errorf("%s: %v, unsent %v (%s)", name, c.answer.Class, c.answer.Call.Unsent, c.answer.Call.Detail)
		}
	}
}

// failing is a credential that can't be had.
type failing struct{ err error }

func (f failing) Token(context.Context) (string, error) { return "", f.err }
