package pgcluster

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"crmintake/deploy/local/internal/reach"
)

// owner returns the user to run the server as, or nil if that is the user we are.
func owner() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody " +
		"to run it as")
}

// makeDir makes the cluster's directory, which belongs to as, in a place that as can reach.
func makeDir(as *syscall.Credential, inMemory bool) (string, error) {
	parent := os.TempDir()
	if inMemory && memory != "" && room(memory) >= leastMemory && open(memory) {
		parent = memory
	}
	if as != nil && !open(parent) {
		parent = "/tmp" // $TMPDIR is root's own
	}
	dir, err := os.MkdirTemp(parent, "crmintake-postgres-")
	if err != nil {
		return "", err
	}
	if as != nil {
		if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
	}
	return dir, nil
}

// leastMemory is what has to be free of the memory's file system, in bytes: a cluster of tests takes some hundred MB.
const leastMemory = 1 << 30

// open tells whether everybody can enter path and write to it.
func open(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&0o003 == 0o003 && reach.Everybody(path)
}
