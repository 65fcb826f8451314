package main

import (
	"errors"
	"fmt"
	"strings"

	"crmintake/worker/pipeline"
)

// unknownRules are the words of --on-unknown: at most one for all object types, and one for each that it names.
type unknownRules []unknownRule

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
func (rules unknownRules) validate() error {
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
func (rules unknownRules) others() (how pipeline.OnUnknown) {
	for _, r := range rules {
		if r.objectType == "" {
			how = r.how
		}
	}
	return how
}

func (rules unknownRules) byType() map[string]pipeline.OnUnknown {
	of := map[string]pipeline.OnUnknown{}
	for _, r := range rules {
		if r.objectType != "" {
			of[r.objectType] = r.how
		}
	}
	return of
}
