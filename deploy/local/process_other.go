//go:build !linux

package local

import (
	"os"
	"runtime"
	"syscall"
	"time"
)

func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func cpuTime(int) time.Duration { return 0 }

func memory(int) usage { return usage{} }

func reportedPeak(s *os.ProcessState) int64 {
	peak := int64(s.SysUsage().(*syscall.Rusage).Maxrss)
	if runtime.GOOS == "darwin" {
		return peak // bytes here, KiB on the BSDs
	}
	return peak << 10
}
