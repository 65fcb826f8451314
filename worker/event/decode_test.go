package event

import (
	"bytes"
	"crmintake/worker"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const usualEvent = `{"properties":{"hs_object_source":"billing","name":"Contract 2026-118","amount":"1250.00",` +
	`"currency":"EUR","start_date":"2026-02-01","end_date":"2027-01-31","external_id":"c-000118","auto_renew":true},` +
	`"associations":[{"to":{"id":"9876543210"},"types":[{"associationCategory":"HUBSPOT_DEFINED",` +
	`"associationTypeId":341}]}]}`

func TestDecodeAccepts(t *testing.T) {
	long := strings.Repeat("é", MaxPropertyChars)
	for name, c := range map[string]struct {
		event, idProperty string
		want              worker.Input
	}{
		"no properties": {`{"properties":{}}`, "",
			worker.Input{Body: []byte(`{"associations":[],"properties":{}}`)}},
		"white space": {" \t\r\n{ \"properties\" : { \"a\" : \"b\" } } \n", "",
			worker.Input{Body: []byte(`{"associations":[],"properties":{"a":"b"}}`)}},
		"digits and letters stay": {`{"properties":{"a":1.10,"b":1e3,"c":-0,"d":true,"e":false,"f":12345678901234567890123}}`,
			"",
			worker.Input{Body: []byte(`{"associations":[],"properties":{"a":"1.10","b":"1e3","c":"-0","d":"true","e":"false",` +
				`"f":"12345678901234567890123"}}`)}},
		"null is left out": {`{"properties":{"a":null,"b":"x","c":null,"d":"y"}}`, "",
			worker.Input{Body: []byte(`{"associations":[],"properties":{"b":"x","d":"y"}}`)}},
		"escapes stay": {`{"properties":{"a\n":"\"\u00e9\ud83d\ude00\\u0000"}}`, "",
			worker.Input{Body: []byte(`{"associations":[],"properties":{"a\n":"\"\u00e9\ud83d\ude00\\u0000"}}`)}},
		"an escaped member name": {`{"\u0070roperties":{}}`, "",
			worker.Input{Body: []byte(`{"associations":[],"properties":{}}`)}},
		"the longest value, by characters": {`{"properties":{"a":"` + long + `"}}`, "",
			worker.Input{Body: []byte(`{"associations":[],"properties":{"a":"` + long + `"}}`)}},
		"trace id": {`{"objectWriteTraceId":"t\u0031","properties":{}}`, "",
			worker.Input{Body: []byte(`{"associations":[],"properties":{}}`), TraceID: "t1"}},
		"associations null": {`{"associations":null,"properties":{}}`, "",
			worker.Input{Body: []byte(`{"associations":[],"properties":{}}`)}},
		"associations in order, ids as strings": {`{"properties":{},"associations":[
			{"types":[{"associationTypeId":1,"associationCategory":"WORK"},
				{"associationCategory":"USER_DEFINED","associationTypeId":2}],"to":{"id":77}},
			{"to":{"id":"x\"y"},"types":[{"associationCategory":"INTEGRATOR_DEFINED","associationTypeId":2147483647}]}]}`, "",
			worker.Input{Body: []byte(`{"associations":[{"to":{"id":"77"},"types":[{"associationCategory":"WORK",` +
				`"associationTypeId":1},` +
				`{"associationCategory":"USER_DEFINED","associationTypeId":2}]},{"to":{"id":"x\"y"},"types":[` +
				`{"associationCategory":"INTEGRATOR_DEFINED","associationTypeId":2147483647}]}],"properties":{}}`)}},
		"id property carried": {`{"properties":{"i\u0064":"a\u00e9","b":"c"}}`, "id",
			worker.Input{Body: []byte(`{"associations":[],"properties":{"i\u0064":"a\u00e9","b":"c"}}`), IDValue: "aé"}},
		"id property a number": {`{"properties":{"id":7.0}}`, "id",
			worker.Input{Body: []byte(`{"associations":[],"properties":{"id":"7.0"}}`), IDValue: "7.0"}},
		"id property absent": {`{"properties":{"b":"c"}}`, "id",
			worker.Input{Body: []byte(`{"associations":[],"properties":{"b":"c","id":"ev\"1"}}`), IDValue: `ev"1`}},
		"id property null": {`{"properties":{"id":null}}`, "id",
			worker.Input{Body: []byte(`{"associations":[],"properties":{"id":"ev\"1"}}`), IDValue: `ev"1`}},
		"id property empty": {`{"properties":{"id":"","b":"c"}}`, "id",
			worker.Input{Body: []byte(`{"associations":[],"properties":{"b":"c","id":"ev\"1"}}`), IDValue: `ev"1`}},
	} {
		t.Run(name, func(t *testing.T) {
			before := strings.Clone(c.event)
			payload := []byte(c.event)
			got, err := Decode(payload, c.idProperty, `ev"1`)
			if err != nil {
				t.Fatal(err)
			}
			var long decoder
			long.reset(c.idProperty, `ev"1`)
			if err := long.event(payload); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, long.input()); diff != "" {
				t.Error(diff)
			}
			if err := sameSent(c.want, got); err != nil {
				t.Error(err)
			}
			if string(payload) != before {
				t.Error("the payload was changed")
			}
		})
	}
}

