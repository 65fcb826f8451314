package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"crmintake/worker/hubspot/hubspottest"
)

const (
	objectType = "contracts"
	subject    = "crm.create." + objectType
	idProperty = "source_event_id" // the account's custom property with unique values
)

// Some events are bad, as they are in life.
const (
	misspelledEach = 1000 // one in so many has a property that the account does not know
	notJSONEach    = 2500 // one in so many is no JSON
)

// eventID is the n-th event's, from 0 on.
func eventID(n int) string { return "contract-" + strconv.Itoa(n) }

// event is the n-th event's body, of about 300 bytes.
func event(n int) []byte {
	switch {
	case n%notJSONEach == notJSONEach-1:
		return []byte(`{"properties": {"contract_name": "cut off in the mid`)
	case n%misspelledEach == misspelledEach-1:
		return fmt.Appendf(nil, `{"properties": {"contract_name": "Contract %d", "ammount": "12.50"}}`, n)
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, n%365)
	return fmt.Appendf(nil, `{"properties": {"contract_name": "Contract %d", "contract_number": "C-%09d", "amount": %d.%02d, "currency": "EUR",`+
		` "start_date": "%s", "end_date": "%s", "auto_renew": %t, "status": "signed",`+
		` "customer_note": "Signed by both parties and filed."},`+
		` "associations": []}`,
		n, n, n%100000, n%100, start.Format(time.DateOnly), start.AddDate(1, 0, 0).Format(time.DateOnly), n%2 == 0)
}

// account describes the simulated CRM.
func account(q quota, latency time.Duration, faults string) hubspottest.Config {
	cfg := hubspottest.Config{
		ObjectTypes: map[string]hubspottest.ObjectType{objectType: {
			Properties: []string{"contract_name", "contract_number", "amount", "currency", "start_date", "end_date", "auto_renew", "status", "customer_note"},
			Unique:     []string{idProperty},
		}},
		Limit:      hubspottest.Limit{Calls: q.calls, Window: q.window},
		MinLatency: latency / 2,
		MaxLatency: latency + latency/2,
		Seed:       1,
	}
	if faults == "mixed" {
		cfg.Rates, cfg.ReadRates = mixed(hubspottest.All()), mixed(hubspottest.AllReads())
		cfg.Delay, cfg.RetryAfter = slowAnswer, time.Second
	}
	return cfg
}

// slowAnswer outlasts the worker's call timeout, and work that begins so late is over within its settle time.
const (
	slowAnswer  = 3 * time.Second
	callTimeout = 2 * time.Second
	settle      = 3 * time.Second
)

// faultShare is how many of the calls meet a fault.
const faultShare = 0.1

// mixed lets each fault happen equally often, but for the daily quota: its pause takes a quarter of an hour.
func mixed(faults []hubspottest.Fault) map[hubspottest.Fault]float64 {
	rates := map[hubspottest.Fault]float64{}
	for _, f := range faults {
		if f != hubspottest.Answer429Daily {
			rates[f] = 0
		}
	}
	for f := range rates {
		rates[f] = faultShare / float64(len(rates))
	}
	// Above all: creates, then breaks the connection.
	if _, ok := rates[hubspottest.BreakAfter]; ok {
		rates[hubspottest.BreakAfter] = faultShare / 3
	}
	return rates
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
