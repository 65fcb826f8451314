package download

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha512"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"crmintake/deploy/local/internal/reach"
)

const registry = "https://registry.npmjs.org"

// stall is how long a server may send nothing.
const stall = 30 * time.Second

const unpacking = "unpacking-"

// each is how often progress is told.
const each = 3 * time.Second

// a line for each: version, platform, checksum as npm has it; the first of a platform is the default
//
//go:embed releases.txt
var releases string

// Config says where to get it from, and where to keep it. The zero value is right.
type Config struct {
	Version  string            // begins the release's version, as "17"; empty for the newest
	Registry string            // "" for npm's own, or what npm_config_registry says
	Dir      string            // "" for a directory of the user's cache
	Progress func(what string) // is told what takes time, for a person who waits; nil for nobody
}

// release is one server for one platform.
type release struct{ version, platform, sum string }

func (r release) name() string { return "postgresql-" + r.version + "-" + r.platform }

// Get returns the directory that holds initdb and postgres. Many processes may call it at once; one of them downloads.
func Get(ctx context.Context, cfg Config) (bin string, err error) {
	r, err := find(releases, cfg.Version, platform())
	if err != nil {
		return "", err
	}
	if cfg.Dir == "" {
		if cfg.Dir, err = cacheDir(); err != nil {
			return "", err
		}
	}
	return cfg.have(ctx, r)
}

// have gets a release unless it is there.
func (c Config) have(ctx context.Context, r release) (bin string, err error) {
	if c.Progress == nil {
		c.Progress = func(string) {}
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return "", err
	}
	dir := filepath.Join(c.Dir, r.name())
	if there(dir) {
		return filepath.Join(dir, "bin"), nil
	}
	unlock, err := lock(ctx, filepath.Join(c.Dir, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if there(dir) {
		return filepath.Join(dir, "bin"), nil
	}
	err = c.get(ctx, r, dir)
	if err == nil {
		return filepath.Join(dir, "bin"), nil
	}
	if older := c.older(); older != "" && ctx.Err() == nil {
		c.Progress(fmt.Sprintf("using %s, because %v", filepath.Base(older), err))
		return filepath.Join(older, "bin"), nil
	}
	return "", err
}

// find looks a release up.
func find(list, version, platform string) (release, error) {
	for line := range strings.Lines(list) {
		var r release
		if n, _ := fmt.Sscan(line, &r.version, &r.platform, &r.sum); n != 3 || r.platform != platform {
			continue
		}
		if version == "" || r.version == version || strings.HasPrefix(r.version, version+".") {
			return r, nil
		}
	}
	return release{}, fmt.Errorf("there is no PostgreSQL %s to download for %s", version, platform)
}

// platform is this machine's, in npm's words.
func platform() string {
	arch := map[string]string{"amd64": "x64"}[runtime.GOARCH]
	return runtime.GOOS + "-" + cmp.Or(arch, runtime.GOARCH)
}

// cacheDir is the user's, if the user that the server runs as can enter it.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	switch {
	case os.Geteuid() == 0 && (err != nil || !reach.Everybody(dir)):
		dir = "/var/cache"
	case err != nil:
		return "", err
	}
	return filepath.Join(dir, "crmintake"), nil
}

// there tells whether a release is unpacked. It gets its name as the last thing.
func there(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "bin", "postgres"))
	return err == nil
}

// older is the newest release that is there, whichever it is; "" for none. A version that was asked for has no other.
func (c Config) older() string {
	if c.Version != "" {
		return ""
	}
	dirs, _ := filepath.Glob(filepath.Join(c.Dir, "postgresql-*-"+platform())) // the only error is a malformed pattern
	slices.SortFunc(dirs, func(a, b string) int { return cmp.Compare(major(b), major(a)) })
	for _, dir := range dirs {
		if there(dir) {
			return dir
		}
	}
	return ""
}

func major(dir string) (n int) {
	_, _ = fmt.Sscanf(filepath.Base(dir), "postgresql-%d", &n) // 0 is last
	return n
}

// get downloads a release, compares its checksum, and unpacks it.
func (c Config) get(ctx context.Context, r release, dir string) error {
	address := strings.TrimSuffix(cmp.Or(c.Registry, os.Getenv("npm_config_registry"), registry), "/")
	url := fmt.Sprintf("%s/@embedded-postgres/%s/-/%[2]s-%[3]s.tgz", address, r.platform, r.version)
	version, _, _ := strings.Cut(r.version, "-")
	c.Progress(fmt.Sprintf("getting PostgreSQL %s from %s, once", version, address))
	archive, err := c.download(ctx, url)
	if err != nil {
		return err
	}
	sum := sha512.Sum512(archive)
	if got := "sha512-" + base64.StdEncoding.EncodeToString(sum[:]); got != r.sum {
		return fmt.Errorf("%s is not what it should be: its checksum is %s, and not %s", url, got, r.sum)
	}
	left, _ := filepath.Glob(filepath.Join(c.Dir, unpacking+"*")) // by a process that was killed
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	temp, err := os.MkdirTemp(c.Dir, unpacking)
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if err := unpack(bytes.NewReader(archive), temp); err != nil {
		return fmt.Errorf("unpack %s: %w", url, err)
	}
	return os.Rename(filepath.Join(temp, "native"), dir)
}

// download reads a whole file, for as long as something comes.
func (c Config) download(ctx context.Context, url string) ([]byte, error) {
	errStalled := fmt.Errorf("nothing came for %s", stall)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer watch.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
			err = fmt.Errorf("%s: %w", url, cause)
		}
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, resp.Status)
	}
	var got bytes.Buffer
	told := time.Now()
	for {
		n, err := io.CopyN(&got, resp.Body, 64<<10)
		switch {
		case errors.Is(err, io.EOF):
			return got.Bytes(), nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", url, cmp.Or(context.Cause(ctx), err))
		case got.Len() > mostBytes:
			return nil, fmt.Errorf("%s has more than %d bytes", url, mostBytes)
		}
		if n > 0 {
			watch.Reset(stall)
		}
		if time.Since(told) >= each {
			told = time.Now()
			c.Progress(fmt.Sprintf("getting PostgreSQL: %d of %d MB", got.Len()>>20, max(0, resp.ContentLength)>>20))
		}
	}
}

// lock waits until no other process has it. It ends with the process, however that ends.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-tick.C:
		}
	}
}
