package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"crmintake/worker/jetstream"
)

const (
	objectType = "deals"
	subject    = "crm.create." + objectType
	idProperty = "source_event_id" // the account's custom property with unique values
	idPrefix   = "order-"
	counted    = "dealname" // see dealName
)

// Some events are bad, as they are in life.
const (
	misspelledEach = 1000 // one in so many has a property that the account does not know
	notJSONEach    = 2500 // one in so many is no JSON
)

// eventID is the n-th event's, from 0 on. They sort in the order of their time.
func eventID(n int) string { return fmt.Sprintf("%s%09d", idPrefix, n) }

// dealName is a value that the n-th event's record alone has, in a property that the CRM doesn't keep unique: so
// records that exist twice are seen, with an id property or without.
func dealName(n int) string { return fmt.Sprintf("Order %09d", n) }

// message is the n-th event, ready to be published.
func message(n int) jetstream.Message {
	return jetstream.Message{Subject: subject, ID: eventID(n), Data: event(n), Line: n + 1}
}

// event is the n-th event's body, of about 300 bytes.
func event(n int) []byte {
	switch {
	case n%notJSONEach == notJSONEach-1:
		return []byte(`{"properties": {"dealname": "cut off in the mid`)
	case n%misspelledEach == misspelledEach-1:
		return fmt.Appendf(nil, `{"properties": {"dealname": "%s", "ammount": "12.50"}}`, dealName(n))
	}
	return goodEvent(n)
}

func goodEvent(n int) []byte {
	closed := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, n%365)
	return fmt.Appendf(nil,
		`{"properties": {"dealname": "%s", "amount": %d.%02d, "deal_currency_code": "EUR", "pipeline": "default",`+
			` "dealstage": "closedwon", "closedate": "%s", "dealtype": "%s",`+
			` "description": "Ordered on the web site, to be paid by invoice."},`+
			` "associations": []}`,
		dealName(n), n%100000, n%100, closed.Format(time.DateOnly), [...]string{"newbusiness", "existingbusiness"}[n%2])
}

// quota is so many calls in any window; no calls means no limit.
type quota struct {
	calls  int
	window time.Duration
}

func parseQuota(s string) (q quota, err error) {
	if s == "off" {
		return q, nil
	}
	calls, window, _ := strings.Cut(s, "/")
	q.calls, err = strconv.Atoi(calls)
	if err == nil {
		q.window, err = time.ParseDuration(window)
	}
	if err != nil || q.calls < 1 || q.window <= 0 {
		return q, fmt.Errorf("--quota %q: want calls and a time, as 190/10s, or off", s)
	}
	return q, nil
}
