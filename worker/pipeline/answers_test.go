package pipeline_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crmintake/outbox"
	"crmintake/worker/hubspot"
	"crmintake/worker/hubspot/hubspottest"
	"crmintake/worker/pipeline"
)

// What users report of real accounts' answers, and what becomes of the events: no record is denied by its row, none is claimed by two, and
// nothing stays undecided.

const sourceID = "source_event_id"

// dealing is an account whose deals have a unique property that publishers set themselves.
func dealing() hubspottest.Config {
	return hubspottest.Config{KeepProperties: true, ObjectTypes: map[string]hubspottest.ObjectType{
		"deals":    {Properties: []string{"dealname", "ext", "secret"}, Unique: []string{sourceID, "old_id"}, Counted: []string{"dealname"}},
		"contacts": {Properties: []string{"firstname"}, Unique: []string{"email"}},
	}}
}

func dealingConfig() pipeline.Config {
	cfg := config()
	cfg.IDProperty = map[string]string{"deals": sourceID}
	cfg.Retry = pipeline.Retry{Initial: 20 * time.Millisecond, Max: 100 * time.Millisecond, Attempts: 6}
	return cfg
}

func deal(id, properties string) message {
	return message{"deals", id, `{"properties":{` + properties + `}}`}
}

func threeDeals() (list []message) {
	for n := 1; n <= 3; n++ {
		list = append(list, deal(fmt.Sprint("d", n), fmt.Sprintf(`"dealname":"Deal %d","source_event_id":"E-%d"`, n, n)))
	}
	return list
}

var conflictForms = []hubspottest.Fault{
	hubspottest.None, hubspottest.ConflictWithoutID, hubspottest.ConflictAsValidation, hubspottest.ConflictAsCoordinates, hubspottest.ConflictAsExists,
	hubspottest.ConflictAsErrorType, hubspottest.ConflictWhole, hubspottest.ConflictWholeWithoutID, hubspottest.ConflictWholeValidation,
	hubspottest.ConflictWholeCoordinates, hubspottest.ConflictWholeExists, hubspottest.ConflictWholeErrorType,
}

// met lets each create call that has no script meet a fault.
func (r *rig) met(f hubspottest.Fault) {
	if f != hubspottest.None {
		r.must(r.crm.SetRates(map[hubspottest.Fault]float64{f: 1}))
	}
}

// lateReads has the first reads of the CRM find nothing of what is there already.
func (r *rig) lateReads(n int32) {
	crm := r.crm.CRM
	var reads atomic.Int32
	r.answer(func(w http.ResponseWriter, req *http.Request) {
		if !strings.HasSuffix(req.URL.Path, "/batch/read") || reads.Add(1) > n {
			crm.ServeHTTP(w, req)
			return
		}
		body, _ := io.ReadAll(req.Body)
		var ids []string
		for _, part := range strings.Split(string(body), `{"id":`)[1:] {
			ids = append(ids, part[:strings.Index(part, "}")])
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusMultiStatus)
		fmt.Fprintf(w, `{"status":"COMPLETE","results":[],"numErrors":1,"errors":[{"status":"error","category":"OBJECT_NOT_FOUND",`+
			`"message":"Could not get some objects","context":{"ids":[%s]}}]}`, strings.Join(ids, ","))
	})
}

// A call was applied and broke off, two reads don't see its records yet, and sending again is refused because they are there: in whatever
// form, they are the events' own.
func TestConflictWithOnesOwnRecord(t *testing.T) {
	t.Parallel()
	for _, form := range conflictForms {
		t.Run(string(form), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, dealing())
			r.lateReads(2)
			r.crm.Script(hubspottest.BreakAfter)
			r.met(form)
			r.publish(threeDeals()...)
			r.drain(dealingConfig())
			r.exactlyOnce("deals", 3)
			r.expect(`SELECT count(DISTINCT record_id), bool_and(in_doubt) FROM outbox`, "3 true")
		})
	}
}

// A record that was there before is another's: its row is told so, or adopts it if that is wanted; but one record is one event's.
func TestConflictWithAnothersRecord(t *testing.T) {
	t.Parallel()
	for _, form := range conflictForms {
		t.Run(string(form), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, dealing())
			id, err := r.crm.Add("deals", map[string]string{"dealname": "theirs", sourceID: "E-1"}, time.Now().Add(-time.Hour))
			r.must(err)
			r.met(form)
			r.publish(threeDeals()...)
			r.drain(dealingConfig())
			r.expect(`SELECT event_id, status, reason, in_doubt FROM outbox ORDER BY 1`, "d1 dead conflict false", "d2 created <nil> false", "d3 created <nil> false")

			adopting := dealingConfig()
			adopting.OnConflict = pipeline.Adopt
			r.publish(deal("a1", `"dealname":"Deal 1","source_event_id":"E-1"`), deal("a2", `"dealname":"Deal 1","source_event_id":"E-1"`))
			r.drain(adopting)
			r.expect(`SELECT status, reason, record_id FROM outbox WHERE event_id LIKE 'a%' ORDER BY status`, "created <nil> "+id, "dead conflict <nil>")
		})
	}
}

