package hubspot

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"
	"time"

	"crmintake/worker"
)

// contracts are a full batch, and the API's answer that creates all of it, in the opposite order.
func contracts() (inputs []worker.Input, body []byte) {
	var results bytes.Buffer
	for i := range MaxInputs {
		properties := fmt.Sprintf(`{"name":"Contract 2026-%d","amount":"1250.00","currency":"EUR","start_date":"2026-02-01",`+
			`"external_id":"c-%06d"}`, i, i)
		inputs = append(inputs, worker.Input{Body: []byte(`{"properties":` + properties + `,"associations":[]}`)})
		if i > 0 {
			results.WriteByte(',')
		}
		fmt.Fprintf(&results, `{"id":"%d","properties":%s,"createdAt":"2026-02-01T00:00:00.000Z",`+
			`"updatedAt":"2026-02-01T00:00:00.000Z",`+
			`"archived":false,"objectWriteTraceId":"i%d"}`, 171591000198+i, properties, MaxInputs-1-i)
	}
	return inputs, []byte(complete(`"results":[` + results.String() + `]`))
}

// BenchmarkEncode100 is the request of a full batch.
func BenchmarkEncode100(b *testing.B) {
	inputs, _ := contracts()
	w := workspaces.Get().(*workspace)
	defer w.release()
	b.ReportAllocs()
	for b.Loop() {
		w.traces.assign(inputs)
		var err error
		if w.request, err = encodeCreate(w.request[:0], inputs, w.traces.sent); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(w.request)))
}

// BenchmarkAccount100 reads an answer and finds the input of each result.
func BenchmarkAccount100(b *testing.B) {
	inputs, body := contracts()
	header, hide, now := http.Header{}, newRedactor("pat-na1-00000000-0000-0000-0000-000000000000"), time.Unix(0, 0)
	w := workspaces.Get().(*workspace)
	defer w.release()
	w.traces.assign(inputs)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		a := worker.Answer{Outcomes: make([]worker.Outcome, len(inputs))}
		a.Class, a.Call = w.readResponse(201, header, hide.bytes(body), nil, hide, now)
		w.assignOutcomes(&a, inputs, "", false)
		if a.Outcomes[0].Verdict != worker.Created {
			b.Fatal(words(a.Outcomes))
		}
	}
}
