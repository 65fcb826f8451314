package main

import (
	"time"

	"crmintake/worker/hubspot/hubspottest"
)

// contracts describes the object type, with the id property or without.
func contracts(idProperties ...string) map[string]hubspottest.ObjectType {
	return map[string]hubspottest.ObjectType{objectType: {
		Properties: []string{"contract_name", "contract_number", "amount", "currency", "start_date", "end_date", "auto_renew", "status", "customer_note"},
		Unique:     idProperties,
		Counted:    []string{counted},
	}}
}

// account describes the simulated CRM.
func account(q quota, latency time.Duration, faults string) hubspottest.Config {
	cfg := hubspottest.Config{
		ObjectTypes: contracts(idProperty),
		Limit:       hubspottest.Limit{Calls: q.calls, Window: q.window},
		MinLatency:  latency / 2,
		MaxLatency:  latency + latency/2,
		Seed:        1,
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

// holding are the faults after which a worker, or all of them, wait for a second and up to ten. As often as the others they would
// be all that happens.
var holding = []hubspottest.Fault{
	hubspottest.Answer400Type,
	hubspottest.Answer401, hubspottest.Answer403, hubspottest.Answer404, hubspottest.Answer405, hubspottest.Answer477,
	hubspottest.Answer423, hubspottest.Answer429, hubspottest.Answer429RetryAfter, hubspottest.Answer429Secondly,
}

// holdingRate makes one of nine calls in 220 hold others: at the usual pace, one in ten seconds.
const holdingRate = 0.0005

// stormy is mixed with the holding faults made rare.
func stormy(faults []hubspottest.Fault) map[hubspottest.Fault]float64 {
	rates := mixed(faults)
	for _, f := range holding {
		rates[f] = holdingRate
	}
	return rates
}
