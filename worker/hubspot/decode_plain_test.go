package hubspot

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// read is what was read of a body.
type read struct {
	Results    []result
	Status     string
	HasResults bool
	Errors     int
	Top        apiError
}

func (d *document) read() read {
	return read{append([]result{}, d.results...), d.status, d.hasResults, len(d.errors), d.top}
}

// agree decodes in both ways. What plain takes, the long way must take, too, and both must have read the same.
func agree(body []byte) (taken bool, err error) {
	short, long := new(document), new(document)
	short.reset(body, nil)
	if !short.plain(body) {
		return false, nil
	}
	long.reset(body, nil)
	if err := long.readTop(); err != nil {
		return true, fmt.Errorf("taken, though %w", err)
	}
	if rest := strings.Trim(string(body[long.in.json.InputOffset():]), " \t\r\n"); rest != "" {
		return true, fmt.Errorf("taken, though %q follows", rest)
	}
	if want, got := long.read(), short.read(); !reflect.DeepEqual(want, got) { // cmp is slow
		return true, fmt.Errorf("something else is read: %s",
			cmp.Diff(want, got, cmp.AllowUnexported(result{}, apiError{}, detail{}, absent{})))
	}
	if short.policy+short.correlation != "" || short.numErrors || long.numErrors {
		return true, fmt.Errorf("more is read")
	}
	return true, nil
}

var plainAnswers = []string{
	`{"status":"COMPLETE"}`,
	complete(`"results":[]`),
	complete(`"results":[{"x":[]}]`),
	complete(`"results":[{"id":"1","properties":{"a":"x \"y\"","n":null},"createdAt":"2026-02-01T00:00:00.000Z",` +
		`"archived":false,` +
		`"url":"https://app/1","objectWriteTraceId":"i0"},{"id":2,"warnings":[{"a":[1]}],"objectWriteTraceId":"i1"}]`),
	" {\n\"results\" : [ { \"id\" : \"1\" , \"x\" : [ 1 , { } ] } ] , \"status\" : \"PENDING\" } \r\n",
}

func TestPlainTakesTheUsual(t *testing.T) {
	_, body := contracts()
	for _, answer := range append(plainAnswers, string(body)) {
		if taken, err := agree([]byte(answer)); !taken || err != nil {
			t.Errorf("%s: taken %v, %v", answer, taken, err)
		}
	}
}

func TestPlainDeclines(t *testing.T) {
	for name, answer := range map[string]string{
		"errors":              complete(`"results":[],"errors":[]`),
		"a count of errors":   complete(`"results":[],"numErrors":0`),
		"a category":          complete(`"category":"CONFLICT"`),
		"two ids":             complete(`"results":[{"id":"1","id":"1"}]`),
		"two trace ids":       complete(`"results":[{"objectWriteTraceId":"a","objectWriteTraceId":"b"}]`),
		"an escaped id":       complete(`"results":[{"id":"\/"}]`),
		"an id of null":       complete(`"results":[{"id":null}]`),
		"an id that is a map": complete(`"results":[{"id":{}}]`),
		"results twice":       complete(`"results":[],"results":[]`),
		"results of null":     complete(`"results":null`),
		"a result of null":    complete(`"results":[null]`),
		"too many results":    complete(`"results":[` + strings.Repeat("{},", maxResults) + `{}]`),
		"no UTF-8":            complete("\"results\":[{\"id\":\"\xff\"}]"),
		"what follows":        `{} {}`,
		"nothing":             ``,
		"no object":           `[]`,
	} {
		if taken, err := agree([]byte(answer)); taken {
			t.Errorf("%s is taken: %v", name, err)
		}
	}
}

// Answers that were changed a little are what they are for the long way, too.
func TestPlainAgrees(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	pieces := []string{`{`, `}`, `[`, `]`, `"`, `,`, `:`, `\`, ` `, "\n", `0`, `-`, `null`, `true`, `""`, `"id":"1",`,
		`"id":7,`, `"results":[],`,
		`"status":"X",`, `"objectWriteTraceId":"i2",`, `"properties":{},`, `"url":null,`, `\u0041`, `\n`, "é", "\x00", "\xff"}
	taken := 0
	for range 30_000 {
		answer := plainAnswers[random.IntN(len(plainAnswers))]
		for range 1 + random.IntN(2) {
			from := random.IntN(len(answer) + 1)
			to := min(len(answer), from+random.IntN(3))
			answer = answer[:from] + pieces[random.IntN(len(pieces))] + answer[to:]
		}
		ok, err := agree([]byte(answer))
		if err != nil {
			t.Fatalf("%q: %v", answer, err)
		}
		if ok {
			taken++
		}
	}
	if taken < 1000 {
		t.Errorf("only %d answers were taken: the test says little", taken)
	}
}

func FuzzPlainAgrees(f *testing.F) {
	for _, answer := range plainAnswers {
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := agree(body); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
	})
}
