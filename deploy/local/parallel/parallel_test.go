package parallel

import (
	"flag"
	"os"
	"strconv"
	"testing"
)

// before is what -parallel was before TestMain asked for the default, and whether the user gave it.
var before struct {
	value string
	given bool
}

func TestMain(m *testing.M) {
	flag.Parse()
	before.value = value()
	flag.Visit(func(f *flag.Flag) { before.given = before.given || f.Name == "test.parallel" })
	Default()
	os.Exit(m.Run())
}

func value() string { return flag.Lookup("test.parallel").Value.String() }

func TestDefault(t *testing.T) {
	if before.given {
		if value() != before.value {
			t.Errorf("-parallel is %s, although %s was given", value(), before.value)
		}
		return
	}
	if n, err := strconv.Atoi(value()); err != nil || n < tests {
		t.Errorf("-parallel is %s, want at least %d", value(), tests)
	}
}

// A value that was given stays: that of the command line, and one that was set, as Default's own is.
func TestGiven(t *testing.T) {
	old := value()
	t.Cleanup(func() {
		if err := flag.Set("test.parallel", old); err != nil {
			t.Error(err)
		}
	})
	if err := flag.Set("test.parallel", "3"); err != nil {
		t.Fatal(err)
	}
	Default()
	if value() != "3" {
		t.Errorf("-parallel is %s, although 3 was given", value())
	}
}
