package local

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func cpuTime(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The second field is the name in parentheses and may hold anything, so count from its end: fields[0] is the third.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(string(fields[14-3]), 10, 64)
	system, _ := strconv.ParseInt(string(fields[15-3]), 10, 64)
	return time.Duration(user+system) * (time.Second / 100) // USER_HZ, 100 wherever Go runs
}

// memory is nothing when the process has ended.
func memory(pid int) (u usage) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return usage{}
	}
	for line := range bytes.Lines(b) {
		name, rest, _ := bytes.Cut(line, []byte(":"))
		into := map[string]*int64{"VmHWM": &u.all, "RssAnon": &u.anonymous}[string(name)]
		if into == nil {
			continue
		}
		fmt.Sscan(string(rest), into)
		*into <<= 10 // from KiB
	}
	return u
}

func reportedPeak(s *os.ProcessState) int64 {
	return s.SysUsage().(*syscall.Rusage).Maxrss << 10 // KiB here
}