// sent is an input as it goes out.
func sent(in worker.Input) []byte { return in.AppendMembers([]byte("{")) }

// sameSent compares what goes out, but for white space and the order of members.
func sameSent(want, got worker.Input) error {
	var w, g map[string]any
	if err := errors.Join(json.Unmarshal(sent(want), &w), json.Unmarshal(sent(got), &g)); err != nil {
		return fmt.Errorf("%w\n%s\n%s", err, sent(want), sent(got))
	}
	if diff := cmp.Diff(w, g); diff != "" {
		return errors.New(diff)
	}
	if got.IDValue != want.IDValue || got.TraceID != want.TraceID {
		return fmt.Errorf("id value %q and trace id %q, want %q and %q", got.IDValue, got.TraceID, want.IDValue, want.TraceID)
	}
	return nil
}

func TestDecodeRejects(t *testing.T) {
	deep := strings.Repeat(`[`, 500_000)
	association := func(s string) string { return `{"properties":{},"associations":[` + s + `]}` }
	typ := func(s string) string { return association(`{"to":{"id":"1"},"types":[` + s + `]}`) }
	for name, c := range map[string]struct{ event, want string }{
		"too large": {strings.Repeat(" ", worker.MaxEventBytes+1),
			"the event has 1048577 bytes, more than the 1048576 that are accepted"},
		"byte-order mark":  {"\xef\xbb\xbf{}", "the event begins with a byte-order mark; want UTF-8 without one (byte 0)"},
		"UTF-16":           {"\xff\xfe{\x00", "the event begins with a byte-order mark; want UTF-8 without one (byte 0)"},
		"empty":            {"", "the event is empty"},
		"white space":      {" \n", "the event is empty"},
		"not JSON":         {`hello`, "the event: not JSON: invalid character 'h' at start of value (byte 0)"},
		"cut off":          {`{"properties":{"a":"b`, "properties.a: not JSON: the event ends too early (byte 21)"},
		"an array":         {`[{}]`, "the event: found an array, want an object (byte 0)"},
		"a string":         {`"x"`, "the event: found a string, want an object (byte 2)"},
		"trailing data":    {`{"properties":{}} {}`, "something follows the event's object (byte 18)"},
		"trailing garbage": {`{"properties":{}}}`, "something follows the event's object (byte 17)"},
		"unknown member": {`{"properties":{},"id":1}`,
			"id: unknown member; known are properties, associations and objectWriteTraceId (byte 20)"},
		"doubled member":   {`{"properties":{},"properties":{}}`, "properties: the member appears twice (byte 17)"},
		"doubled property": {`{"properties":{"a":"1","\u0061":"2"}}`, "properties.a: the member appears twice (byte 23)"},
		"doubled deep down": {association(`{"to":{"id":"1","id":"2"}}`),
			"associations[0].to.id: the member appears twice (byte 49)"},
		"no properties":   {`{}`, "properties is missing"},
		"properties null": {`{"properties":null}`, "properties: found null, want an object (byte 17)"},
		"property an object": {`{"properties":{"amount":{"v":1}}}`,
			"properties.amount: found an object, want a string, number, boolean or null (byte 24)"},
		"property an array": {`{"properties":{"7":[]}}`,
			"properties.7: found an array, want a string, number, boolean or null (byte 19)"},
		"empty name": {`{"properties":{"":"x"}}`, `properties[""]: the name is empty (byte 15)`},
		"odd name": {`{"properties":{"a.b\n":[]}}`,
			`properties["a.b\n"]: found an array, want a string, number, boolean or ` +
				`null (byte 23)`},
		"NUL in a value": {`{"properties":{"a":"x\u0000"}}`, `properties.a: \u0000 can't be stored by the CRM (byte 19)`},
		"NUL in a name": {`{"properties":{"a\u0000":"x"}}`,
			`properties["a\x00"]: \u0000 can't be stored by the CRM (byte 15)`},
		"NUL in a trace id": {`{"properties":{},"objectWriteTraceId":"\u0000"}`,
			`objectWriteTraceId: \u0000 can't be stored by the CRM (byte 38)`},
		"invalid UTF-8":       {"{\"properties\":{\"a\":\"\xff\"}}", "properties.a: not JSON: invalid UTF-8 (byte 20)"},
		"lone surrogate":      {`{"properties":{"a":"\ud800"}}`, "properties.a: not JSON: invalid"},
		"surrogates reversed": {`{"properties":{"a":"\ude00\ud83d"}}`, "properties.a: not JSON: invalid"},
		"a value too long": {`{"properties":{"a":"` + strings.Repeat("é", MaxPropertyChars+1) + `"}}`,
			"properties.a: the value has 65537 characters, more than the 65536 that the API keeps (byte 19)"},
		"a number too long": {`{"properties":{"a":` + strings.Repeat("1", MaxPropertyChars+1) + `}}`,
			"properties.a: the value has 65537 characters, more than the 65536 that the API keeps (byte 19)"},
		"leading zero": {`{"properties":{"a":01}}`, "properties"},
		"trace id a number": {`{"objectWriteTraceId":1,"properties":{}}`,
			"objectWriteTraceId: found a number, want a string (byte 22)"},
		"trace id null": {`{"objectWriteTraceId":null,"properties":{}}`,
			"objectWriteTraceId: found null, want a string (byte 25)"},
		"deep": {`{"properties":{"a":` + deep, "properties.a: found an array, want a string, number, boolean or null (byte " +
			"19)"},
		"deep, unknown":    {`{"x":` + deep, "x: unknown member"},
		"deep association": {`{"associations":` + deep, "associations[0]: found an array, want an object (byte 17)"},

		"associations an object": {`{"associations":{},"properties":{}}`,
			"associations: found an object, want an array or null (byte 16)"},
		"association a string": {association(`"x"`), "associations[0]: found a string, want an object"},
		"association unknown":  {association(`{"x":1}`), "associations[0].x: unknown member; known are to and types"},
		"to missing": {association(`{"types":[{"associationCategory":"WORK","associationTypeId":1}]}`),
			"associations[0]: to is missing (byte 33)"},
		"types missing": {association(`{"to":{"id":"1"}}`), "associations[0]: types is missing (byte 33)"},
		"to a string":   {association(`{"to":"1"}`), "associations[0].to: found a string, want an object"},
		"to unknown":    {association(`{"to":{"x":1}}`), "associations[0].to.x: unknown member; known are id"},
		"id missing":    {association(`{"to":{}}`), "associations[0].to: id is missing"},
		"id null":       {association(`{"to":{"id":null}}`), "associations[0].to.id: found null, want a string or a number"},
		"id empty":      {association(`{"to":{"id":""}}`), "associations[0].to.id: the id is empty"},
		"id a fraction": {association(`{"to":{"id":1.5}}`), "associations[0].to.id: want an id of digits only"},
		"no types":      {typ(``), "associations[0].types: want at least one type"},
		"category unknown": {typ(`{"associationCategory":"X","associationTypeId":1}`),
			"associations[0].types[0].associationCategory: want HUBSPOT_DEFINED"},
		"category missing": {typ(`{"associationTypeId":1}`), "associations[0].types[0]: associationCategory is missing"},
		"type id missing":  {typ(`{"associationCategory":"WORK"}`), "associations[0].types[0]: associationTypeId is missing"},
		"type id a string": {typ(`{"associationCategory":"WORK","associationTypeId":"1"}`),
			"associations[0].types[0].associationTypeId: found a string, want an integer"},
		"type id zero": {typ(`{"associationCategory":"WORK","associationTypeId":0}`),
			"associations[0].types[0].associationTypeId: want an integer from 1 to 2147483647"},
		"type id a fraction": {typ(`{"associationCategory":"WORK","associationTypeId":1.5}`),
			"associations[0].types[0].associationTypeId: want an integer from 1 to"},
		"type id too large": {typ(`{"associationCategory":"WORK","associationTypeId":2147483648}`),
			"associations[0].types[0].associationTypeId: want an integer from 1 to"},
		"second type unknown": {typ(`{"associationCategory":"WORK","associationTypeId":1},{"x":1}`),
			"associations[0].types[1].x: unknown member"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Decode([]byte(c.event), "", "ev")
			var fault *InvalidError
			if !errors.As(err, &fault) {
				t.Fatalf("error %v, input %s", err, got.Body)
			}
			if !strings.HasPrefix(fault.Message, c.want) {
				t.Errorf("message\n%s\nwant\n%s", fault.Message, c.want)
			}
		})
	}
}

