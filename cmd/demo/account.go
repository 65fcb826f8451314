package main

import (
	"slices"
	"time"

	"crmintake/worker/hubspot/hubspottest"
)

// objectTypes are the account's, each with the usual properties and with the id property or without.
func objectTypes(idProperties ...string) map[string]hubspottest.ObjectType {
	return map[string]hubspottest.ObjectType{
		objectType: {
			Properties: []string{"amount", "closedate", "deal_currency_code", "dealname", "dealstage", "dealtype", "description",
				"hs_next_step", "hs_priority", "hubspot_owner_id", "pipeline"},
			Unique:  idProperties,
			Counted: []string{counted},
		},
		"contacts": {
			Properties: []string{"address", "city", "company", "country", "email", "firstname", "hs_lead_status",
				"hubspot_owner_id", "jobtitle",
				"lastname", "lifecyclestage", "mobilephone", "phone", "state", "website", "zip"},
			Unique: slices.Concat(idProperties, []string{"email"}),
		},
		"companies": {
			Properties: []string{"address", "city", "country", "description", "domain", "hubspot_owner_id", "industry",
				"lifecyclestage", "name",
				"numberofemployees", "phone", "state", "website", "zip"},
			Unique: idProperties,
		},
	}
}

// account describes the simulated CRM.
func account(q quota, latency time.Duration, faults string) hubspottest.Config {
	cfg := hubspottest.Config{
		ObjectTypes: objectTypes(idProperty),
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

// holding are the faults after which a worker, or all of them, wait for a second and up to ten. As often as the others
// they would be all that happens.
var holding = []hubspottest.Fault{
	hubspottest.Answer400Type,
	hubspottest.Answer401, hubspottest.Answer403, hubspottest.Answer404, hubspottest.Answer405, hubspottest.Answer477,
	hubspottest.Answer423, hubspottest.Answer429, hubspottest.Answer429RetryAfter, hubspottest.Answer429Secondly,
}

// holdingRate makes one of nine calls in 220 hold others: at the usual pace, one in ten seconds.
const holdingRate = 0.0005

// frequent is mixed with the holding faults made rare.
func frequent(faults []hubspottest.Fault) map[hubspottest.Fault]float64 {
	rates := mixed(faults)
	for _, f := range holding {
		rates[f] = holdingRate
	}
	return rates
}
