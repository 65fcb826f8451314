//go:build !linux

package pgcluster

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const memory = ""

func room(string) int64 { return 0 }

type process struct{ pid int }

func children(parent int) (list []process) {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) != 2 || f[1] != strconv.Itoa(parent) {
			continue
		}
		if pid, err := strconv.Atoi(f[0]); err == nil {
			list = append(list, process{pid})
		}
	}
	return list
}

func gone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH }

// stopped tells whether a process does nothing more, by SIGSTOP or because it has ended.
func stopped(pid int) bool {
	out, err := exec.Command("ps", "-o", "state=", "-p", strconv.Itoa(pid)).Output()
	state := strings.TrimSpace(string(out))
	return err != nil || strings.HasPrefix(state, "T") || strings.HasPrefix(state, "Z")
}

func cpuTime(int) time.Duration { return 0 }
