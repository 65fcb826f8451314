package hubspot

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"
	"time"

	"crmintake/worker"
)

// BenchmarkCreateAccount is what a call costs beside the wire: the request of 100 events, and the account of 100
// results.
func BenchmarkCreateAccount(b *testing.B) {
	var inputs []worker.Input
	var results bytes.Buffer
	for i := range MaxInputs {
		properties := fmt.Sprintf(`{"hs_object_source":"billing","name":"Contract 2026-%d","amount":"1250.00",`+
			`"currency":"EUR",`+
			`"start_date":"2026-02-01","end_date":"2027-01-31","external_id":"c-%06d","auto_renew":"true"}`, i, i)
		inputs = append(inputs, worker.Input{Body: []byte(`{"associations":[{"to":{"id":"9876543210"},` +
			`"types":[{"associationCategory":` +
			`"HUBSPOT_DEFINED","associationTypeId":341}]}],"properties":` + properties + `}`)})
		if i > 0 {
			results.WriteByte(',')
		}
		fmt.Fprintf(&results, `{"id":"%d","properties":%s,"createdAt":"2026-02-01T00:00:00.000Z",`+
			`"updatedAt":"2026-02-01T00:00:00.000Z",`+
			`"archived":false,"url":"https://app.hubspot.com/contacts/1/record/0-721/%d","objectWriteTraceId":"i%d"}`,
			171591000198+i, properties, 171591000198+i, MaxInputs-1-i)
	}
	body := []byte(complete(`"results":[` + results.String() + `]`))
	header := http.Header{"X-Hubspot-Ratelimit-Max": {"190"}, "X-Hubspot-Ratelimit-Remaining": {"180"}}
	hide, now := newRedactor("pat-na1-00000000-0000-0000-0000-000000000000"), time.Unix(0, 0)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		w := workspaces.Get().(*workspace)
		w.traces.assign(inputs)
		w.request, _ = encodeCreate(w.request[:0], inputs, w.traces.sent)
		a := worker.Answer{Outcomes: make([]worker.Outcome, len(inputs))}
		a.Class, a.Call = w.readResponse(201, header, hide.bytes(body), nil, hide, now)
		w.assignOutcomes(&a, inputs, "", false)
		if a.Outcomes[0].Verdict != worker.Created {
			b.Fatal(words(a.Outcomes))
		}
		w.release()
	}
}
