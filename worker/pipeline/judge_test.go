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

func TestGates(t *testing.T) {
	now := time.Now()
	g := pauseSet{"deals": {trialAt: now.Add(time.Second)}}
	if _, ok := g.passable(fresh, "deals", now); ok {
		t.Error("a paused type passes")
	}
	if trials, ok := g.passable(reconciling, "deals", now); !ok || len(trials) > 0 {
		t.Errorf("what is in doubt can't be asked about: %q, %v", trials, ok)
	}
	if trials, ok := g.passable(fresh, "contacts", now); !ok || len(trials) > 0 {
		t.Error("another type does not pass")
	}
	g[outbox.Account] = &pauseState{trialAt: now}
	if trials, ok := g.passable(fresh, "contacts", now); !ok || len(trials) != 1 {
		t.Errorf("the account's trial: %q, %v", trials, ok)
	}
	trials, ok := g.passable(fresh, "deals", now.Add(time.Second))
	if !ok || len(trials) != 2 {
		t.Errorf("both trials: %q, %v", trials, ok)
	}
	if at, ok := g.nextTrial(now); !ok || !at.Equal(now.Add(time.Second)) {
		t.Errorf("next trial at %v, %v", at, ok)
	}
	g["deals"].trialAt = now.Add(time.Hour) // taken
	if !g.stillPassable(fresh, "deals", trials) || g.stillPassable(fresh, "deals", trials[:1]) {
		t.Error("who has the right to a trial may call, and nobody else")
	}
}

func TestHoldForFailures(t *testing.T) {
	var h crmBackoff
	now := time.Now()
	h.failed(now, time.Second)
	h.failed(now, time.Second)
	if !h.until.IsZero() {
		t.Error("two failures hold calls")
	}
	var waits []time.Duration
	for range 7 {
		h.failed(now, time.Second)
		h.failed(now, time.Second) // another call of the same moment
		waits = append(waits, h.until.Sub(now))
		now = h.until
	}
	if diff := cmp.Diff([]time.Duration{1e9, 2e9, 4e9, 8e9, 16e9, 30e9, 30e9}, waits); diff != "" {
		t.Error(diff)
	}
	h.answered(now, time.Hour)
	if now.Before(h.until) {
		t.Error("the CRM answers, and calls are held")
	}
	for range 3 {
		h.failed(now, time.Hour)
	}
	if h.until.Sub(now) != time.Hour {
		t.Error("what the answer asks for is cut short")
	}
}

// How long calls are held by answers that ask for it, each after a time of at, about a call that took so long.
func TestHoldForThrottling(t *testing.T) {
	const s = time.Second
	type answer struct{ at, took, wait, until time.Duration } // all but took from the beginning
	for name, answers := range map[string][]answer{
		"as asked":                        {{0, s, 10 * s, 10 * s}},
		"at least a second":               {{0, s, 0, s}},
		"a day":                           {{0, s, 24 * time.Hour, 24 * time.Hour}},
		"several of one moment":           {{0, s, 10 * s, 10 * s}, {0, s, 10 * s, 10 * s}, {s, s, 9 * s, 10 * s}},
		"the longest of one moment":       {{0, s, s, s}, {0, s, 10 * s, 10 * s}},
		"called before the wait":          {{0, s, 10 * s, 10 * s}, {12 * s, 13 * s, 10 * s, 22 * s}},
		"called in the wait":              {{0, s, 10 * s, 10 * s}, {12 * s, 3 * s, 10 * s, 22 * s}},
		"called after the wait":           {{0, s, 10 * s, 10 * s}, {12 * s, 2 * s, 10 * s, 32 * s}, {33 * s, 0, 10 * s, 63 * s}, {63 * s, 0, 10 * s, 93 * s}},
		"two of them, called after it":    {{0, s, s, s}, {2 * s, s, s, 4 * s}, {2 * s, s, s, 4 * s}},
		"one that is asked for each time": {{0, s, 60 * s, 60 * s}, {61 * s, 0, 60 * s, 121 * s}},
	} {
		t.Run(name, func(t *testing.T) {
			var h crmBackoff
			begin := time.Now()
			for _, a := range answers {
				h.throttled(begin.Add(a.at), a.took, a.wait)
				if got := h.until.Sub(begin); got != a.until {
					t.Errorf("after %v held until %v, want %v", a.at, got, a.until)
				}
			}
		})
	}
}

// What an answer asks for is not ended by the answer to an older call, nor made longer by failures.
func TestHoldIsObeyed(t *testing.T) {
	var h crmBackoff
	begin := time.Now()
	for range 5 {
		h.failed(begin, time.Second)
	}
	h.throttled(begin, 0, 10*time.Second)
	if h.until.Sub(begin) != 10*time.Second {
		t.Errorf("after failures, held for %v", h.until.Sub(begin))
	}
	h.answered(begin.Add(time.Second), 2*time.Second)
	if h.until.Sub(begin) != 10*time.Second {
		t.Errorf("an older call was answered, and calls are held for %v", h.until.Sub(begin))
	}
	h.throttled(begin.Add(11*time.Second), time.Second, 10*time.Second)
	h.answered(begin.Add(32*time.Second), time.Second)
	if (h != crmBackoff{}) {
		t.Errorf("a call after the wait was answered, and what is left is %+v", h)
	}
}

// After a hold for failures one call finds out, and the others wait for what becomes of it.
func TestHoldSendsAScout(t *testing.T) {
	var h crmBackoff
	now := time.Now()
	expect := func(when string, ok, scout, usual bool) {
		t.Helper()
		gotOK, gotScout := h.lets(now)
		if gotOK != ok || ok && gotScout != scout || h.stillLets(now, false) != usual {
			t.Errorf("%s: a call may begin: %v, as a scout: %v; one that is ready goes on: %v; want %v, %v, %v",
				when, gotOK, gotScout, h.stillLets(now, false), ok, scout, usual)
		}
	}
	fail := func() { h.failed(now, time.Second) }
	fail()
	fail()
	expect("bad luck", true, false, true)
	fail()
	expect("in the hold", false, false, false)
	now = h.until
	expect("after it", true, true, false)
	h.scouts++
	expect("beside the scout", false, false, false)
	if !h.stillLets(now, true) {
		t.Error("the scout may not go on")
	}
	fail()
	h.scouts--
	expect("in the next hold", false, false, false)
	now = h.until
	h.scouts++
	h.answered(now, time.Millisecond)
	expect("the scout was answered", true, false, true)
	h.scouts--
	if (h != crmBackoff{}) {
		t.Errorf("what is left is %+v", h)
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