// A record of an event without an id property, found by another unique value after a call in doubt, is its own if it holds what was sent.
func TestConflictWithoutAnIDProperty(t *testing.T) {
	t.Parallel()
	r := newRig(t, dealing())
	_, err := r.crm.Add("contacts", map[string]string{"firstname": "Ann", "email": "old@x.example"}, time.Now().Add(-time.Hour))
	r.must(err)
	r.crm.Script(hubspottest.BreakAfter)
	contact := func(id, name, email string) message {
		return message{"contacts", id, fmt.Sprintf(`{"properties":{"firstname":%q,"email":%q}}`, name, email)}
	}
	r.publish(contact("own", "Bob", "Bob@x.example"), contact("theirs", "Ann", "old@x.example"))
	cfg := dealingConfig()
	cfg.OnUnknown = pipeline.Resend
	r.drain(cfg)
	r.expect(`SELECT event_id, status, reason, possible_duplicate FROM outbox ORDER BY 1`, "own created <nil> true", "theirs dead conflict true")
	if n := r.crm.Len("contacts"); n != 2 {
		t.Errorf("%d contacts, want 2", n)
	}
}

// Two events with one unique value: at most one has its record, and it is the one whose properties the record holds.
func TestTwoEventsOneValue(t *testing.T) {
	t.Parallel()
	one, two := deal("one", `"ext":"T-1","source_event_id":"SAME"`), deal("two", `"ext":"T-2","source_event_id":"SAME"`)
	alike := deal("alike", `"ext":"T-1","source_event_id":"SAME"`)
	bare, bareToo := deal("bare", `"source_event_id":"SAME"`), deal("bare too", `"source_event_id":"SAME"`)
	for name, c := range map[string]struct {
		first, then []message // each in calls of its own, the second ones when the first are settled
		break1      bool      // the first call is applied and breaks off
		want        []string
	}{
		"in one call":            {[]message{one, two}, nil, true, []string{"one created <nil>", "two dead conflict"}},
		"the other way round":    {[]message{two, one}, nil, true, []string{"one created <nil>", "two dead conflict"}},
		"the same but for an id": {[]message{one, alike}, nil, true, []string{"alike dead unknown_outcome", "one dead unknown_outcome"}},
		"nothing but the value":  {[]message{bare, bareToo}, nil, true, []string{"bare dead unknown_outcome", "bare too dead unknown_outcome"}},
		"after one was created":  {[]message{one}, []message{two}, false, []string{"one created <nil>", "two dead conflict"}},
		"after one was found":    {[]message{one}, []message{two}, true, []string{"one created <nil>", "two dead conflict"}},
		"with the same contents": {[]message{one}, []message{alike}, true, []string{"alike dead conflict", "one created <nil>"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, dealing())
			if c.break1 {
				r.crm.Script(hubspottest.BreakAfter)
			}
			r.publish(c.first...)
			r.drain(dealingConfig())
			if len(c.then) > 0 {
				r.crm.Script(hubspottest.BreakAfter)
				r.publish(c.then...)
				r.drain(dealingConfig())
			}
			r.expect(`SELECT event_id, status, reason FROM outbox ORDER BY 1`, c.want...)
			if n := r.crm.Len("deals"); n != 1 {
				t.Errorf("%d records", n)
			}
			if got, ok := r.crm.Find("deals", sourceID, "SAME"); ok && strings.Contains(c.want[0]+c.want[len(c.want)-1], "one created") && got.Properties["ext"] != "T-1" {
				t.Errorf("the record of one holds %v", got.Properties)
			}
		})
	}
}

// Two calls at once whose events have one value, both in doubt, by two workers.
func TestTwoCallsOneValue(t *testing.T) {
	t.Parallel()
	r := newRig(t, dealing())
	r.crm.Script(hubspottest.BreakAfter, hubspottest.BreakAfter)
	r.publish(deal("one", `"ext":"T-1","source_event_id":"SAME"`), deal("two", `"ext":"T-2","source_event_id":"SAME"`))
	cfg := dealingConfig()
	cfg.Batch.Size = 1
	cfg.Drain = true
	other := cfg
	other.Name = "other"
	a, b := r.start(cfg, hubspot.StaticToken(token)), r.start(other, hubspot.StaticToken(token))
	a.wait()
	b.wait()
	got, ok := r.crm.Find("deals", sourceID, "SAME")
	if !ok {
		t.Fatal("no record")
	}
	winner := map[string]string{"T-1": "one", "T-2": "two"}[got.Properties["ext"]]
	r.expect(`SELECT event_id, record_id FROM outbox WHERE status = 'created'`, winner+" "+got.ID)
	r.expect(`SELECT status, reason FROM outbox WHERE status <> 'created'`, "dead conflict")
}

