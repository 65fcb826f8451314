package download

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// file is one of a package.
type file struct {
	name, content string
	mode          int64
}

// server is a stand-in, which the tests don't start: pgcluster's do.
var server = []file{
	{"package/native/bin/initdb", "#!/bin/sh\necho initdb\n", 0o755},
	{"package/native/bin/postgres", "#!/bin/sh\necho postgres\n", 0o755},
	{"package/native/lib/libpq.so.5.18", "library", 0o600},
	{"package/native/pg-symlinks.json", `[{"source":"native/lib/libpq.so.5.18","target":"native/lib/libpq.so.5"}]`, 0o644},
	{"package/package.json", "{}", 0o644},
}

func pack(t *testing.T, files []file) []byte {
	t.Helper()
	var b bytes.Buffer
	zipped := gzip.NewWriter(&b)
	archive := tar.NewWriter(zipped)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), Typeflag: tar.TypeReg}
		if err := archive.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(f.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// offer serves a package as npm's registry does, and returns its release and how often it was asked for.
func offer(t *testing.T, version string, archive []byte) (release, string, *atomic.Int32) {
	t.Helper()
	sum := sha512.Sum512(archive)
	r := release{version, platform(), "sha512-" + base64.StdEncoding.EncodeToString(sum[:])}
	asked := new(atomic.Int32)
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked.Add(1)
		if req.URL.Path != "/@embedded-postgres/"+r.platform+"/-/"+r.platform+"-"+version+".tgz" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write(archive)
	}))
	t.Cleanup(registry.Close)
	return r, registry.URL, asked
}

// The releases are those that pgcluster is tested with, for each platform that Go and npm both have.
func TestReleases(t *testing.T) {
	for _, platform := range []string{"linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"} {
		for version, want := range map[string]string{"": "18.", "18": "18.", "17": "17."} {
			if r, err := find(releases, version, platform); err != nil || !strings.HasPrefix(r.version, want) {
				t.Errorf("%s, %q: %v (%v)", platform, version, r, err)
			}
		}
	}
	for _, version := range []string{"1", "9", "18.4.1"} {
		if r, err := find(releases, version, "linux-x64"); err == nil {
			t.Errorf("%q: %v", version, r)
		}
	}
}

// Many processes get one server, from one download.
func TestGet(t *testing.T) {
	r, address, asked := offer(t, "18.4.0", pack(t, server))
	cfg := Config{Registry: address, Dir: t.TempDir()}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			bin, err := cfg.have(t.Context(), r)
			if err != nil {
				t.Error(err)
				return
			}
			out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "initdb")).Output()
			if err != nil || string(out) != "initdb\n" {
				t.Errorf("%q (%v)", out, err)
			}
			if got, err := os.ReadFile(filepath.Join(bin, "../lib/libpq.so.5")); err != nil || string(got) != "library" {
				t.Errorf("the link has %q (%v)", got, err)
			}
		})
	}
	all.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("downloaded %d times", n)
	}
	if left, _ := filepath.Glob(filepath.Join(cfg.Dir, unpacking+"*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// Another user's server can read all of it.
func TestModes(t *testing.T) {
	r, address, _ := offer(t, "18.4.0", pack(t, server))
	bin, err := Config{Registry: address, Dir: t.TempDir()}.have(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{"..": 0o755, ".": 0o755, "postgres": 0o755,
		"../lib/libpq.so.5.18": 0o644} {
		if info, err := os.Stat(filepath.Join(bin, path)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has %v (%v), want %v", path, info.Mode(), err, want)
		}
	}
}

// What has another checksum, or leads out of its place, is not unpacked; nothing is left, and the next try goes well.
func TestRefused(t *testing.T) {
	good, address, _ := offer(t, "18.4.0", pack(t, server))
	out, outside, _ := offer(t, "18.4.0", pack(t, append(server[:2:2], file{"package/native/../../out", "x", 0o644})))
	far, linked, _ := offer(t, "18.4.0", pack(t, append(server[:3:3],
		file{"package/native/pg-symlinks.json", `[{"source":"native/lib/libpq.so.5.18","target":"native/bin/other"}]`,
			0o644})))
	changed := good
	changed.sum = out.sum
	dir := t.TempDir()
	for name, try := range map[string]struct {
		release
		address, want string
	}{
		"checksum":       {changed, address, "checksum"},
		"outside":        {out, outside, "escapes"},
		"link":           {far, linked, "another directory"},
		"no such":        {release{"18.9.0", good.platform, good.sum}, address, "404"},
		"nobody answers": {good, "http://127.0.0.1:1", "refused"},
	} {
		if _, err := (Config{Registry: try.address, Dir: dir}).have(t.Context(), try.release); err == nil ||
			!strings.Contains(err.Error(), try.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 || entries[0].Name() != "lock" {
		t.Errorf("left: %v (%v)", entries, err)
	}
	if _, err := (Config{Registry: address, Dir: dir}).have(t.Context(), good); err != nil {
		t.Error(err)
	}
}

// Without a network, the newest of what is there is used, and that is told; but not instead of a version that was asked
// for.
func TestOlder(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	for _, version := range []string{"9.6.1", "16.1.0", "17.10.0"} {
		r, address, _ := offer(t, version, pack(t, server))
		cfg.Registry = address
		if _, err := cfg.have(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	cfg.Registry = "http://127.0.0.1:1"
	var told []string
	cfg.Progress = func(what string) { told = append(told, what) }
	newest := release{"18.4.0", platform(), "sha512-"}
	bin, err := cfg.have(t.Context(), newest)
	if err != nil || !strings.Contains(bin, "postgresql-17.10.0-") {
		t.Errorf("%s (%v)", bin, err)
	}
	if !strings.Contains(fmt.Sprint(told), "using postgresql-17.10.0-") {
		t.Errorf("told %q", told)
	}
	cfg.Version = "18"
	if bin, err := cfg.have(t.Context(), newest); err == nil {
		t.Errorf("18 is %s", bin)
	}
}

// Who waits for another process' download can give up.
func TestInterrupted(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	unlock, err := lock(t.Context(), filepath.Join(cfg.Dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := cfg.have(ctx, release{"18.4.0", platform(), ""}); !errors.Is(err, context.Canceled) {
		t.Errorf("it did not wait: %v", err)
	}
}
