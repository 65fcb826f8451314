package pgcluster

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// initdb takes a second of CPU, which is most of what a server's start costs. So its result is kept in the user's cache
// directory, for each version and each choice of options, and copied into a new cluster's directory. What is kept
// has a password of its own; the copy gets the cluster's before Start returns.

// template is where the result of initdb is kept, with the password that it has.
type template struct {
	dir string // "": nowhere
}

// templateOf finds the place by the binaries and the options. Without a cache directory there is none.
func templateOf(bin, options string) template {
	cache, err := os.UserCacheDir()
	if err != nil {
		return template{}
	}
	info, err := os.Stat(filepath.Join(bin, "postgres"))
	if err != nil {
		return template{}
	}
	key := sha256.Sum256(fmt.Append(nil, bin, info.Size(), info.ModTime().UnixNano(), options))
	return template{filepath.Join(cache, "crmintake", fmt.Sprintf("initdb-%x", key[:8]))}
}

func (t template) data() string     { return filepath.Join(t.dir, "data") }
func (t template) passfile() string { return filepath.Join(t.dir, "password") }

// password is what the kept data have; "" if none are kept.
func (t template) password() string {
	b, err := os.ReadFile(t.passfile())
	if t.dir == "" || err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// keep keeps the data of a cluster that was never started. It fails silently: the next cluster is made as this one was.
func (t template) keep(data, password string) {
	if t.dir == "" || os.MkdirAll(filepath.Dir(t.dir), 0o700) != nil {
		return
	}
	own := template{}
	var err error
	if own.dir, err = os.MkdirTemp(filepath.Dir(t.dir), "initdb-new-"); err != nil {
		return
	}
	err = errors.Join(copyTree(own.data(), data, nil), os.WriteFile(own.passfile(), []byte(password+"\n"), 0o600))
	if err == nil {
		err = os.Rename(own.dir, t.dir) // fails if another process was here first
	}
	if err != nil {
		_ = os.RemoveAll(own.dir)
	}
}

// copyTree copies directories and files, which then belong to as, or to us.
func copyTree(to, from string, as *syscall.Credential) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		target := to + strings.TrimPrefix(path, from)
		if d.IsDir() {
			err = os.Mkdir(target, info.Mode().Perm())
		} else {
			err = copyFile(target, path, info.Mode().Perm())
		}
		if err != nil || as == nil {
			return err
		}
		return os.Chown(target, int(as.Uid), int(as.Gid))
	})
}

func copyFile(to, from string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// setPassword gives a server whose data are a copy the cluster's own password. What answers on the port may be another
// server, with the same template; its data are elsewhere.
func (c *Cluster) setPassword(ctx context.Context, conn *pgx.Conn) error {
	if c.copied == "" {
		return nil
	}
	var data string
	if err := conn.QueryRow(ctx, `SHOW data_directory`).Scan(&data); err != nil {
		return err
	}
	if data != filepath.Join(c.dir, "data") {
		return errors.New("another server answers on the port")
	}
	// The password is random letters and digits. A crash must not undo it.
	_, err := conn.Exec(ctx, `SET synchronous_commit = on; ALTER ROLE `+superuser+` PASSWORD '`+c.password+`'`)
	if err == nil {
		c.copied = ""
	}
	return err
}