// Reads that leave open what became of some: nothing is sent again on the strength of silence, and everything ends.
func TestReadsThatTellLittle(t *testing.T) {
	t.Parallel()
	for fault, missingAreFound := range map[hubspottest.Fault]bool{
		hubspottest.ReadEmptyIfMissing: true, // each call names one at least
		hubspottest.Read404Unnamed:     false,
		hubspottest.ReadLeavesOut:      false,
		hubspottest.NoResults:          false,
		hubspottest.StatusPending:      false,
	} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			cfg := dealing()
			cfg.ReadRates = map[hubspottest.Fault]float64{fault: 1}
			r := newRig(t, cfg)
			r.crm.Script(hubspottest.BreakAfter)
			r.publish(threeDeals()...)
			w := r.start(dealingConfig(), hubspot.StaticToken(token))
			r.until(`SELECT count(*) FROM outbox WHERE in_doubt`, "3")
			r.crm.Script(hubspottest.BreakBefore)
			for n := 4; n <= 6; n++ {
				r.publish(deal(fmt.Sprint("d", n), fmt.Sprintf(`"dealname":"Deal %d","source_event_id":"E-%d"`, n, n)))
			}
			r.until(`SELECT count(*) FROM outbox WHERE status NOT IN ('created', 'dead')`, "0")
			w.stop()
			r.expect(`SELECT DISTINCT reason FROM outbox WHERE status = 'dead' AND reason <> 'unknown_outcome'`)
			for value, n := range r.crm.Count("deals", sourceID) {
				if n != 1 {
					t.Errorf("%d records of %s", n, value)
				}
			}
			if missingAreFound {
				r.exactlyOnce("deals", 6)
			}
			if strings.Contains(r.log.String(), "the CRM fails") {
				t.Error("an answer that tells nothing is taken for a failure of the CRM, which holds all calls")
			}
		})
	}
}

// The CRM keeps a unique value in a form of its own: what is asked alone needs no echo.
func TestEchoesThatDiffer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fold   hubspottest.Fold
		values []string
	}{
		"numbers":     {hubspottest.FoldNumber, []string{"0007", "0008", "009"}},
		"white space": {hubspottest.FoldTrim, []string{" a", "b ", " c "}},
		"case":        {hubspottest.FoldLower, []string{"Ab", "BC", "cD"}},
		"secondary":   {hubspottest.FoldSecondary, []string{"a@x.example", "b@x.example", "c@x.example"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			account := dealing()
			deals := account.ObjectTypes["deals"]
			deals.Kept = map[string]hubspottest.Fold{sourceID: c.fold}
			account.ObjectTypes["deals"] = deals
			r := newRig(t, account)
			r.crm.Script(hubspottest.BreakAfter)
			for _, v := range c.values {
				r.publish(deal("e "+strings.TrimSpace(v), fmt.Sprintf(`"dealname":"deal","source_event_id":%q`, v)))
			}
			r.drain(dealingConfig())
			r.exactlyOnce("deals", 3)
			r.expect(`SELECT count(DISTINCT record_id) FROM outbox`, "3")
			if strings.Contains(r.log.String(), "the CRM fails") {
				t.Error("all calls were held")
			}
		})
	}
}

