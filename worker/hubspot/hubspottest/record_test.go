package hubspottest_test

import (
	"fmt"
	"strings"
	"testing"

	"crmintake/worker/hubspot/hubspottest"

	"github.com/google/go-cmp/cmp"
)

// TestMerged: a read says nothing of a record that was merged, and its unique values are the other's.
func TestMerged(t *testing.T) {
	s := start(t, hubspottest.Config{})
	id := make(map[string]string)
	for _, r := range post(t, s, "contacts/batch/create", batch(many(3)...)).Results {
		id[*r.Properties["event_id"]] = r.ID
	}
	for _, pair := range [][2]string{{"e0", "e1"}, {"e1", "e2"}} {
		if err := s.Merge("contacts", id[pair[0]], id[pair[1]]); err != nil {
			t.Fatal(err)
		}
	}
	for _, pair := range [][2]string{{id["e2"], id["e0"]}, {id["e2"], id["e2"]}, {"4711", id["e2"]}, {id["e2"], "x"}} {
		if err := s.Merge("contacts", pair[0], pair[1]); err == nil {
			t.Errorf("merged %s into %s", pair[0], pair[1])
		}
	}
	got := hear(t, post(t, s, "contacts/batch/read", readBody("event_id", "e0", "e2", "x")))
	if diff := cmp.Diff(heard{207, []string{"e2"}, []string{"x"}}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	byID := fmt.Sprintf(`{"inputs":[{"id":%q}],"properties":[],"propertiesWithHistory":[]}`, id["e0"])
	if a := post(t, s, "contacts/batch/read", byID); a.status != 200 || len(a.Results) > 0 {
		t.Errorf("by its id, answered %d %s", a.status, a.raw)
	}
	a := post(t, s, "contacts/batch/create", batch(`"event_id":"e0"`))
	if len(a.Errors) != 1 || !strings.Contains(a.Errors[0].Message, id["e2"]) {
		t.Errorf("its value is answered %d %s", a.status, a.raw)
	}
	var into []string
	for r := range s.Records("contacts") {
		into = append(into, r.MergedInto)
	}
	if diff := cmp.Diff([]string{id["e1"], id["e2"], ""}, into); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestArchived: a read finds what is archived with ?archived=true only, and then nothing else.
func TestArchived(t *testing.T) {
	s := start(t, hubspottest.Config{})
	post(t, s, "contacts/batch/create", batch(many(2)...))
	r, _ := s.Find("contacts", "event_id", "e0")
	if err := s.Archive("contacts", r.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Archive("contacts", "4711"); err == nil {
		t.Error("archived what is not there")
	}
	for query, want := range map[string]heard{
		"":                {207, []string{"e1"}, []string{"e0"}},
		"?archived=false": {207, []string{"e1"}, []string{"e0"}},
		"?archived=true":  {207, []string{"e0"}, []string{"e1"}},
	} {
		a := post(t, s, "contacts/batch/read"+query, readBody("event_id", "e0", "e1"))
		if diff := cmp.Diff(want, hear(t, a)); diff != "" || a.Results[0].Archived != (query == "?archived=true") {
			t.Errorf("%s: %s -want +got:\n%s", query, a.raw, diff)
		}
	}
	a := post(t, s, "contacts/batch/create", batch(`"event_id":"e0"`))
	if len(a.Errors) != 1 || a.Errors[0].Category != "CONFLICT" {
		t.Errorf("its value is answered %d %s", a.status, a.raw)
	}
	if r, ok := s.Find("contacts", "event_id", "e0"); !ok || !r.Archived {
		t.Errorf("record %+v", r)
	}
}

// TestSensitive: one input that sets a sensitive property has the whole call refused.
func TestSensitive(t *testing.T) {
	s := start(t, hubspottest.Config{ObjectTypes: map[string]hubspottest.ObjectType{
		"contacts": {Unique: []string{"event_id"}, Sensitive: []string{"diagnosis"}},
	}})
	for name, body := range map[string]string{
		"traced":   batch(`"event_id":"e0"`, `"diagnosis":"x"`),
		"untraced": untraced(`"event_id":"e0"`, `"event_id":"e0"`, `"diagnosis":"x"`),
		"alone":    batch(`"diagnosis":"x"`),
	} {
		a := post(t, s, "contacts/batch/create", body)
		if a.status != 403 || a.Category != "MISSING_SCOPES" || len(a.Errors) != 1 || s.Len("contacts") != 0 ||
			string(a.Errors[0].Context) != `{"requiredGranularScopes":["crm.objects.custom.sensitive.write.v2"]}` {
			t.Errorf("%s: answered %d %s", name, a.status, a.raw)
		}
	}
	if a := post(t, s, "contacts/batch/create", batch(`"event_id":"e0"`)); a.status != 201 {
		t.Errorf("another one is answered %d %s", a.status, a.raw)
	}
}

// linked is an input with associations to targets.
func linked(trace string, targets ...string) string {
	var list []string
	for _, id := range targets {
		list = append(list, fmt.Sprintf(`{"to":{"id":%q},`+
			`"types":[{"associationCategory":"HUBSPOT_DEFINED","associationTypeId":341}]}`, id))
	}
	return fmt.Sprintf(`{"properties":{"event_id":%q},"associations":[%s],"objectWriteTraceId":%q}`,
		trace, strings.Join(list, ","), trace)
}

// targets are by event id.
func targets(s *hubspottest.Server) map[string][]string {
	all := make(map[string][]string)
	for r := range s.Records("contacts") {
		all[r.Properties["event_id"]] = []string{}
		for _, a := range r.Associations {
			all[r.Properties["event_id"]] = append(all[r.Properties["event_id"]], a.To)
		}
	}
	return all
}

// TestAssociations: records have what they were given, and a missing target or the fault shows.
func TestAssociations(t *testing.T) {
	inputs := []string{linked("t0"), linked("t1", "1", "9"), linked("t2", "2", "1")}
	body := `{"inputs":[` + strings.Join(inputs, ",") + `]}`
	all := map[string][]string{"t0": {}, "t1": {"1", "9"}, "t2": {"2", "1"}}
	exist := []string{"1", "2"}
	for name, c := range map[string]struct {
		spec   hubspottest.ObjectType
		fault  hubspottest.Fault
		status int
		names  []string
		want   map[string][]string
	}{
		"every target exists": {status: 201, want: all},
		"rejected": {spec: hubspottest.ObjectType{Targets: exist}, status: 207, names: []string{"t1"},
			want: map[string][]string{"t0": {}, "t2": {"2", "1"}}},
		"refused": {spec: hubspottest.ObjectType{Targets: exist, MissingTarget: hubspottest.TargetRefused}, status: 404,
			want: map[string][]string{}},
		"dropped": {spec: hubspottest.ObjectType{Targets: exist, MissingTarget: hubspottest.TargetDropped}, status: 201,
			want: map[string][]string{"t0": {}, "t1": {"1"}, "t2": {"2", "1"}}},
		"no target exists": {spec: hubspottest.ObjectType{Targets: []string{}, MissingTarget: hubspottest.TargetDropped},
			status: 201, want: map[string][]string{"t0": {}, "t1": {}, "t2": {}}},
		"the first dropped by a fault": {fault: hubspottest.AssociationDropped, status: 201,
			want: map[string][]string{"t0": {}, "t1": {}, "t2": {"2", "1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			c.spec.Unique = []string{"event_id"}
			types := map[string]hubspottest.ObjectType{"contacts": c.spec}
			s := start(t, hubspottest.Config{KeepProperties: true, ObjectTypes: types})
			if c.fault != "" {
				s.Script(c.fault)
			}
			a := post(t, s, "contacts/batch/create", body)
			if a.status != c.status || strings.Contains(string(a.raw), "associations\"") {
				t.Errorf("answered %d %s", a.status, a.raw)
			}
			if a.status == 404 {
				if a.Category != "OBJECT_NOT_FOUND" {
					t.Errorf("answered %s", a.raw)
				}
			} else {
				names(c.names...)(t, a)
			}
			if diff := cmp.Diff(c.want, targets(s)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestFind: a record tells all of itself.
func TestFind(t *testing.T) {
	s := start(t, hubspottest.Config{KeepProperties: true, Now: at(now)})
	a := post(t, s, "contacts/batch/create", `{"inputs":[`+linked("e0", "7")+`]}`)
	got, ok := s.Find("contacts", "event_id", "e0")
	want := hubspottest.Record{
		ID: a.Results[0].ID, CreatedAt: now, Properties: map[string]string{"event_id": "e0"},
		Associations: []hubspottest.Association{{
			To: "7", Types: []hubspottest.AssociationType{{Category: "HUBSPOT_DEFINED", TypeID: 341}},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Errorf("found %v, -want +got:\n%s", ok, diff)
	}
	if _, ok := s.Find("contacts", "event_id", "e1"); ok {
		t.Error("found what is not there")
	}
	defer func() {
		if recover() == nil {
			t.Error("looks for a record by a property that several can share")
		}
	}()
	s.Find("contacts", "name", "a")
}
