package flags

import "fmt"

// usageError is a fault of the command line or of the settings, and not of the world: exit code 2.
type UsageError struct{ error }

func (e UsageError) Unwrap() error { return e.error }

// asUsage makes a usageError of an error.
func Usage(err error) error { return UsageError{err} }

func Usagef(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }
