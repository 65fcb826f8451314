package local

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// TempDir makes a temporary directory that goes away with remove, or else with this process, however it ends. The
// caller keeps remove for as long as it uses the directory: the guardian hangs on it. Calling it again does nothing.
func TempDir(prefix string) (dir string, remove func() error, err error) {
	dir, err = os.MkdirTemp("", prefix)
	if err != nil {
		return "", nil, err
	}
	// The shell reads from a pipe whose only write end is ours. In a session of its own it doesn't see a Ctrl-C.
	cmd := exec.Command("/bin/sh", "-c", `trap '' HUP; while read -r line; do :; done; rm -rf -- "$1"`,
		"crmintake-directory-guardian", dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("guardian of %s: %w", dir, err), os.RemoveAll(dir))
	}
	return dir, func() error {
		_ = pipe.Close() // fails only if it is closed already
		_ = cmd.Wait()   // its status doesn't matter: what it left is removed here
		return os.RemoveAll(dir)
	}, nil
}
