package pipeline

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"crmintake/batcher"
	"crmintake/outbox"
	"crmintake/worker"
	"crmintake/worker/event"
)

func testJudge() judge {
	return judge{retry: Retry{Initial: time.Second, Max: time.Minute, Attempts: 3, Age: time.Hour}, onConflict: Bury, settle: 10 * time.Second}
}

// What each verdict means for a row: the table of the pipeline.
func TestOutcome(t *testing.T) {
	conflict := worker.Outcome{Verdict: worker.Rejected, Conflict: true, Existing: "77", Errors: []worker.APIError{{Category: "CONFLICT", Message: "exists"}}}
	refused := worker.Outcome{Verdict: worker.Rejected, Errors: []worker.APIError{{Category: "VALIDATION_ERROR", Message: "wrong", Raw: []byte("{}")}}}
	anonymous := conflict
	anonymous.Existing = ""
	elsewhere := anonymous
	elsewhere.Errors = []worker.APIError{{Category: "CONFLICT", Message: "exists", Property: "email"}}
	adopting := testJudge()
	adopting.onConflict = Adopt
	const hasID, noID = "event_id", ""
	for name, c := range map[string]struct {
		judge judge
		row   row
		o     worker.Outcome
		class worker.Class
		hasID string
		want  outbox.Settlement
	}{
		"created": {testJudge(), row{}, worker.Outcome{Verdict: worker.Created, RecordID: "1", URL: "u", Warnings: []byte("[]"), Result: []byte("{}")}, worker.Answered, hasID,
			outbox.Settlement{Status: outbox.Created, RecordID: "1", URL: "u", Warnings: []byte("[]"), Result: []byte("{}"), Counted: true}},
		"rejected": {testJudge(), row{}, refused, worker.Answered, hasID,
			outbox.Settlement{Status: outbox.Dead, Reason: outbox.Rejected, Error: "VALIDATION_ERROR: wrong", Counted: true,
				Errors: []outbox.Error{{Category: "VALIDATION_ERROR", Message: "wrong", Raw: []byte("{}")}}}},
		"unknown with an id property is asked about when the call is surely over": {testJudge(), row{}, worker.Outcome{}, worker.Ambiguous, hasID,
			outbox.Settlement{Status: outbox.Unknown, Wait: 10 * time.Second, InDoubt: true, Counted: true, IDProperty: "event_id"}},
		"unknown without one is parked at once": {testJudge(), row{}, worker.Outcome{}, worker.Ambiguous, noID,
			outbox.Settlement{Status: outbox.Unknown, InDoubt: true, Counted: true}},
		"not applied is sent again":           {testJudge(), row{}, worker.Outcome{Verdict: worker.NotApplied}, worker.Answered, noID, outbox.Settlement{Status: outbox.Retry, Counted: true}},
		"refused for another's fault":         {testJudge(), row{attempts: 99}, worker.Outcome{Verdict: worker.NotApplied}, worker.Refused, noID, outbox.Settlement{Status: outbox.Retry}},
		"throttled uses up no attempt":        {testJudge(), row{attempts: 99}, worker.Outcome{Verdict: worker.NotApplied}, worker.Throttled, noID, outbox.Settlement{Status: outbox.Retry}},
		"unavailable uses up no attempt":      {testJudge(), row{attempts: 99}, worker.Outcome{Verdict: worker.NotApplied}, worker.Unavailable, noID, outbox.Settlement{Status: outbox.Retry}},
		"a paused account uses up no attempt": {testJudge(), row{attempts: 99}, worker.Outcome{Verdict: worker.NotApplied}, worker.PauseAccount, noID, outbox.Settlement{Status: outbox.Retry}},
		"a paused type uses up no attempt":    {testJudge(), row{attempts: 99}, worker.Outcome{Verdict: worker.NotApplied}, worker.PauseObjectType, noID, outbox.Settlement{Status: outbox.Retry}},
		"the last attempt":                    {testJudge(), row{attempts: 2}, worker.Outcome{Verdict: worker.NotApplied}, worker.Answered, noID, outbox.Settlement{Status: outbox.Dead, Reason: outbox.Exhausted, Counted: true}},
		"too old, though nothing was tried":   {testJudge(), row{age: time.Hour}, worker.Outcome{Verdict: worker.NotApplied}, worker.PauseObjectType, noID, outbox.Settlement{Status: outbox.Dead, Reason: outbox.Exhausted}},
		"too old":                             {testJudge(), row{age: time.Hour}, worker.Outcome{Verdict: worker.NotApplied}, worker.Answered, noID, outbox.Settlement{Status: outbox.Dead, Reason: outbox.Exhausted, Counted: true}},
		"conflict on a first attempt":         {testJudge(), row{}, conflict, worker.Answered, hasID, outbox.Settlement{Status: outbox.Dead, Reason: outbox.Conflict, Error: "CONFLICT: exists", Counted: true}},
		"conflict, in doubt: the record that has the value is asked about": {testJudge(), row{inDoubt: true}, conflict, worker.Answered, hasID,
			outbox.Settlement{Status: outbox.Unknown, Reason: outbox.UnknownOutcome, Error: "CONFLICT: exists", Counted: true,
				IDProperty: outbox.ByRecordID, IDValue: "77"}},
		"so it is without an id property": {testJudge(), row{inDoubt: true}, conflict, worker.Answered, noID,
			outbox.Settlement{Status: outbox.Unknown, Reason: outbox.UnknownOutcome, Error: "CONFLICT: exists", Counted: true,
				IDProperty: outbox.ByRecordID, IDValue: "77"}},
		"and with all attempts used up": {testJudge(), row{inDoubt: true, attempts: 9, age: 9 * time.Hour}, conflict, worker.Answered, hasID,
			outbox.Settlement{Status: outbox.Unknown, Reason: outbox.UnknownOutcome, Error: "CONFLICT: exists", Counted: true,
				IDProperty: outbox.ByRecordID, IDValue: "77"}},
		"conflict, in doubt, no record named: asked by the id property, and not believed to be missing": {testJudge(), row{inDoubt: true}, anonymous, worker.Answered, hasID,
			outbox.Settlement{Status: outbox.Unknown, Reason: outbox.UnknownOutcome, Error: "CONFLICT: exists", Counted: true, IDProperty: "event_id"}},
		"conflict, in doubt, about another property": {testJudge(), row{inDoubt: true}, elsewhere, worker.Answered, hasID,
			outbox.Settlement{Status: outbox.Unknown, Reason: outbox.Conflict, Error: "CONFLICT: exists", Counted: true, IDProperty: "event_id"}},
		"conflict, in doubt, nothing to ask by: nobody says that it has no record": {testJudge(), row{inDoubt: true}, anonymous, worker.Answered, noID,
			outbox.Settlement{Status: outbox.Dead, Reason: outbox.UnknownOutcome, Error: "CONFLICT: exists", Counted: true}},
		"rejected, in doubt before: asked about before it is believed": {testJudge(), row{inDoubt: true}, refused, worker.Answered, hasID,
			outbox.Settlement{Status: outbox.Unknown, Reason: outbox.Rejected, Error: "VALIDATION_ERROR: wrong", Counted: true, IDProperty: "event_id",
				Errors: []outbox.Error{{Category: "VALIDATION_ERROR", Message: "wrong", Raw: []byte("{}")}}}},
		"rejected, in doubt before, nothing to ask by": {testJudge(), row{inDoubt: true}, refused, worker.Refused, noID,
			outbox.Settlement{Status: outbox.Dead, Reason: outbox.UnknownOutcome, Error: "VALIDATION_ERROR: wrong", Counted: true,
				Errors: []outbox.Error{{Category: "VALIDATION_ERROR", Message: "wrong", Raw: []byte("{}")}}}},
		"the last attempt of what was in doubt": {testJudge(), row{inDoubt: true, attempts: 2}, worker.Outcome{Verdict: worker.NotApplied}, worker.Answered, hasID,
			outbox.Settlement{Status: outbox.Unknown, Reason: outbox.Exhausted, Counted: true, IDProperty: "event_id"}},
		"and with nothing to ask by": {testJudge(), row{inDoubt: true, attempts: 2}, worker.Outcome{Verdict: worker.NotApplied}, worker.Answered, noID,
			outbox.Settlement{Status: outbox.Dead, Reason: outbox.UnknownOutcome, Counted: true}},
		"conflict, to be adopted once the record was read": {adopting, row{}, conflict, worker.Answered, noID,
			outbox.Settlement{Status: outbox.Unknown, Reason: outbox.Conflict, Error: "CONFLICT: exists", Counted: true,
				IDProperty: outbox.ByRecordID, IDValue: "77"}},
		"conflict, to be adopted once its id is read": {adopting, row{}, anonymous, worker.Answered, hasID,
			outbox.Settlement{Status: outbox.Unknown, Reason: outbox.Conflict, Error: "CONFLICT: exists", Counted: true, IDProperty: "event_id"}},
		"conflict without any id": {adopting, row{}, anonymous, worker.Answered, noID,
			outbox.Settlement{Status: outbox.Dead, Reason: outbox.Conflict, Error: "CONFLICT: exists", Counted: true}},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.judge.outcome(&c.row, &c.o, c.class, &worker.Call{}, c.hasID)
			ignore := cmpopts.IgnoreFields(outbox.Settlement{}, "EventID")
			if len(c.want.Errors) == 0 {
				ignore = cmpopts.IgnoreFields(outbox.Settlement{}, "EventID", "Errors")
			}
			if c.want.Status == outbox.Retry { // a draw
				got.Wait = 0
			}
			if diff := cmp.Diff(c.want, got, ignore); diff != "" {
				t.Error(diff)
			}
			pause := c.class == worker.PauseAccount || c.class == worker.PauseObjectType // whose trials leave no rows behind
			if got.Status != outbox.Created && (len(got.Errors) == 0) != pause {
				t.Error("the history has nothing of it")
			}
		})
	}
}

