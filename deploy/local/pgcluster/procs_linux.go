package pgcluster

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// memory is where Linux has a file system in memory. In a container it is often a small one.
const memory = "/dev/shm"

// room is what is free below a directory, in bytes.
func room(dir string) int64 {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return 0
	}
	return int64(s.Bavail) * s.Bsize
}

// A process as /proc/<pid>/stat shows it.
type process struct {
	pid, parent     int
	zombie, stopped bool
	own, reaped     time.Duration // CPU of itself, and of its children that have ended
}

func readProcess(pid int) (process, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, false
	}
	// The second field is the name in parentheses and may hold anything, so count from its end: fields[0] is the third.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 15 {
		return process{}, false
	}
	num := func(field int) int64 {
		n, _ := strconv.ParseInt(string(fields[field-3]), 10, 64)
		return n
	}
	const tick = time.Second / 100 // USER_HZ, 100 wherever Go and PostgreSQL run
	return process{
		pid:     pid,
		parent:  int(num(4)),
		zombie:  fields[0][0] == 'Z',
		stopped: fields[0][0] == 'T',
		own:     time.Duration(num(14)+num(15)) * tick,
		reaped:  time.Duration(num(16)+num(17)) * tick,
	}, true
}

func children(parent int) (list []process) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, ok := readProcess(pid); ok && p.parent == parent {
			list = append(list, p)
		}
	}
	return list
}

func gone(pid int) bool {
	p, ok := readProcess(pid)
	return !ok || p.zombie
}

// stopped tells whether a process does nothing more, by SIGSTOP or because it has ended.
func stopped(pid int) bool {
	p, ok := readProcess(pid)
	return !ok || p.zombie || p.stopped
}

func cpuTime(pid int) time.Duration {
	// Children first: one that ends in between is then counted twice in part, rather than left out and missed
	// by a difference of two readings.
	var sum time.Duration
	for _, p := range children(pid) {
		sum += p.own
	}
	p, _ := readProcess(pid)
	return sum + p.own + p.reaped
}
