package pgcluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// errNoFaketime tells why a server can have no clock of its own. One line, because people read it in a report.
var errNoFaketime = errors.New("libfaketime is not installed: " +
	"on Debian or Ubuntu type 'apt-get install -y libfaketime'")

// Faketime returns the library that gives a server a clock of its own, for Config.Faketime. The error says how to get
// it.
func Faketime() (path string, err error) {
	for _, pattern := range []string{
		"/usr/lib/*/faketime/libfaketime.so.1", // Debian, Ubuntu
		"/usr/lib*/faketime/libfaketime.so.1",  // Red Hat, others
	} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 { // the only error is a malformed pattern
			return found[0], nil
		}
	}
	return "", errNoFaketime
}

// clockEnv has all that the server starts read its clock's lead from a file at each look at the time. The monotonic
// clock, by which it waits, is the machine's.
func (c *Cluster) clockEnv(library string) []string {
	return []string{"LD_PRELOAD=" + library, "FAKETIME_TIMESTAMP_FILE=" + c.clockFile(), "FAKETIME_NO_CACHE=1",
		"FAKETIME_DONT_FAKE_MONOTONIC=1"}
}

func (c *Cluster) clockFile() string { return filepath.Join(c.dir, "clock") }

// SetClock has the server's clock go ahead of this machine's by so much, or behind it if that is less than 0, at once
// and over restarts. The cluster needs Config.Faketime.
func (c *Cluster) SetClock(ahead time.Duration) error {
	if !c.ownClock {
		return errors.New("set PostgreSQL's clock: the cluster has none of its own")
	}
	next := c.clockFile() + ".next" // whoever reads the file finds all of a time in it
	err := os.WriteFile(next, fmt.Appendf(nil, "%+.3f\n", ahead.Seconds()), 0o644)
	if err == nil {
		err = os.Chmod(next, 0o644) // the server's user is another, perhaps
	}
	if err == nil {
		err = os.Rename(next, c.clockFile())
	}
	if err != nil {
		return fmt.Errorf("set PostgreSQL's clock: %w", err)
	}
	return nil
}
