package flags

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"crmintake/worker/pipeline"
)

// outcomeFlags say what becomes of events.
type Outcome struct {
	IDProperty    IDProperties  `name:"id-property" help:"For each object type a property with unique values, by which its records can be found: objectType=property. Where an event has no value for it, the event's id goes there." placeholder:"TYPE=NAME,…"`
	OnUnknown     UnknownRules  `help:"What to do with an event whose call may or may not have created its record, where there is no id property: park it for a person, or resend it and mark it as a possible duplicate. For one object type, as notes=resend; both may be given: park,notes=resend." default:"park" placeholder:"park|resend|TYPE=resend,…"`
	OnConflict    string        `help:"What to do with an event whose unique value a record has already: dead (a person decides), or adopt that record as the event's." enum:"dead,adopt" default:"dead" placeholder:"dead|adopt"`
	Settle        time.Duration `help:"How long after an unanswered call to ask what became of it." default:"10s" placeholder:"TIME"`
	RetryInitial  time.Duration `help:"The first wait before an event is sent again; each is about twice as long as the one before, at random." default:"1s" placeholder:"TIME"`
	RetryMax      time.Duration `help:"The longest wait." default:"1h" placeholder:"TIME"`
	RetryAttempts int           `help:"Calls that an event takes part in before it is dead." default:"12" placeholder:"N"`
	RetryAge      time.Duration `help:"How old an event gets before it is dead rather than sent again; it ages in a pause, too." default:"24h" placeholder:"TIME"`
	KeepPayload   bool          `help:"Keep the event of a created record, too."`
	KeepResult    bool          `help:"Keep the API's result of a created record as received."`
	KeepCreated   Keep          `help:"How long to keep the row of a created record; off (or 0) for ever. Must outlast the time after which the same event may be published or delivered again: without its row it is a new one." default:"720h" placeholder:"TIME"`
}

// keepFlag is a time; the zero value is for ever.
type Keep time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *Keep) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*k = 0
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d < 0 {
		return fmt.Errorf("%q: want a time, as 720h, or off", text)
	}
	*k = Keep(d)
	return nil
}

// orForEver is the time as a worker's settings have it.
func (k Keep) OrForEver() time.Duration {
	if k == 0 {
		return -1
	}
	return time.Duration(k)
}

// unknownRules are the words of --on-unknown: at most one for all object types, and one for each that it names.
type UnknownRules []unknownRule

type unknownRule struct {
	objectType string // "" for those that no rule names
	how        pipeline.OnUnknown
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *unknownRule) UnmarshalText(text []byte) error {
	objectType, how, named := strings.Cut(string(text), "=")
	if !named {
		objectType, how = "", objectType
	}
	*r = unknownRule{objectType, pipeline.OnUnknown(how)}
	if named && objectType == "" || r.how != pipeline.Park && r.how != pipeline.Resend {
		return fmt.Errorf("%q: want park or resend, or the same for one object type, as notes=resend", text)
	}
	return nil
}

// validate finds rules that contradict each other.
func (rules UnknownRules) Check() error {
	var faults []error
	seen := map[string]pipeline.OnUnknown{}
	for _, r := range rules {
		if before, ok := seen[r.objectType]; ok && before != r.how {
			what := r.objectType
			if what == "" {
				what = "all other object types"
			}
			faults = append(faults, fmt.Errorf("--on-unknown: both %s and %s for %s; give one", before, r.how, what))
		}
		seen[r.objectType] = r.how
	}
	return errors.Join(faults...)
}

// others is the rule for object types that have none of their own; "" is the worker's default.
func (rules UnknownRules) Others() (how pipeline.OnUnknown) {
	for _, r := range rules {
		if r.objectType == "" {
			how = r.how
		}
	}
	return how
}

func (rules UnknownRules) ByType() map[string]pipeline.OnUnknown {
	of := map[string]pipeline.OnUnknown{}
	for _, r := range rules {
		if r.objectType != "" {
			of[r.objectType] = r.how
		}
	}
	return of
}

// idPropertyOfTypes is the id property of each object type.
type IDProperties map[string]string

// Decode implements kong.MapperValue. One object type with two properties can't be meant: which of them would count?
func (p *IDProperties) Decode(ctx *kong.DecodeContext) error {
	var text string
	if err := ctx.Scan.PopValueInto("map", &text); err != nil {
		return err
	}
	if *p == nil {
		*p = IDProperties{}
	}
	for one := range strings.SplitSeq(text, ",") {
		objectType, name, ok := strings.Cut(one, "=")
		before, twice := (*p)[objectType]
		switch {
		case one == "":
		case !ok:
			return fmt.Errorf("%q: want objectType=property, as deals=source_event_id", one)
		case twice && before != name:
			return fmt.Errorf("both %s and %s for %s; give one", before, name, objectType)
		default:
			(*p)[objectType] = name
		}
	}
	return nil
}
