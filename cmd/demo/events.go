package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"crmintake/worker/jetstream"
)

const (
	objectType = "contracts"
	subject    = "crm.create." + objectType
	idProperty = "source_event_id" // the account's custom property with unique values
	idPrefix   = "contract-"
	counted    = "contract_number" // see contractNumber
)

// Some events are bad, as they are in life.
const (
	misspelledEach = 1000 // one in so many has a property that the account does not know
	notJSONEach    = 2500 // one in so many is no JSON
)

// eventID is the n-th event's, from 0 on. They sort in the order of their time.
func eventID(n int) string { return fmt.Sprintf("%s%09d", idPrefix, n) }

// eventNumber is the n of an event id; false if no event has it.
func eventNumber(id string) (n int, ok bool) {
	n, err := strconv.Atoi(strings.TrimPrefix(id, idPrefix))
	return n, err == nil && id == eventID(n)
}

// contractNumber is a value that the n-th event's record alone has, in a property that the CRM doesn't keep unique: so records
// that exist twice are seen, with an id property or without.
func contractNumber(n int) string { return fmt.Sprintf("C-%09d", n) }

// message is the n-th event, ready to be published.
func message(n int) jetstream.Message {
	return jetstream.Message{Subject: subject, ID: eventID(n), Data: event(n), Line: n + 1}
}

// event is the n-th event's body, of about 300 bytes.
func event(n int) []byte {
	switch {
	case n%notJSONEach == notJSONEach-1:
		return []byte(`{"properties": {"contract_name": "cut off in the mid`)
	case n%misspelledEach == misspelledEach-1:
		return fmt.Appendf(nil, `{"properties": {"contract_name": "Contract %d", "ammount": "12.50"}}`, n)
	}
	return goodEvent(n)
}

func goodEvent(n int) []byte {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, n%365)
	return fmt.Appendf(nil, `{"properties": {"contract_name": "Contract %d", "contract_number": "%s", "amount": %d.%02d, "currency": "EUR",`+
		` "start_date": "%s", "end_date": "%s", "auto_renew": %t, "status": "signed",`+
		` "customer_note": "Signed by both parties and filed."},`+
		` "associations": []}`,
		n, contractNumber(n), n%100000, n%100, start.Format(time.DateOnly), start.AddDate(1, 0, 0).Format(time.DateOnly), n%2 == 0)
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