// A value that is proven to have no record: twice, and then what the row has pending.
func TestMissing(t *testing.T) {
	spent := testJudge()
	spent.retry.Attempts = 0
	for name, c := range map[string]struct {
		judge  judge
		row    row
		status outbox.Status
		reason outbox.Reason
		wait   time.Duration
	}{
		"once: asked again":                       {testJudge(), row{}, outbox.Unknown, "", 10 * time.Second},
		"twice: sent again":                       {testJudge(), row{misses: 1}, outbox.Retry, "", 0},
		"twice, too often":                        {spent, row{misses: 1}, outbox.Dead, outbox.Exhausted, 0},
		"refused, once: asked again":              {testJudge(), row{pending: outbox.Rejected}, outbox.Unknown, outbox.Rejected, 10 * time.Second},
		"refused, twice: believed":                {testJudge(), row{pending: outbox.Rejected, misses: 1}, outbox.Dead, outbox.Rejected, 0},
		"a contradiction, twice: asked again":     {testJudge(), row{pending: outbox.UnknownOutcome, misses: 1}, outbox.Unknown, outbox.UnknownOutcome, 20 * time.Second},
		"a contradiction, too often: to a person": {testJudge(), row{pending: outbox.UnknownOutcome, misses: 2}, outbox.Dead, outbox.UnknownOutcome, 0},
		"a contradiction, too old: to a person":   {testJudge(), row{pending: outbox.UnknownOutcome, misses: 1, age: time.Hour}, outbox.Dead, outbox.UnknownOutcome, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.judge.missing(&c.row)
			if got.Status != c.status || got.Reason != c.reason || got.Wait != c.wait || !got.Missed || got.Counted {
				t.Errorf("%+v", got)
			}
		})
	}
}

