package hubspot

import (
	"bytes"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"crmintake/worker"
)

// ruling is what a status means. The wait is Retry-After if the answer has one, at least floor, else wait.
type ruling struct {
	class worker.Class
	wait  time.Duration
	floor time.Duration
}

// While the CRM is not well, a few seconds: what its documentation asks for.
const unwell = 3 * time.Second

// rulings is the one place that says what a status means. Policies of a 429 are in quotaRulings, a 2xx is judged by
// its body, and what is in no row is in classify.
var rulings = map[int]ruling{
	// The batch, or something in it, is wrong. Nothing was applied.
	http.StatusBadRequest:          {class: worker.Refused},
	http.StatusConflict:            {class: worker.Refused},
	http.StatusUnprocessableEntity: {class: worker.Refused},

	http.StatusRequestEntityTooLarge: {class: worker.TooLarge},

	// The account. A migration (477) says how long it takes; when it doesn't, a trial call now and then finds out.
	http.StatusUnauthorized: {class: worker.PauseAccount},
	477:                     {class: worker.PauseAccount, wait: 5 * time.Minute, floor: time.Second},

	// Locks last two seconds.
	http.StatusLocked: {class: worker.Throttled, wait: 2 * time.Second, floor: 2 * time.Second},

	// The edge says that it did not reach the CRM, or the CRM that it takes nothing in.
	http.StatusServiceUnavailable: {class: worker.Unavailable, wait: unwell, floor: time.Second},
	521:                           {class: worker.Unavailable, wait: unwell, floor: time.Second},
	522:                           {class: worker.Unavailable, wait: unwell, floor: time.Second},
	523:                           {class: worker.Unavailable, wait: unwell, floor: time.Second},
	525:                           {class: worker.Unavailable, wait: unwell, floor: time.Second},
	526:                           {class: worker.Unavailable, wait: unwell, floor: time.Second},

	// The work may have begun: a timeout (408, 499, 504, 524) or a failure in the middle.
	http.StatusRequestTimeout:      {class: worker.Ambiguous, wait: unwell},
	499:                            {class: worker.Ambiguous, wait: unwell},
	http.StatusInternalServerError: {class: worker.Ambiguous, wait: unwell},
	http.StatusBadGateway:          {class: worker.Ambiguous, wait: unwell},
	http.StatusGatewayTimeout:      {class: worker.Ambiguous, wait: unwell},
	524:                            {class: worker.Ambiguous, wait: unwell},

	// 403, 404, 405, redirects and all other 4xx: see classify. A 400 that speaks of the object type: see unknownType.
}

// quotaRulings are what a 429 means, by its policyName.
var quotaRulings = map[string]ruling{
	"SECONDLY":             {class: worker.Throttled, wait: time.Second, floor: time.Second},
	"TEN_SECONDLY_ROLLING": {class: worker.Throttled, wait: 10 * time.Second, floor: time.Second},
	// The day turns at midnight in the account's time zone, which nobody here knows. A call every quarter of an hour
	// costs nothing and finds the new day soon enough.
	"DAILY": {class: worker.PauseAccount, wait: 15 * time.Minute, floor: time.Second},
	// A policy that is not known yet: the longest of the short ones.
	"": {class: worker.Throttled, wait: 10 * time.Second, floor: time.Second},
}

// classify judges an answer that is no 2xx: what it means for the batch, and how long to wait.
func classify(status int, policy string, retryAfter time.Duration, hasRetryAfter bool) (worker.Class, time.Duration) {
	r, ok := rulings[status]
	switch {
	case ok:
	case status == http.StatusTooManyRequests:
		if r, ok = quotaRulings[strings.ToUpper(policy)]; !ok {
			r = quotaRulings[""]
		}
	case status >= 300 && status < 500:
		// Nothing that creates records answers so: the address, the scopes or the request's form are wrong, and will
		// be for every batch of this object type.
		r = ruling{class: worker.PauseObjectType}
	default:
		// 1xx, a 2xx that accounts for nothing, unknown 5xx, and numbers that are no status.
		r = ruling{class: worker.Ambiguous, wait: unwell}
	}
	if hasRetryAfter {
		return r.class, max(retryAfter, r.floor)
	}
	return r.class, r.wait
}

// causeOf is what an answer's class leaves open.
func causeOf(status int, unknownType, hasRetryAfter bool, l worker.Limits) worker.Cause {
	switch {
	case status == http.StatusUnauthorized:
		return worker.BadCredential
	case status == http.StatusForbidden:
		return worker.MissingScope
	case status == http.StatusNotFound, unknownType:
		return worker.NotFound
	case status == http.StatusTooManyRequests && !hasRetryAfter && l.Max > 0 && l.Remaining == 0:
		return worker.QuotaUsed
	}
	return worker.NoCause
}

