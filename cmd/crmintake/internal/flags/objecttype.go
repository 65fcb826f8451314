package flags

import (
	"errors"
	"regexp"
	"strings"

	"crmintake/worker/event"
)

var objectTypeLetters = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// objectTypeFault says why a name is no object type's; nil if it is one.
func ObjectTypeFault(name string) error {
	_, invalid := event.ObjectType(name, "")
	switch {
	case invalid == "":
		return nil
	case objectTypeLetters.MatchString(name): // what else is wrong is said there
		return errors.New(strings.Replace(invalid, " in the subject", "", 1))
	}
	return errors.New("want letters, digits, _ and -")
}