// A decoder that is used again carries nothing over, least of all after a fault.
func TestDecodeReuse(t *testing.T) {
	for range 20 {
		if _, err := Decode([]byte(`{"associations":[{"to":{"id":"1"},"types":[{"associationCategory":"WORK",`+
			`"associationTypeId":1}]}],"objectWriteTraceId":"t","properties":{"id":"v","x":[`), "id", "e"); err == nil {
			t.Fatal("accepted")
		}
		for _, event := range []string{`{"properties":{}}`, `{"properties":{"a":1}}`, `{"properties":{"\u0061":"1"}}`} {
			want := strings.NewReplacer(`:1`, `:"1"`, `{"p`, `{"associations":[],"p`).Replace(event)
			got, err := Decode([]byte(event), "", "")
			if err != nil || string(sent(got)) != want || got.TraceID != "" || got.IDValue != "" {
				t.Fatalf("%+v, %v", got, err)
			}
		}
	}
}

// The schema and the decoder agree, but for what a schema can't say.
func TestSchemaAgrees(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(Schema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("event.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("event.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	const work = `{"associationCategory":"WORK","associationTypeId":1}`
	typ := func(s string) string {
		return `{"properties":{},"associations":[{"to":{"id":"1"},"types":[` + s + `]}]}`
	}
	to := func(id string) string {
		return `{"properties":{},"associations":[{"to":{"id":` + id + `},"types":[` + work + `]}]}`
	}
	const good, bad, decoderOnly = "good", "bad", "bad, but not to the schema"
	for event, want := range map[string]string{
		usualEvent:          good,
		`{"properties":{}}`: good,
		`{"properties":{"a":null,"b":1.5,"c":false}}`: good,
		`{"properties":{},"associations":null}`:       good,
		`{"properties":{},"associations":[]}`:         good,
		`{"properties":{},"objectWriteTraceId":""}`:   good,
		`{"properties":{"a":"` + strings.Repeat("é", MaxPropertyChars) +
			`"}}`: good,
		`{"properties":{"a":"line\nbreak"}}`:                                 good,
		typ(`{"associationCategory":"WORK","associationTypeId":1}`):          good,
		typ(`{"associationCategory":"WORK","associationTypeId":2147483647}`): good,
		to(`12`): good,

		`{}`:                             bad,
		`[]`:                             bad,
		`null`:                           bad,
		`{"properties":null}`:            bad,
		`{"properties":[]}`:              bad,
		`{"properties":{},"x":1}`:        bad,
		`{"properties":{"a":{}}}`:        bad,
		`{"properties":{"a":[]}}`:        bad,
		`{"properties":{"":"a"}}`:        bad,
		`{"properties":{"a":"\u0000"}}`:  bad,
		`{"properties":{"a\u0000":"b"}}`: bad,
		`{"properties":{},"objectWriteTraceId":"\n\u0000"}`:                      bad,
		`{"properties":{},"objectWriteTraceId":1}`:                               bad,
		`{"properties":{},"objectWriteTraceId":null}`:                            bad,
		`{"properties":{"a":"` + strings.Repeat("é", MaxPropertyChars+1) + `"}}`: bad,
		`{"properties":{},"associations":{}}`:                                    bad,
		`{"properties":{},"associations":[null]}`:                                bad,
		`{"properties":{},"associations":[{}]}`:                                  bad,
		typ(``):                                                                  bad,
		typ(`{}`):                                                                bad,
		typ(`{"associationCategory":"X","associationTypeId":1}`):                 bad,
		typ(`{"associationCategory":"WORK","associationTypeId":"1"}`):            bad,
		typ(`{"associationCategory":"WORK","associationTypeId":0}`):              bad,
		typ(`{"associationCategory":"WORK","associationTypeId":1.5}`):            bad,
		typ(`{"associationCategory":"WORK","associationTypeId":2147483648}`):     bad,
		typ(`{"associationCategory":"WORK","associationTypeId":1,"x":1}`):        bad,
		to(`""`):   bad,
		to(`-1`):   bad,
		to(`null`): bad,

		// A schema sees values: not how they are written, nor what a parser made of them.
		`{"properties":{},"properties":{}}`:                           decoderOnly, // doubled members
		`{"properties":{"a":"1","a":"2"}}`:                            decoderOnly,
		`{"properties":{"a":"\ud800"}}`:                               decoderOnly, // lone surrogates
		"{\"properties\":{\"a\":\"\xff\"}}":                           decoderOnly, // invalid UTF-8
		typ(`{"associationCategory":"WORK","associationTypeId":1.0}`): decoderOnly, // an integer, to a schema
		to(`1e2`): decoderOnly,
		// a number's digits
		`{"properties":{"a":` + strings.Repeat("1", MaxPropertyChars+1) +
			`}}`: decoderOnly,
		// size
		`{"properties":{}}` +
			strings.Repeat(" ", worker.MaxEventBytes): decoderOnly,
	} {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(event))
		if err != nil {
			t.Errorf("%.80s: %v", event, err)
			continue
		}
		schemaErr := schema.Validate(value)
		_, decodeErr := Decode([]byte(event), "", "")
		if (schemaErr == nil) != (want != bad) || (decodeErr == nil) != (want == good) {
			t.Errorf("%.120s: want %s; schema: %v; decoder: %v", event, want, schemaErr, decodeErr)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(usualEvent), "external_id")
	f.Add([]byte(`{"properties":{"id":"","n":1e3,"z":null},"objectWriteTraceId":"t"}`), "id")
	f.Add([]byte(`{"properties":{"a":"1","a":"2"}}`), "")
	f.Add([]byte("{\"properties\":{\"\xff\":[\"\\ud800\"]}}"), "")
	const eventID = `stream:7"é`
	f.Fuzz(func(t *testing.T, payload []byte, idProperty string) {
		if !utf8.ValidString(idProperty) || strings.ContainsRune(idProperty, 0) {
			t.Skip() // configuration, and not such as Decode promises anything for
		}
		got, err := Decode(payload, idProperty, eventID)
		if err != nil {
			var fault *InvalidError
			if !errors.As(err, &fault) || fault.Message == "" || !utf8.ValidString(fault.Message) ||
				strings.ContainsRune(fault.Message, 0) || len(fault.Message) > 4096 {
				t.Fatalf("%q", err)
			}
			return
		}
		if err := compare(payload, got, idProperty, eventID); err != nil {
			t.Fatalf("%v\n%q\n%s", err, payload, sent(got))
		}
		// What goes out is an event itself, and one that stays as it is.
		out := sent(got)
		again, err := Decode(out, idProperty, "another")
		if len(out) <= worker.MaxEventBytes && (err != nil || !bytes.Equal(sent(again), out) ||
			again.IDValue != got.IDValue) {
			t.Fatalf("decoded again: %v\n%s\n%s", err, out, sent(again))
		}
	})
}

// compare holds an Input against what encoding/json sees of its payload.
func compare(payload []byte, got worker.Input, idProperty, eventID string) error {
	var in struct {
		Properties         map[string]any
		ObjectWriteTraceID string `json:"objectWriteTraceId"`
	}
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber()
	if err := decoder.Decode(&in); err != nil {
		return err
	}
	var out struct {
		Associations []any
		Properties   map[string]string
	}
	if !json.Valid(sent(got)) {
		return errors.New("what goes out is not JSON")
	}
	if err := json.Unmarshal(sent(got), &out); err != nil {
		return err
	}
	want := map[string]string{}
	for name, value := range in.Properties {
		if value != nil {
			want[name] = fmt.Sprint(value)
		}
	}
	if idProperty != "" {
		if want[idProperty] == "" {
			want[idProperty] = eventID
		}
		if got.IDValue != want[idProperty] {
			return fmt.Errorf("id value %q, want %q", got.IDValue, want[idProperty])
		}
	}
	if diff := cmp.Diff(want, out.Properties); diff != "" {
		return errors.New(diff)
	}
	if out.Associations == nil || got.TraceID != in.ObjectWriteTraceID {
		return fmt.Errorf("associations %v, trace id %q", out.Associations, got.TraceID)
	}
	return nil
}

func BenchmarkDecode(b *testing.B) {
	payload := []byte(usualEvent)
	b.ReportAllocs()
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		if _, err := Decode(payload, "external_id", "CRM_EVENTS:1"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeFlat(b *testing.B) {
	at := strings.Index(usualEvent, `,"associations"`)
	payload := []byte(usualEvent[:at] + `}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		if _, err := Decode(payload, "external_id", "CRM_EVENTS:1"); err != nil {
			b.Fatal(err)
		}
	}
}
