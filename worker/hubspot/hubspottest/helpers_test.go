package hubspottest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"crmintake/deploy/local/parallel"
	"crmintake/worker/hubspot/hubspottest"
)

func TestMain(m *testing.M) {
	parallel.Default()
	goleak.VerifyTestMain(m)
}

const token = "a-token"

// start starts a server that ends with the test. Contacts have a unique email and event_id, and count origin.
func start(t testing.TB, cfg hubspottest.Config) *hubspottest.Server {
	t.Helper()
	cfg.Token = token
	if cfg.ObjectTypes == nil {
		cfg.ObjectTypes = map[string]hubspottest.ObjectType{
			"contacts": {
				Properties: []string{"name", "city"}, Unique: []string{"email", "event_id"}, Counted: []string{"origin"},
			},
			"0-721": {ReadOnly: true},
			"deals": {Required: []string{"name"}},
		}
	}
	s, err := hubspottest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// client keeps no connections, so that each call meets one of its own.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

type answer struct {
	status int
	header http.Header
	raw    []byte
	err    error // of reading the body

	StartedAt, CompletedAt string
	Status                 string
	Results                []result
	Errors                 []apiError
	NumErrors              int
	Message, Category      string
	CorrelationID          string
	Error                  string
	Context                json.RawMessage
	ErrorType, PolicyName  string
}

type result struct {
	ID                 string
	Properties         map[string]*string
	CreatedAt          string
	Archived           bool
	ObjectWriteTraceID *string
}

type apiError struct {
	Status, Category, Message string
	Error, ErrorType          string
	Context, SubCategory      json.RawMessage
}

// names tells the trace ids that the error names.
func (e apiError) names(t testing.TB) []string {
	var c struct{ ObjectWriteTraceID []string }
	if err := json.Unmarshal(e.Context, &c); err != nil {
		t.Fatalf("context %s: %v", e.Context, err)
	}
	return c.ObjectWriteTraceID
}

// request makes a good request, which tests then spoil.
func request(t testing.TB, s *hubspottest.Server, path, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/crm/objects/2026-03/"+path,
		strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	return r
}

// do sends a request; the error is for want of an answer.
func do(r *http.Request) (answer, error) {
	resp, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	a.raw, a.err = io.ReadAll(resp.Body)
	_ = json.Unmarshal(a.raw, &a)
	return a, nil
}

// post sends a body to a path and wants an answer.
func post(t testing.TB, s *hubspottest.Server, path, body string) answer {
	t.Helper()
	a, err := do(request(t, s, path, body))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// batch makes the body of a create. Each input is its properties as JSON members; trace ids are t0, t1 and so on.
func batch(inputs ...string) string { return body(true, inputs) }

// untraced is a batch without trace ids.
func untraced(inputs ...string) string { return body(false, inputs) }

func body(traced bool, inputs []string) string {
	var b strings.Builder
	for i, in := range inputs {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"associations":[],"properties":{%s}`, in)
		if traced {
			fmt.Fprintf(&b, `,"objectWriteTraceId":"t%d"`, i)
		}
		b.WriteByte('}')
	}
	return `{"inputs":[` + b.String() + `]}`
}

// many makes n inputs with event ids e0, e1 and so on, of one origin.
func many(n int) []string {
	inputs := make([]string, n)
	for i := range inputs {
		inputs[i] = fmt.Sprintf(`"event_id":"e%d","origin":"o%d"`, i, i)
	}
	return inputs
}

// readBody makes the body of a read by an id property.
func readBody(property string, values ...string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = fmt.Sprintf(`{"id":%q}`, v)
	}
	return fmt.Sprintf(`{"idProperty":%q,"inputs":[%s],"properties":[%q],"propertiesWithHistory":[]}`,
		property, strings.Join(quoted, ","), property)
}
