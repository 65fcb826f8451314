package download_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"crmintake/deploy/local/pgcluster"
	"crmintake/deploy/local/pgcluster/download"
)

// A server of a package that is made from the installed one answers, for root, as whom it does not run, as for
// everybody.
func TestServes(t *testing.T) {
	installed := pgcluster.Installed(t.Context())
	if installed == "" {
		t.Skip("no PostgreSQL server is installed")
	}
	archive := packInstalled(t, installed)
	const version = "18.4.0"
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_,
			_ = w.Write(archive)
	}))
	defer registry.Close()
	sum := sha512.Sum512(archive)
	bin, err := download.Config{Registry: registry.URL, Dir: forAll(t)}.
		Have(t.Context(), version, "sha512-"+base64.StdEncoding.EncodeToString(sum[:]))
	if err != nil {
		t.Fatal(err)
	}
	c, err := pgcluster.Start(t.Context(), pgcluster.Config{Bin: bin})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	}()
	conn, err := pgx.Connect(t.Context(), c.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	n := 0
	if err := conn.QueryRow(t.Context(), `SELECT 7`).Scan(&n); err != nil || n != 7 {
		t.Errorf("%d (%v)", n, err)
	}
}

// packInstalled makes a package of what initdb needs. The rest is found where it was built for.
func packInstalled(t *testing.T, bin string) []byte {
	t.Helper()
	var b bytes.Buffer
	zipped, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewWriter(zipped)
	for _, name := range []string{"bin/initdb", "bin/postgres", "lib/dict_snowball.so", "lib/plpgsql.so"} {
		content, err := os.ReadFile(filepath.Join(bin, "..", name))
		if err != nil {
			t.Skip("the installed server's files lie elsewhere: ", err)
		}
		header := &tar.Header{Name: "package/native/" + name, Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg}
		if err := archive.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write(content); err != nil {
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

// forAll is a temporary directory that every user can enter, which t.TempDir's are not.
func forAll(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "crmintake-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