// An answer that tells nothing: asked again, alone, and in the end a person decides.
func TestUntold(t *testing.T) {
	some := worker.ReadAnswer{Found: map[string]worker.Found{"other": {RecordID: "1"}}}
	named := worker.ReadAnswer{Missing: map[string]bool{"other": true}}
	for name, c := range map[string]struct {
		row    row
		answer worker.ReadAnswer
		alone  bool
		status outbox.Status
		untold bool // to be asked about alone
	}{
		"others were found: alone from now on":           {row{}, some, false, outbox.Unknown, true},
		"silence: alone from now on":                     {row{}, worker.ReadAnswer{}, false, outbox.Unknown, true},
		"others are missing: the rest once more":         {row{}, named, false, outbox.Unknown, false},
		"of many, however old":                           {row{age: 9 * time.Hour, untold: 9}, worker.ReadAnswer{}, false, outbox.Unknown, true},
		"alone: asked again":                             {row{untold: 1}, worker.ReadAnswer{}, true, outbox.Unknown, true},
		"alone, as often as an event is sent: parked":    {row{untold: 2}, worker.ReadAnswer{}, true, outbox.Dead, false},
		"alone, and too old: parked":                     {row{age: time.Hour}, worker.ReadAnswer{}, true, outbox.Dead, false},
		"what was refused is parked too, and not denied": {row{untold: 2, pending: outbox.Rejected}, worker.ReadAnswer{}, true, outbox.Dead, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := testJudge().untold(&c.row, &c.answer, c.alone)
			if got.Status != c.status || got.Untold != c.untold || got.Missed || got.Counted || got.Status == outbox.Dead && got.Reason != outbox.UnknownOutcome {
				t.Errorf("%+v", got)
			}
			if (got.Wait > 0) != (c.alone && got.Status == outbox.Unknown) {
				t.Errorf("waits %v", got.Wait)
			}
		})
	}
}

