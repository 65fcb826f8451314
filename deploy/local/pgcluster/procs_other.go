//go:build !linux

package pgcluster

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

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

func cpuTime(int) time.Duration { return 0 }