// aboutAccount are the refusals whose words are about the account or the object type, and say what to do.
var aboutAccount = map[int]bool{
	http.StatusUnauthorized: true, http.StatusForbidden: true, http.StatusNotFound: true,
	http.StatusMethodNotAllowed: true, http.StatusTooManyRequests: true, 477: true,
}

// typeWords are how a message begins that speaks of an object type which the account does not know, as `Unable to infer
// object type from: X`.
var typeWords = regexp.MustCompile(`(?i)^\W*(?:` +
	`(?:unable to|could not|cannot|can't) (?:infer|determine|find|resolve) (?:the |an )?object ?type` +
	`|(?:invalid|unknown|unrecognized|unsupported|no such) object ?type` +
	`|(?:the )?object ?type\b.{0,120}?\b(?:(?:does not|doesn't) exist|unknown|invalid` +
	`|not (?:be )?(?:found|known|valid|supported|enabled|recognized)))`)

// unknownType: the refusal means that the account does not know the object type. What names an input, or
// speaks of an association, is about that; so is a 400 that has a category.
func (d *document) unknownType(class worker.Class) bool {
	if class != worker.Refused && class != worker.PauseObjectType || !typeWords.MatchString(d.top.message) {
		return false
	}
	words, _, _ := strings.Cut(d.top.message, ":")
	ofInputs := strings.Contains(strings.ToLower(words), "associat")
	for _, e := range append([]apiError{d.top}, d.errors...) {
		ofInputs = ofInputs || len(e.named) > 0 || e.unmatched > 0 || e.category != "" && class == worker.Refused
	}
	return !ofInputs
}

// isJSON: the body is meant to be JSON, be it whole or not.
func (d *document) isJSON() bool {
	body := bytes.TrimLeft(d.body, " \t\r\n")
	return len(body) > 0 && (body[0] == '{' || body[0] == '[')
}

// recordWords are how a message speaks of records that were not found.
var recordWords = regexp.MustCompile(
	`(?i)\b(?:objects?|records?)\b[^:]{0,120}?\b(?:not (?:be )?found|not exist|deleted)\b`)

// ofRecords: a 404 to a read speaks of records that were not found.
func (d *document) ofRecords() bool {
	for _, e := range append([]apiError{d.top}, d.errors...) {
		if isCode(e.category, notFound) || recordWords.MatchString(e.message) {
			return true
		}
	}
	return false
}

// maxRetryAfter is the longest wait an answer may ask for: a migration's day.
const maxRetryAfter = 24 * time.Hour

// parseRetryAfter reads seconds or an HTTP date. A date is compared with the answer's own Date, so that clocks that
// differ do no harm.
func parseRetryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	s := strings.TrimSpace(h.Get("Retry-After"))
	if s == "" {
		return 0, false
	}
	if seconds, err := strconv.ParseFloat(s, 64); err == nil {
		if !(seconds >= 0) {
			return 0, false
		}
		if seconds > maxRetryAfter.Seconds() {
			return maxRetryAfter, true
		}
		return time.Duration(seconds * float64(time.Second)), true
	}
	at, err := http.ParseTime(s)
	if err != nil {
		return 0, false
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return min(max(at.Sub(now), 0), maxRetryAfter), true
}

var noLimits = worker.Limits{Max: -1, Remaining: -1, Interval: -1, DailyMax: -1, DailyRemain: -1}

func parseLimits(h http.Header) worker.Limits {
	l := worker.Limits{
		Max:         headerInt(h, "X-Hubspot-Ratelimit-Max"),
		Remaining:   headerInt(h, "X-Hubspot-Ratelimit-Remaining"),
		Interval:    -1,
		DailyMax:    headerInt(h, "X-Hubspot-Ratelimit-Daily"),
		DailyRemain: headerInt(h, "X-Hubspot-Ratelimit-Daily-Remaining"),
	}
	const most = int(maxRetryAfter / time.Millisecond)
	if ms := headerInt(h, "X-Hubspot-Ratelimit-Interval-Milliseconds"); ms >= 0 && ms <= most {
		l.Interval = time.Duration(ms) * time.Millisecond
	}
	return l
}

func headerInt(h http.Header, canonical string) int {
	if v := h[canonical]; len(v) > 0 {
		if n, err := strconv.Atoi(strings.TrimSpace(v[0])); err == nil && n >= 0 {
			return n
		}
	}
	return -1
}
