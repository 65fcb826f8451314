package pgcluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"crmintake/deploy/local/pgcluster/download"
)

// versionVariable names the version to test with instead of the installed one.
const versionVariable = "CRMINTAKE_TEST_POSTGRES"

// errNotInstalled is what Start returns when there is no server to start, and why it can't be downloaded. One line,
// because people read it in a test's output.
var errNotInstalled = errors.New("PostgreSQL's server binaries (initdb, postgres) are not installed: " +
	"on Debian or Ubuntu type 'apt-get install -y postgresql', on macOS 'brew install postgresql'; they can't be " +
	"downloaded")

// installed are the places where packages put the binaries without linking them into PATH.
var installed = []string{
	"/usr/lib/postgresql/*/bin", // Debian, Ubuntu
	"/usr/pgsql-*/bin",          // Red Hat
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// Install downloads a server if none is installed, as Start does, too. It is for who has somebody to tell of it, or a
// context that has to end soon after.
func Install(ctx context.Context, progress func(what string)) error {
	_, err := getBinaries(ctx, progress)
	return err
}

// getBinaries returns the directory that holds both initdb and postgres: what is installed, else what can be
// downloaded.
func getBinaries(ctx context.Context, progress func(what string)) (string, error) {
	version := os.Getenv(versionVariable)
	if version == "" {
		if bin := Installed(ctx); bin != "" {
			return bin, nil
		}
	}
	bin, err := download.Get(ctx, download.Config{Version: version, Progress: progress})
	switch {
	case err == nil:
		return bin, nil
	case version != "":
		return "", fmt.Errorf("%s: %w", versionVariable, err)
	}
	return "", fmt.Errorf("%w: %w", errNotInstalled, err)
}

// Installed looks for an installed server, or for one that has these tools beside it, such as pg_dump. It returns the
// directory of its programs, or "" if there is none.
func Installed(ctx context.Context, tools ...string) string {
	complete := func(dir string) bool { return complete(dir, tools...) }
	if path, err := exec.LookPath("initdb"); err == nil {
		// A link leads to where the others are, those that nobody linked.
		if real, err := filepath.EvalSymlinks(path); err == nil && complete(filepath.Dir(real)) {
			return absolute(filepath.Dir(real))
		}
		if dir := filepath.Dir(path); complete(dir) {
			return absolute(dir)
		}
	}
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		if dir := strings.TrimSpace(string(out)); complete(dir) {
			return dir
		}
	}
	for _, pattern := range installed {
		dirs, _ := filepath.Glob(pattern) // the only error is a malformed pattern
		newestFirst(dirs)
		for _, dir := range dirs {
			if complete(dir) {
				return dir
			}
		}
	}
	return ""
}

func absolute(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}

func complete(dir string, tools ...string) bool {
	for _, name := range append([]string{"initdb", "postgres"}, tools...) {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

var number = regexp.MustCompile(`\d+(\.\d+)?`)

// newestFirst sorts …/9.6/bin, …/15/bin and the like by the version in the last directory but one.
func newestFirst(dirs []string) {
	version := func(dir string) float64 {
		v, _ := strconv.ParseFloat(number.FindString(filepath.Base(filepath.Dir(dir))), 64) // none: 0, last
		return v
	}
	slices.SortStableFunc(dirs, func(a, b string) int { return cmp.Compare(version(b), version(a)) })
}
