package main

import "fmt"

// usageError is a fault of the command line or of the settings, and not of the world: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// asUsage makes a usageError of an error.
func asUsage(err error) error { return usageError{err} }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }
