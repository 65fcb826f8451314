package hubspot

import (
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"crmintake/worker"

	"github.com/go-json-experiment/json/jsontext"
)

// traces are the trace ids of one call: what was sent for each input, and the way back.
type traces struct {
	sent  []string
	index map[string]int // -1 while assigning: an id that several inputs have
}

// assign keeps each input's own trace id if it is unique in the batch and JSON can carry it; the others get a short
// one that no input has.
func (t *traces) assign(inputs []worker.Input) {
	if t.index == nil {
		t.index = make(map[string]int, MaxInputs)
	}
	clear(t.index)
	t.sent = t.sent[:0]
	for i := range inputs {
		id := inputs[i].TraceID
		if id == "" {
			continue
		}
		if _, taken := t.index[id]; taken || !utf8.ValidString(id) {
			t.index[id] = -1
		} else {
			t.index[id] = i
		}
	}
	for i := range inputs {
		id := inputs[i].TraceID
		if at, ok := t.index[id]; !ok || at != i {
			id = shortIDs[i]
			for n := 0; ; n++ {
				if _, taken := t.index[id]; !taken {
					break
				}
				id = shortIDs[i] + "-" + strconv.Itoa(n)
			}
			t.index[id] = i
		}
		t.sent = append(t.sent, id)
	}
}

// shortIDs are the trace ids that are given where the event has none of its own.
var shortIDs = func() (ids [MaxInputs]string) {
	for i := range ids {
		ids[i] = "i" + strconv.Itoa(i)
	}
	return ids
}()

// badInput is the index of an input whose body is no JSON object, which Decode never makes.
type badInput int

func (b badInput) Error() string {
	return fmt.Sprintf("input %d: the body is not a JSON object", int(b))
}

// encodeCreate appends the body of a batch create call to dst.
func encodeCreate(dst []byte, inputs []worker.Input, sent []string) ([]byte, error) {
	size := len(`{"inputs":[]}`)
	for i := range inputs {
		size += len(`,{"objectWriteTraceId":"","associations":[],`) + len(sent[i]) + inputs[i].Len()
	}
	dst = append(slices.Grow(dst, size), `{"inputs":[`...)
	for i := range inputs {
		body := inputs[i].Body
		if len(body) < 2 || body[0] != '{' || body[len(body)-1] != '}' {
			return dst, badInput(i)
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"objectWriteTraceId":`...)
		dst, _ = jsontext.AppendQuote(dst, sent[i]) // assign lets only valid UTF-8 through
		if len(body) > 2 {
			dst = append(dst, ',')
		}
		dst = inputs[i].AppendMembers(dst)
	}
	return append(dst, `]}`...), nil
}

// encodeRead appends the body of a batch read call to dst. The id property is asked for because the answer's ids are
// record ids: its echo is the only way back to the value. Without one the values are record ids.
func encodeRead(dst []byte, idProperty string, values, properties []string) ([]byte, error) {
	var err error
	dst = append(dst, '{')
	if idProperty != "" {
		dst = append(dst, `"idProperty":`...)
		if dst, err = jsontext.AppendQuote(dst, idProperty); err != nil {
			return dst, fmt.Errorf("id property: %w", err)
		}
		dst = append(dst, ',')
		properties = append([]string{idProperty}, properties...)
	}
	dst = append(dst, `"inputs":[`...)
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"id":`...)
		if dst, err = jsontext.AppendQuote(dst, v); err != nil {
			return dst, fmt.Errorf("value %d: %w", i, err)
		}
		dst = append(dst, '}')
	}
	dst = append(dst, `],"properties":[`...)
	for i, name := range properties {
		if slices.Contains(properties[:i], name) {
			continue
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = jsontext.AppendQuote(dst, name); err != nil {
			return dst, fmt.Errorf("property %d: %w", i, err)
		}
	}
	return append(dst, `],"propertiesWithHistory":[]}`...), nil
}
