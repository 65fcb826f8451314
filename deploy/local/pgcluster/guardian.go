package pgcluster

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

//go:embed guardian.sh
var guardianScript string

// stopLimit is longer than the guardian's own patience (15 s and what SIGKILL takes).
const stopLimit = 30 * time.Second

var errGuardianEnded = errors.New("the guardian process has ended")

// guardian is our side of the shell that owns the server. One goroutine reads its answers until it exits.
type guardian struct {
	cmd      *exec.Cmd
	commands io.WriteCloser // the only write end; closing it is the order to clean up

	init    chan string   // one status for each "init" or "copy"
	started chan *run     // one run for each "start"
	exited  chan struct{} // closed once the shell is gone and all its output has been read
}

// run is one life of the server.
type run struct {
	pid    int
	ended  chan struct{} // closed when the postmaster is gone
	status string        // its exit status; read it after ended
}

func startGuardian(as *syscall.Credential, log io.Writer, env []string, args ...string) (*guardian, error) {
	cmd := exec.Command("/bin/sh", append([]string{"-c", guardianScript, "crmintake-postgres-guardian"}, args...)...)
	cmd.Dir = "/" // ours may be closed to the user that it runs as
	cmd.Env = env
	cmd.Stderr = log
	cmd.WaitDelay = 5 * time.Second // if a child of a killed server keeps the log open
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: as}
	commands, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		return nil, errors.Join(err, commands.Close())
	}
	if err := cmd.Start(); err != nil {
		return nil, err // Start has closed the pipes
	}
	g := &guardian{
		cmd:      cmd,
		commands: commands,
		init:     make(chan string, 1),
		started:  make(chan *run, 1),
		exited:   make(chan struct{}),
	}
	go g.listen(answers)
	return g, nil
}

// environment leaves out PGDATA and its like, which would redirect the server, and the locale.
func environment() []string {
	env := []string{"LC_ALL=C"}
	for _, name := range []string{"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TZ"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

func (g *guardian) listen(answers io.Reader) {
	defer close(g.exited)
	var current *run
	lines := bufio.NewScanner(answers)
	for lines.Scan() {
		verb, rest, _ := strings.Cut(lines.Text(), " ")
		switch verb {
		case "init":
			g.init <- rest
		case "started":
			current = &run{ended: make(chan struct{})}
			fmt.Sscan(rest, &current.pid)
			g.started <- current
		case "ended":
			_, current.status, _ = strings.Cut(rest, " ")
			close(current.ended)
			current = nil
		}
	}
	if current != nil {
		current.status = "unknown"
		close(current.ended)
	}
	_ = g.cmd.Wait() // its status says nothing: what counts is whether the directory is gone
}

// initdb makes the cluster. It takes about a second and isn't interrupted.
func (g *guardian) initdb() error {
	return g.make("initdb", "init\n")
}

// copy makes the cluster as a copy of a running one, whose backup has begun.
func (g *guardian) copy(dir string) error {
	return g.make("the copy of "+dir, "copy "+dir+"\n")
}

func (g *guardian) make(program, command string) error {
	if _, err := io.WriteString(g.commands, command); err != nil {
		return err
	}
	select {
	case status := <-g.init:
		if status != "0" {
			return fmt.Errorf("%s ended with status %s", program, status)
		}
		return nil
	case <-g.exited:
		return errGuardianEnded
	}
}

func (g *guardian) start(port int) (*run, error) {
	if _, err := fmt.Fprintf(g.commands, "start %d\n", port); err != nil {
		return nil, err
	}
	select {
	case r := <-g.started:
		return r, nil
	case <-g.exited:
		return nil, errGuardianEnded
	}
}

// stop asks for a shutdown; the run's end tells that it is done.
func (g *guardian) stop() error {
	_, err := io.WriteString(g.commands, "stop\n")
	return err
}

// close ends the server, the guardian and the directory.
func (g *guardian) close() error {
	_ = g.commands.Close() // fails only if it is closed already
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-g.exited:
		return nil
	case <-limit.C:
	}
	_ = syscall.Kill(-g.cmd.Process.Pid, syscall.SIGKILL) // its session: the shell, the watcher, the postmaster
	<-g.exited
	return fmt.Errorf("the server did not stop within %v and was killed", stopLimit)
}
