package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"

	"crmintake/worker/event"
)

// idPropertyOfTypes is the id property of each object type.
type idPropertyOfTypes map[string]string

// Decode implements kong.MapperValue. One object type with two properties can't be meant: which of them would count?
func (p *idPropertyOfTypes) Decode(ctx *kong.DecodeContext) error {
	var text string
	if err := ctx.Scan.PopValueInto("map", &text); err != nil {
		return err
	}
	if *p == nil {
		*p = idPropertyOfTypes{}
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

var objectTypeLetters = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// objectTypeFault says why a name is no object type's; nil if it is one.
func objectTypeFault(name string) error {
	_, invalid := event.ObjectType(name, "")
	switch {
	case invalid == "":
		return nil
	case objectTypeLetters.MatchString(name): // what else is wrong is said there
		return errors.New(strings.Replace(invalid, " in the subject", "", 1))
	}
	return errors.New("want letters, digits, _ and -")
}
