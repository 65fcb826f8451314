package pgcluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"crmintake/deploy/local/internal/loopback"
	"crmintake/deploy/local/internal/tail"
)

// superuser owns the cluster, and is who URL connects as.
const superuser = "postgres"

// readyLimit bounds a start whose context has no earlier deadline. Recovery after Kill is the slowest part of it.
const readyLimit = 60 * time.Second

// Config says what kind of server to start. The zero value is a fast one for tests.
type Config struct {
	// Durable leaves fsync, synchronous_commit and full_page_writes as PostgreSQL ships them. Otherwise they are off.
	Durable bool

	// InMemory puts the directory into the machine's memory, where that has a file system for it with 1 GiB free. Then
	// files cost little to make, and nothing to sync.
	InMemory bool

	// Settings are further configuration parameters, as in postgresql.conf. They win over everything but address and
	// port.
	Settings map[string]string

	// Bin is the directory of the server's programs; "" for the installed ones, else downloaded ones.
	Bin string

	// Faketime is the library of that name, which lets SetClock set the server's clock; "" for this machine's clock.
	// See func Faketime.
	Faketime string

	// Log receives the server's log and initdb's output; nil for nowhere. Writes never overlap.
	Log io.Writer
}

// Cluster is a running PostgreSQL server. Its methods may be called by many goroutines at once.
type Cluster struct {
	dir      string
	password string
	template template
	log      *tail.Tail
	guardian *guardian
	ownClock bool // SetClock can set it

	life    sync.Mutex // held while the server is started, stopped or killed; guards copied, port and stopped
	copied  string     // the password that came with the template, until it is changed
	port    int        // fixed once Start has returned
	stopped bool

	run atomic.Pointer[run] // the server's present or last life; stored under life
}

// Start makes a new cluster in a directory of its own and starts it. Cancelling ctx gives the start up; afterwards ctx
// has no meaning to the cluster.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	c, err := start(ctx, cfg, rand.Text(), (*Cluster).initdb)
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	return c, nil
}

// start starts a cluster whose data create makes. The cluster's life is held while it does.
func start(ctx context.Context, cfg Config, password string, create func(*Cluster,
	*syscall.Credential) error) (*Cluster, error) {
	bin, err := cfg.Bin, error(nil)
	if bin == "" {
		bin, err = getBinaries(ctx, nil)
	}
	if err != nil {
		return nil, err
	}
	as, err := owner()
	if err != nil {
		return nil, err
	}
	dir, err := makeDir(as, cfg.InMemory)
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, password: password, template: templateOf(bin, initdbOptions(cfg)),
		log: &tail.Tail{To: cfg.Log}, ownClock: cfg.Faketime != ""}
	env := environment()
	if c.ownClock {
		env = append(env, c.clockEnv(cfg.Faketime)...)
		err = c.SetClock(0)
	}
	args := append([]string{dir, bin, initdbOptions(cfg)}, serverOptions(cfg)...)
	if err == nil {
		c.guardian, err = startGuardian(as, c.log, env, args...)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := c.create(ctx, func() error { return create(c, as) }); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func initdbOptions(cfg Config) string {
	options := "-U " + superuser + " -A scram-sha-256 -E UTF8 --locale=C"
	if !cfg.Durable {
		options += " --no-sync"
	}
	return options
}

func serverOptions(cfg Config) []string {
	settings := make(map[string]string)
	if !cfg.Durable {
		settings["fsync"] = "off"
		settings["synchronous_commit"] = "off"
		settings["full_page_writes"] = "off"
		// In files below the directory, so that a killed server leaves nothing in /dev/shm.
		settings["dynamic_shared_memory_type"] = "mmap"
	}
	maps.Copy(settings, cfg.Settings)
	settings["listen_addresses"] = loopback.Host
	settings["unix_socket_directories"] = ""
	delete(settings, "port")
	var options []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		options = append(options, "-c", name+"="+settings[name])
	}
	return options
}

// create starts the server for the first time, once its data are made.
func (c *Cluster) create(ctx context.Context, makeData func() error) error {
	c.life.Lock()
	defer c.life.Unlock()
	if err := makeData(); err != nil {
		return fmt.Errorf("%w; its log ends with:\n%s", err, c.log)
	}
	// A server that exits at once may have found its port taken since we looked.
	for attempt := 1; ; attempt++ {
		var err error
		if c.port, err = loopback.FreePort(); err != nil {
			return err
		}
		err = c.begin(ctx, c.port)
		if !errors.Is(err, errExited) || attempt == 3 {
			return err
		}
	}
}

// initdb makes the data of a new cluster, as a copy where there is something to copy.
func (c *Cluster) initdb(as *syscall.Credential) error {
	data := filepath.Join(c.dir, "data")
	if password := c.template.password(); password != "" {
		if copyTree(data, c.template.data(), as) == nil {
			c.copied = password
			return nil
		}
		if err := os.RemoveAll(data); err != nil {
			return err
		}
	}
	if err := c.writeSecret("password", c.password, as); err != nil {
		return err
	}
	if err := c.guardian.initdb(); err != nil {
		return err
	}
	c.template.keep(data, c.password)
	return nil
}

// writeSecret writes a line to a file that only the server's user can read.
func (c *Cluster) writeSecret(name, line string, as *syscall.Credential) error {
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, []byte(line+"\n"), 0o600); err != nil {
		return err
	}
	if as == nil {
		return nil
	}
	return os.Chown(path, int(as.Uid), int(as.Gid))
}

var (
	errExited  = errors.New("the server exited instead of accepting connections")
	errStopped = errors.New("the cluster has been stopped")
)

