package pgcluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"crmintake/deploy/local/internal/loopback"
	"crmintake/deploy/local/internal/tail"
)

// ErrNoPooler is what StartPooler returns where there is no PgBouncer to start.
var ErrNoPooler = errors.New("PgBouncer is not installed: on Debian or Ubuntu type 'apt-get install -y pgbouncer'")

// poolerScript runs PgBouncer until its input ends, as it does when the process that started it is gone, however it
// went. It says so when PgBouncer ends by itself.
const poolerScript = `trap : TERM; { "$1" -q "$2/pgbouncer.ini" >&2; echo ended; } & read -r _; kill 0; wait; rm -rf "$2"`

// Pooler is a running PgBouncer in front of a server.
type Pooler struct {
	server url.URL
	dir    string
	port   int
	log    tail.Tail
	cmd    *exec.Cmd
	input  io.Closer
	ended  chan struct{} // closed when PgBouncer has ended
	stop   sync.Once
}

// StartPooler starts PgBouncer, as it is installed but for the settings, in front of the server whose URL has a user
// and a password: the pooler has them, too. It pools transactions unless settings say otherwise.
func StartPooler(ctx context.Context, server string, settings map[string]string) (*Pooler, error) {
	p := &Pooler{}
	u, err := url.Parse(server)
	if err == nil {
		p.server = *u
		err = p.start(ctx, settings)
	}
	if err != nil {
		return nil, fmt.Errorf("start PgBouncer: %w", err)
	}
	return p, nil
}

func (p *Pooler) start(ctx context.Context, settings map[string]string) error {
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		return ErrNoPooler
	}
	as, err := owner()
	if err != nil {
		return err
	}
	if p.dir, err = makeDir(as, false); err != nil {
		return err
	}
	if p.port, err = loopback.FreePort(); err == nil {
		err = p.configure(as, settings)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(p.dir))
	}
	p.cmd = exec.Command("/bin/sh", "-c", poolerScript, "crmintake-pgbouncer", program, p.dir)
	p.cmd.Dir, p.cmd.Env, p.cmd.Stderr = "/", environment(), &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: as}
	input, err := p.cmd.StdinPipe()
	if err != nil {
		return errors.Join(err, os.RemoveAll(p.dir))
	}
	output, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(p.dir))
	}
	p.input, p.ended = input, make(chan struct{})
	go func() {
		_, _ = output.Read(make([]byte, 1))
		close(p.ended)
	}()
	if err := p.ready(ctx); err != nil {
		return errors.Join(fmt.Errorf("%w; its log ends with:\n%s", err, &p.log), p.Stop())
	}
	return nil
}

func (p *Pooler) configure(as *syscall.Credential, settings map[string]string) error {
	password, given := p.server.User.Password()
	all := map[string]string{
		"listen_addr": loopback.Host, "listen_port": strconv.Itoa(p.port), "unix_socket_dir": "", "pool_mode": "transaction",
		"auth_type": "scram-sha-256", "auth_file": filepath.Join(p.dir, "users"),
	}
	if !given {
		all["auth_type"] = "trust"
	}
	maps.Copy(all, settings)
	var ini strings.Builder
	fmt.Fprintf(&ini, "[databases]\n* = host=%s port=%s\n[pgbouncer]\n", p.server.Hostname(), p.server.Port())
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&ini, "%s = %s\n", name, all[name])
	}
	users := fmt.Sprintf("%q %q\n", p.server.User.Username(), password)
	for name, content := range map[string]string{"pgbouncer.ini": ini.String(), "users": users} {
		file := filepath.Join(p.dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			return err
		}
		if as != nil {
			if err := os.Chown(file, int(as.Uid), int(as.Gid)); err != nil {
				return err
			}
		}
	}
	return nil
}

// ready returns when the server answers through the pooler.
func (p *Pooler) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, p.URL())
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-p.ended:
			return errors.New("it has ended")
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// URL is the way to the same database through the pooler.
func (p *Pooler) URL() string {
	u := p.server
	u.Host, u.RawQuery = net.JoinHostPort(loopback.Host, strconv.Itoa(p.port)), "sslmode=disable"
	return u.String()
}

// Stop ends the pooler, cutting off its clients. Calling it again does nothing.
func (p *Pooler) Stop() (err error) {
	p.stop.Do(func() {
		_ = p.input.Close()
		<-p.ended
		_ = p.cmd.Wait() // its status is the signal's
		err = os.RemoveAll(p.dir)
	})
	return err
}