func TestRetryWaits(t *testing.T) {
	j := testJudge()
	j.retry = Retry{Initial: time.Second, Max: 10 * time.Second}
	for attempts, most := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 4: 8 * time.Second, 5: 10 * time.Second, 50: 10 * time.Second} {
		var longest, sum time.Duration
		for range 500 {
			w := j.wait(attempts)
			longest = max(longest, w)
			sum += w
		}
		// Full jitter: from nothing to the whole, half on average.
		if longest > most || longest < most*9/10 || sum/500 < most*4/10 || sum/500 > most*6/10 {
			t.Errorf("after %d attempts: at most %v, on average %v, of %v", attempts, longest, sum/500, most)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	good := Config{Name: "w", AckWait: time.Minute}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"no name":                          func(c *Config) { c.Name = "" },
		"batch size 101":                   func(c *Config) { c.Batch.Size = 101 },
		"batch wait -1ns is negative":      func(c *Config) { c.Batch.Wait = -1 },
		"must be longer than the call":     func(c *Config) { c.CallTimeout = time.Minute },
		"must be longer than the batch":    func(c *Config) { c.Batch = batcher.Config{Wait: time.Hour} },
		"in-flight -1":                     func(c *Config) { c.InFlight = -1 },
		"memory 1000":                      func(c *Config) { c.Memory = 1000 },
		"quota 5/0s":                       func(c *Config) { c.Quota.Calls = 5 },
		"shorter than retry initial":       func(c *Config) { c.Retry.Max = 1 },
		`on unknown "x"`:                   func(c *Config) { c.OnUnknown = "x" },
		`on unknown notes="x"`:             func(c *Config) { c.OnUnknownOf = map[string]OnUnknown{"notes": "x"} },
		`on unknown "a/b"=park: not an`:    func(c *Config) { c.OnUnknownOf = map[string]OnUnknown{"a/b": Park} },
		`on conflict "x"`:                  func(c *Config) { c.OnConflict = "x" },
		"settle -1s is negative":           func(c *Config) { c.Settle = -time.Second },
		"retry attempts -2":                func(c *Config) { c.Retry.Attempts = -2 },
		"shutdown timeout -1s is negative": func(c *Config) { c.ShutdownTimeout = -time.Second },
	} {
		c := good
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A value is others' too if the event brought it and it is not its id, however the event was encoded.
func TestExplicit(t *testing.T) {
	for body, want := range map[string]bool{
		`{"properties":{"name":"n"}}`:                       false,
		`{"properties":{"amount":1}}`:                       false, // which is sent as a copy
		`{"properties":{"source_event_id":"e-1"}}`:          false,
		`{"properties":{"source_event_id":"e-2"}}`:          true,
		`{"properties":{"source_event_id":"","amount":1}}`:  false,
		`{"properties":{"source_event_id":"e-2","a":true}}`: true,
	} {
		input, err := event.Decode([]byte(body), "source_event_id", "e-1")
		if err != nil {
			t.Fatal(err)
		}
		if r := (&row{id: "e-1", input: input}); r.explicit() != want {
			t.Errorf("%s: explicit %t, want %t", body, !want, want)
		}
	}
	if (&row{id: "e-1", input: worker.Input{IDValue: "e-1"}, contested: true}).explicit() == false {
		t.Error("what another event has for value is contested")
	}
}

// How old a record is, beside an event: what clocks that differ can't tell is not told.
func TestAgeOf(t *testing.T) {
	now := time.Now()
	r := &row{received: now}
	for name, c := range map[string]struct {
		made, date time.Time
		want       relative
	}{
		"after it came":                         {now.Add(time.Second), now, younger},
		"a little before":                       {now.Add(-50 * time.Second), now, younger},
		"at a time that is not told":            {time.Time{}, now, younger},
		"minutes before":                        {now.Add(-5 * time.Minute), now, unsure},
		"long before":                           {now.Add(-time.Hour), now, older},
		"long before, by a clock nobody knows":  {now.Add(-time.Hour), time.Time{}, unsure},
		"after it, by a CRM's clock far behind": {now.Add(-2*time.Hour + time.Second), now.Add(-2 * time.Hour), younger},
	} {
		if got := ageOf(r, &worker.Found{CreatedAt: c.made}, &worker.Call{Date: c.date}); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