// begin starts the server on the port and returns when it accepts connections.
func (c *Cluster) begin(ctx context.Context, port int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r, err := c.guardian.start(port)
	if err != nil {
		return err
	}
	c.run.Store(r)
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	cfg, err := pgx.ParseConfig(c.url("postgres", port))
	if err != nil {
		return err
	}
	cfg.Password = cmp.Or(c.copied, c.password)
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		// The password is this cluster's own, or becomes so, so no other server on that port can answer in its place.
		conn, err := pgx.ConnectConfig(ctx, cfg)
		if err == nil {
			err = errors.Join(c.setPassword(ctx, conn), conn.Close(ctx))
		}
		if err == nil {
			return nil
		}
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-r.ended:
			pause.Stop()
			return fmt.Errorf("%w (status %s); its log ends with:\n%s", errExited, r.status, c.log)
		case <-ctx.Done():
			pause.Stop()
			return fmt.Errorf("the server is not ready: %w; its log ends with:\n%s", errors.Join(ctx.Err(), err), c.log)
		}
	}
}

// URL returns the connection string for a database of this cluster, as superuser. initdb makes the databases postgres
// and template1.
func (c *Cluster) URL(dbname string) string {
	c.life.Lock()
	defer c.life.Unlock()
	return c.url(dbname, c.port)
}

func (c *Cluster) url(dbname string, port int) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, c.password),
		Host:     net.JoinHostPort(loopback.Host, strconv.Itoa(port)),
		Path:     "/" + dbname,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Dir is the cluster's directory: data below it, nothing else. It is gone after Stop.
func (c *Cluster) Dir() string { return c.dir }

// Pid is the postmaster's process id, or 0 while no server runs.
func (c *Cluster) Pid() int {
	r := c.run.Load()
	if r == nil {
		return 0
	}
	select {
	case <-r.ended:
		return 0
	default:
		return r.pid
	}
}

// CPUTime is the user and system time that the server and its children, live and ended, have used since the server was
// last started. It counts in hundredths of a second, is known on Linux only, and is 0 elsewhere or while no server
// runs.
func (c *Cluster) CPUTime() time.Duration {
	pid := c.Pid()
	if pid == 0 {
		return 0
	}
	return cpuTime(pid)
}

// Stop shuts the server down, cutting off its clients, and removes the directory. It is final; calling it again does
// nothing.
func (c *Cluster) Stop() error {
	c.life.Lock()
	defer c.life.Unlock()
	if c.stopped {
		return nil
	}
	c.stopped = true
	err := c.guardian.close()
	// The guardian can't remove the directory itself where its user may not write to the parent.
	if err := errors.Join(err, os.RemoveAll(c.dir)); err != nil {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	return nil
}

// Restart shuts the server down fast, as an operator would, and starts it again.
func (c *Cluster) Restart(ctx context.Context) error {
	c.life.Lock()
	defer c.life.Unlock()
	if c.stopped {
		return fmt.Errorf("restart PostgreSQL: %w", errStopped)
	}
	if err := c.end(ctx); err != nil {
		return fmt.Errorf("restart PostgreSQL: %w", err)
	}
	if err := c.begin(ctx, c.port); err != nil {
		return fmt.Errorf("restart PostgreSQL: %w", err)
	}
	return nil
}

// end shuts the server down, if it runs.
func (c *Cluster) end(ctx context.Context) error {
	r := c.run.Load()
	if c.Pid() == 0 {
		return nil
	}
	if err := c.guardian.stop(); err != nil {
		return err
	}
	select {
	case <-r.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Kill crashes the server: the postmaster and all its children get SIGKILL at one moment, as in a power cut of the
// server's own. It returns when they are gone. The data stays for StartAgain.
func (c *Cluster) Kill() error {
	c.life.Lock()
	defer c.life.Unlock()
	r, pid := c.run.Load(), c.Pid()
	if pid == 0 {
		return nil
	}
	// Stopped, it can neither start new children nor reap the old ones, whose ids therefore can't be someone else's.
	if err := send(pid, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("kill PostgreSQL: %w", err)
	}
	// The signal is sent then, and not yet met.
	for limit := time.Now().Add(10 * time.Second); !stopped(pid); {
		if time.Now().After(limit) {
			return fmt.Errorf("kill PostgreSQL: process %d does not stop", pid)
		}
		time.Sleep(2 * time.Millisecond)
	}
	victims := children(pid)
	err := send(pid, syscall.SIGKILL)
	for _, v := range victims {
		err = errors.Join(err, send(v.pid, syscall.SIGKILL))
	}
	if err != nil {
		return fmt.Errorf("kill PostgreSQL: %w", err)
	}
	<-r.ended
	// A new server refuses to start while an old child holds the shared memory.
	limit := time.Now().Add(10 * time.Second)
	for _, v := range victims {
		for !gone(v.pid) {
			if time.Now().After(limit) {
				return fmt.Errorf("kill PostgreSQL: process %d is still there", v.pid)
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
	return nil
}

// StartAgain starts the server after Kill, on the same port, and returns when its recovery is done. It does nothing if
// the server runs.
func (c *Cluster) StartAgain(ctx context.Context) error {
	c.life.Lock()
	defer c.life.Unlock()
	if c.stopped {
		return fmt.Errorf("start PostgreSQL again: %w", errStopped)
	}
	if c.Pid() != 0 {
		return nil
	}
	if err := c.begin(ctx, c.port); err != nil {
		return fmt.Errorf("start PostgreSQL again: %w", err)
	}
	return nil
}

// send ignores that the process has gone already.
func send(pid int, s syscall.Signal) error {
	if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %v to process %d: %w", s, pid, err)
	}
	return nil
}
