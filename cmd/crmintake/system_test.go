package main

import (
	"io"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"

	"crmintake/cmd/crmintake/internal/flags"
)

// owned are the variables that tests set for themselves, by the tests' names. t.Setenv would set them for all, so
// that no two tests could run at once.
var owned = struct {
	mu sync.Mutex
	of map[string]flags.Environment
}{of: map[string]flags.Environment{}}

// setenv sets a variable for the program that a test and its subtests run, until the test ends.
func setenv(t testing.TB, name, value string) {
	t.Helper()
	owned.mu.Lock()
	defer owned.mu.Unlock()
	if owned.of[t.Name()] == nil {
		owned.of[t.Name()] = flags.Environment{}
		t.Cleanup(func() {
			owned.mu.Lock()
			defer owned.mu.Unlock()
			delete(owned.of, t.Name())
		})
	}
	owned.of[t.Name()][name] = value
}

// environmentIn is what the program sees that a test runs: what the test and those around it have set, over what the
// process has.
func environmentIn(t testing.TB) flags.Environment {
	env := flags.EnvironmentOf(os.Environ())
	env["CRMINTAKE_ADMIN_ADDR"] = "127.0.0.1:0" // workers of several tests and packages run at once
	owned.mu.Lock()
	defer owned.mu.Unlock()
	name := ""
	for part := range strings.SplitSeq(t.Name(), "/") {
		name = strings.TrimPrefix(name+"/"+part, "/")
		maps.Copy(env, owned.of[name])
	}
	return env
}

func getenv(t testing.TB, name string) string { return environmentIn(t)[name] }

// systemIn is the system of a program that a test runs.
func systemIn(t testing.TB, in io.Reader, out, err io.Writer) system {
	return system{in, out, err, environmentIn(t)}
}
