// Package parallel has the default of this module's packages for tests that run at once. Most of these tests wait for
// servers, and few compute; as many at once as there are processors leave the processors idle.
package parallel

import (
	"flag"
	"runtime"
	"strconv"
)

// tests is how many parallel tests of one package run at once, where there are no more processors.
const tests = 8

// Default has at least eight parallel tests run at once, unless -parallel was given. A package's TestMain calls it
// before it runs the tests.
func Default() {
	if !flag.Parsed() {
		flag.Parse()
	}
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if given {
		return
	}
	if err := flag.Set("test.parallel", strconv.Itoa(max(tests, runtime.GOMAXPROCS(0)))); err != nil {
		panic(err) // only of a binary that is no test
	}
}
