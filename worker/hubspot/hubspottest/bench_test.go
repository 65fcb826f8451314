package hubspottest_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"crmintake/worker/hubspot/hubspottest"
)

// BenchmarkCreate100 makes calls of 100 inputs of 300 bytes, without the network and the HTTP client: they share the
// machine with what is measured, so the simulator should cost little.
func BenchmarkCreate100(b *testing.B) {
	c, err := hubspottest.New(hubspottest.Config{
		Token: token, ObjectTypes: map[string]hubspottest.ObjectType{"contacts": {Unique: []string{"event_id"}}},
	})
	if err != nil {
		b.Fatal(err)
	}
	// Each call has other event ids, of the same length.
	const mark = "00000000"
	var inputs []string
	for i := range 100 {
		inputs = append(inputs, fmt.Sprintf(`"event_id":"%s-%02d","email":"someone.%d@example.com","firstname":"Some",`+
			`"lastname":"One",`+
			`"city":"Wherever it is that they live","note":"%s"`, mark, i, i, strings.Repeat("n", 80)))
	}
	template := []byte(batch(inputs...))
	b.SetBytes(int64(len(template)))
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		body := bytes.ReplaceAll(template, []byte(mark), fmt.Appendf(nil, "%08d", n))
		r, err := http.NewRequest(http.MethodPost, "/crm/objects/2026-03/contacts/batch/create", bytes.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		w := sink{header: make(http.Header)}
		c.ServeHTTP(&w, r)
		if w.status != http.StatusCreated {
			b.Fatalf("answered %d", w.status)
		}
	}
}

// sink throws the answer's body away.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(p []byte) (int, error) { return io.Discard.Write(p) }