// An object type that the account does not know costs one call, and one of one event a trial; no event pays.
func TestUnknownObjectType(t *testing.T) {
	t.Parallel()
	account := dealing()
	account.KeepCalls = 1000
	r := newRig(t, account)
	r.publish(named("contracs", "c", 100)...)
	cfg := dealingConfig()
	cfg.Batch.Wait = time.Second // for one full batch
	w := r.start(cfg, hubspot.StaticToken(token))
	r.until(`SELECT count(*) FROM pause WHERE object_type = 'contracs' AND cause = 'answer' AND reason LIKE '%Unable to infer object type%'`, "1")
	for limit := time.Now().Add(time.Minute); len(r.crm.Calls()) < 4; {
		if time.Now().After(limit) {
			t.Fatal("no trials")
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
	r.expect(`SELECT DISTINCT status, attempts FROM outbox`, "retry 0")
	w.stop()
	for n, call := range r.crm.Calls() {
		if want := 1; n > 0 && call.Inputs != want {
			t.Errorf("trial %d has %d inputs", n, call.Inputs)
		}
	}
	r.expect(`SELECT count(*) FROM outbox_error`, "0")
	r.expect(`SELECT count(*) FROM attempt`, "1") // trials leave none behind
}

// One input has its whole batch refused, in words that speak of the object type: it is found, and the others are created.
func TestRefusedForOneInput(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		missing hubspottest.MissingTarget
		bad     string
		words   string
	}{
		"a sensitive property": {0, `{"properties":{"dealname":"bad","secret":"x"}}`, "%MISSING_SCOPES%"},
		"a target that does not exist": {hubspottest.TargetRefused, `{"properties":{"dealname":"bad"},"associations":[{"to":{"id":"99"},` +
			`"types":[{"associationCategory":"HUBSPOT_DEFINED","associationTypeId":5}]}]}`, "%"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			account := dealing()
			deals := account.ObjectTypes["deals"]
			deals.Sensitive, deals.Targets, deals.MissingTarget = []string{"secret"}, []string{"1"}, c.missing
			account.ObjectTypes["deals"] = deals
			r := newRig(t, account)
			list := named("deals", "d", 100)
			for k := range list {
				list[k].body = strings.ReplaceAll(list[k].body, `"name"`, `"dealname"`)
			}
			list[0].body, list[57].body = c.bad, c.bad
			r.publish(list...)
			r.drain(dealingConfig())
			r.expect(`SELECT status, reason, count(*) FROM outbox GROUP BY 1, 2 ORDER BY 1`, "created <nil> 98", "dead rejected 2")
			r.expect(`SELECT count(*) FROM outbox WHERE status = 'dead' AND error LIKE '`+c.words+`'`, "2")
			if n := r.crm.Len("deals"); n != 98 {
				t.Errorf("%d records", n)
			}
			if n := r.rows(`SELECT count(*) FROM attempt WHERE kind = 'create'`)[0]; len(n) > 2 {
				t.Errorf("%s calls for two inputs at fault", n)
			}
		})
	}
}

// A refusal of the whole object type is none of an input, and stays a pause, whose trials leave nothing behind.
func TestRefusedObjectTypeStaysPaused(t *testing.T) {
	t.Parallel()
	r := newRig(t, dealing())
	list := named("deals", "d", 30)
	for k := range list {
		list[k].body = strings.ReplaceAll(list[k].body, `"name"`, `"dealname"`)
	}
	r.publish(list[:10]...)
	w := r.start(dealingConfig(), hubspot.StaticToken(token))
	r.until(`SELECT status, count(*) FROM outbox GROUP BY 1`, "created 10")
	r.met(hubspottest.Answer403) // the scope is gone, moments after it worked
	r.publish(list[10:]...)
	r.until(`SELECT count(*) FROM pause WHERE object_type = 'deals'`, "1")
	before := r.crm.Stats().Creates
	for limit := time.Now().Add(time.Minute); r.crm.Stats().Creates < before+3; {
		if time.Now().After(limit) {
			t.Fatal("no trials")
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
	r.expect(`SELECT count(*) FROM outbox WHERE status = 'dead'`, "0")
	r.expect(`SELECT count(*) FROM outbox_error`, "0")
	if before > 1+12 {
		t.Errorf("%d calls until the pause", before)
	}
	r.must(r.crm.SetRates(nil))
	r.until(`SELECT status, count(*) FROM outbox GROUP BY 1`, "created 30")
	w.stop()
	r.exactlyOnce("deals", 30)
}

// What a call was made with is what it is asked about by, whatever the settings are when its worker is gone.
func TestSettingsChangeWhileInDoubt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sentWith string
		want     string
	}{
		"from none":        {"", "dead unknown_outcome 3"},
		"from another one": {"old_id", "created <nil> 3"},
		"unchanged":        {sourceID, "created <nil> 3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, dealing())
			store, err := outbox.Open(t.Context(), r.database, 2)
			r.must(err)
			defer store.Close()
			a := outbox.Attempt{ID: outbox.NewAttemptID(), ObjectType: "deals", Worker: "gone", Lease: time.Second, IDProperty: c.sentWith}
			var events []outbox.Event
			for n := range 3 {
				id := fmt.Sprint("d", n)
				properties := map[string]string{"dealname": id}
				if c.sentWith != "" {
					properties[c.sentWith] = id
				}
				_, err := r.crm.Add("deals", properties, time.Now())
				r.must(err)
				events = append(events, outbox.Event{ID: id, ObjectType: "deals", Stream: "S", Payload: fmt.Appendf(nil, `{"properties":{"dealname":%q}}`, id)})
			}
			_, err = store.Batches.Intend(t.Context(), a, events)
			r.must(err)
			r.drain(dealingConfig())
			r.expect(`SELECT status, reason, count(*) FROM outbox GROUP BY 1, 2`, c.want)
			if diff := cmp.Diff(map[string]int{"d0": 1, "d1": 1, "d2": 1}, r.crm.Count("deals", "dealname")); diff != "" {
				t.Error(diff)
			}
		})
	}
}
