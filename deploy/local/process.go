package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"crmintake/deploy/local/internal/tail"
)

// built is the program, once this process has built it, and of which module: to link it takes seconds of CPU.
var built struct {
	mu      sync.Mutex
	mod     string
	program []byte
}

// BuildWorker builds the program into dir, as it is built for production, and returns its path. It is built once a
// process. The current directory must be within this module.
func BuildWorker(ctx context.Context, dir string) (path string, err error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("build the worker: go env GOMOD: %w", err)
	}
	mod := strings.TrimSpace(string(out))
	if mod == "" || mod == os.DevNull {
		return "", errors.New("build the worker: the current directory is in no Go module; run this from the repository")
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", fmt.Errorf("build the worker: %w", err)
	}
	path = filepath.Join(dir, "crmintake")
	built.mu.Lock()
	defer built.mu.Unlock()
	if built.mod == mod {
		err = os.WriteFile(path, built.program, 0o755)
	} else if err = build(ctx, filepath.Dir(mod), path); err == nil {
		if built.program, err = os.ReadFile(path); err == nil {
			built.mod = mod
		}
	}
	if err != nil {
		return "", fmt.Errorf("build the worker: %w", err)
	}
	return path, nil
}

func build(ctx context.Context, module, path string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "crmintake/cmd/crmintake")
	cmd.Dir, cmd.Env = module, append(os.Environ(), "CGO_ENABLED=0") // as the image has it
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// ProcessConfig says what to run.
type ProcessConfig struct {
	Path           string
	Args           []string  // without the program's name
	Env            []string  // the whole environment; nil for ours
	Stdout, Stderr io.Writer // nil for nowhere
}

// Process is a child process in a group of its own, which a Ctrl-C on our terminal doesn't reach. On Linux the kernel
// kills it when this process dies. Its methods may be called by many goroutines at once.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has been waited for
	err  error         // what Wait returns; read it after done
	log  *tail.Tail

	mu   sync.Mutex
	peak usage // the largest of each seen while it ran
}

// usage is resident memory, in bytes.
type usage struct {
	all       int64 // the program's own file, as far as it is mapped, included; of a process that runs, its peak so far
	anonymous int64 // what the process has for itself: heap, stacks and the like
}

// sampling is how often memory is read. The kernel keeps the peak of all of it, so that only the last moments can be
// missed; of what is anonymous it keeps none, so that a shorter peak can be.
const sampling = 50 * time.Millisecond

// StartProcess starts the process. When ctx ends, the process and its group are killed.
func StartProcess(ctx context.Context, cfg ProcessConfig) (*Process, error) {
	cmd := exec.CommandContext(ctx, cfg.Path, cfg.Args...)
	log := &tail.Tail{To: cfg.Stderr}
	cmd.Env, cmd.Stdout, cmd.Stderr = cfg.Env, cfg.Stdout, log
	cmd.SysProcAttr = attributes()
	cmd.WaitDelay = 5 * time.Second // if a grandchild keeps the output open
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	p := &Process{cmd: cmd, done: make(chan struct{}), log: log}
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cfg.Path, err)
	}
	go p.sample()
	return p, nil
}

// run owns an OS thread for the child's life: Linux sends the parent death signal when the thread that forked ends, and
// Go ends threads as it pleases.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	p.err = p.cmd.Wait()
	close(p.done)
}

func (p *Process) sample() {
	tick := time.NewTicker(sampling)
	defer tick.Stop()
	for {
		p.look()
		select {
		case <-tick.C:
		case <-p.done:
			return
		}
	}
}

func (p *Process) look() {
	u := memory(p.cmd.Process.Pid)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.peak.all, p.peak.anonymous = max(p.peak.all, u.all), max(p.peak.anonymous, u.anonymous)
}

// Pid is the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Signal sends a signal to the process alone. It returns os.ErrProcessDone if it has ended.
func (p *Process) Signal(s os.Signal) error {
	p.look() // it may be the last chance
	return p.cmd.Process.Signal(s)
}

// Kill sends SIGKILL to the process and its group. It returns os.ErrProcessDone if the process has ended.
func (p *Process) Kill() error {
	select {
	case <-p.done:
		return os.ErrProcessDone
	default:
	}
	p.look()
	err := syscall.Kill(-p.Pid(), syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// Wait returns when the process has ended and its output has been written: nil for status 0, else an *exec.ExitError or
// the context's error.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// LogEnd is the end of what the process wrote to its standard error, for a message about why it ended.
func (p *Process) LogEnd() string { return p.log.String() }

// Done is closed when Wait would not block.
func (p *Process) Done() <-chan struct{} { return p.done }

// CPUTime is the user and system time used so far; before the end it is known on Linux only.
func (p *Process) CPUTime() time.Duration {
	select {
	case <-p.done:
		s := p.cmd.ProcessState
		return s.UserTime() + s.SystemTime()
	default:
		return cpuTime(p.Pid())
	}
}

// PeakMemory is the largest resident memory so far, in bytes. On Linux it is the child's own peak, up to 50 ms before
// its end; the usage that the kernel reports at the end would not do, because it includes what this process had
// resident when it forked. Elsewhere it is what the kernel reports, and 0 before the end.
func (p *Process) PeakMemory() int64 {
	select {
	case <-p.done:
	default:
		p.look()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.peak.all == 0 {
		select {
		case <-p.done:
			return reportedPeak(p.cmd.ProcessState)
		default:
		}
	}
	return p.peak.all
}

// PeakAnonymous is the most of it that was the process's own, not pages of its file, in bytes: the largest of what is
// seen each 50 ms. It is known on Linux only, else 0.
func (p *Process) PeakAnonymous() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.peak.anonymous
}
