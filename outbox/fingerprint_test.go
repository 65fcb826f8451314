package outbox

import "testing"

// Messages of one kind look alike without what is of one event; others stay apart.
func TestNormalised(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		`record 171591000198 has the same unique value, and is older than this event`:  `record # has the same unique value, and is older than this event`,
		`Contact already exists. Existing ID: 5`:                                       `Contact already exists. Existing ID: #`,
		`the event id "a-1" belongs to another event already, of other content`:        `the event id # belongs to another event already, of other content`,
		`properties.address2: found an array, want a string (byte 1042)`:               `properties.address2: found an array, want a string (byte #)`,
		`associations[3].to.id: found null, want a string (byte 7)`:                    `associations[#].to.id: found null, want a string (byte #)`,
		`Property "amuont" does not exist`:                                             `Property "amuont" does not exist`,
		`at 2026-03-01T10:00:00.123Z, "x y" and 'z w' of jo@example.com`:               `at #, # and # of #`,
		`it can't be, and won't`:                                                       `it can't be, and won't`,
		`job 6f1c0a52-7a1c-4b0e-9c4e-3f8e3f1c0a52 at https://api.hubapi.com/crm/x?y=1`: `job # at #`,
		"two\n\tlines  \xff.": `two lines .`,
		"":                    ``,
	} {
		if got := normalised(message); got != want {
			t.Errorf("%q becomes %q, want %q", message, got, want)
		}
	}
	long := ""
	for range 200 {
		long += "äöü "
	}
	if got := normalised(long); len(got) > longEnough || len(got) < longEnough-2 || text(got) != got {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}

// What is dead of one thing is one group, by whichever way it died; what is not dead is in none.
func TestFingerprints(t *testing.T) {
	t.Parallel()
	s := open(t)
	rule := func(value, property, rule string) []Error {
		return []Error{{Message: "no use"}, {Category: "VALIDATION_ERROR", Message: value + " is not valid", Property: property, Rule: rule}}
	}
	dead := func(id string, errors []Error) Settlement {
		return Settlement{EventID: id, Status: Dead, Reason: Rejected, Error: "in words", Errors: errors}
	}
	a := intend(t, s, "a", "b", "c", "d", "e", "f", "g", "h")
	ok(t, s.Batches.Settle(t.Context(), a.ID, Call{Unknown: 8}, []Settlement{
		dead("a", rule("red", "colour", "INVALID_OPTION")), dead("b", rule("blue", "colour", "INVALID_OPTION")),
		dead("c", rule("red", "size", "INVALID_OPTION")), dead("d", rule("red", "colour", "REQUIRED_FIELD")),
		dead("e", nil),
		{EventID: "f", Status: Retry, Errors: rule("red", "colour", "INVALID_OPTION")},
		{EventID: "g", Status: Unknown}, {EventID: "h", Status: Created, RecordID: "1"},
	}))
	bury := func(id, message string) DeadLetter {
		return DeadLetter{Event: event(id, id), Reason: InvalidEvent, Error: message}
	}
	_, err := s.Batches.InsertDead(t.Context(), []DeadLetter{bury("i", "no good at byte 7"), bury("j", "no good at byte 70"), bury("k", "no good")})
	ok(t, err)
	_, _, err = s.Schedule.Park(t.Context(), objectType, nil, 10)
	ok(t, err)
	want(t, s, `SELECT string_agg(event_id, '' ORDER BY event_id) FROM outbox WHERE fingerprint ~ '^[0-9a-f]{12}$' GROUP BY fingerprint ORDER BY 1`,
		"ab", "c", "d", "e", "g", "ij", "k")
	want(t, s, `SELECT event_id, status FROM outbox WHERE fingerprint IS NULL ORDER BY 1`, "f retry", "h created")
}
