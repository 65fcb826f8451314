package pgcluster

import (
	"cmp"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// errNotInstalled is what Start returns when there is no server to start. One line, because people read it in a test's output.
var errNotInstalled = errors.New("PostgreSQL's server binaries (initdb, postgres) are not installed: " +
	"on Debian or Ubuntu type 'apt-get install -y postgresql', on macOS 'brew install postgresql'")

// installed are the places where packages put the binaries without linking them into PATH.
var installed = []string{
	"/usr/lib/postgresql/*/bin", // Debian, Ubuntu
	"/usr/pgsql-*/bin",          // Red Hat
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// findBinaries returns the directory that holds both initdb and postgres.
func findBinaries(ctx context.Context) (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		// A link leads to where the others are, those that nobody linked.
		if real, err := filepath.EvalSymlinks(path); err == nil && complete(filepath.Dir(real)) {
			return filepath.Abs(filepath.Dir(real))
		}
		if dir := filepath.Dir(path); complete(dir) {
			return filepath.Abs(dir)
		}
	}
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		if dir := strings.TrimSpace(string(out)); complete(dir) {
			return dir, nil
		}
	}
	for _, pattern := range installed {
		dirs, _ := filepath.Glob(pattern) // the only error is a malformed pattern
		newestFirst(dirs)
		for _, dir := range dirs {
			if complete(dir) {
				return dir, nil
			}
		}
	}
	return "", errNotInstalled
}

func complete(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
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
