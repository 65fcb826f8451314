package main

import (
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"crmintake/outbox/outboxtest"
)

// document is a Markdown file of the project.
type document struct {
	path string // from the root of the project
	text string
}

// documents are all of the project's, ordered by path.
func documents(t *testing.T) (list []document) {
	t.Helper()
	root := os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules"):
			return fs.SkipDir
		case path.Ext(p) != ".md":
			return nil
		}
		content, err := fs.ReadFile(root, p)
		list = append(list, document{p, string(content)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 12 {
		t.Fatalf("%d documents were found", len(list))
	}
	return list
}

// prose yields the lines of a document that are not in a block of code, with their numbers.
func (d document) prose(yield func(int, string) bool) {
	code := false
	for i, line := range strings.Split(d.text, "\n") {
		if strings.HasPrefix(line, "```") {
			code = !code
		} else if !code && !yield(i+1, line) {
			return
		}
	}
}

// anchors are the names by which a document's headings are linked to, as GitHub makes them: small letters, digits,
// hyphens and underscores of the heading, hyphens for spaces, and a number behind what was there before.
func (d document) anchors() map[string]bool {
	names, seen := map[string]bool{}, map[string]int{}
	for _, line := range d.prose {
		heading := regexp.MustCompile(`^#{1,6} (.+)$`).FindStringSubmatch(line)
		if heading == nil {
			continue
		}
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, heading[1])
		if n := seen[name]; n > 0 {
			names[fmt.Sprintf("%s-%d", name, n)] = true
		} else {
			names[name] = true
		}
		seen[name]++
	}
	return names
}

// Each relative link of a document leads to a file or folder of the project, and its anchor to a heading there.
func TestDocumentsLinks(t *testing.T) {
	t.Parallel()
	list := documents(t)
	byPath := map[string]document{}
	for _, d := range list {
		byPath[d.path] = d
	}
	links := 0
	for _, d := range list {
		for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(d.text, -1) {
			u, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: %v", d.path, err)
				continue
			}
			if u.IsAbs() {
				continue
			}
			links++
			to := d.path
			if u.Path != "" {
				to = path.Join(path.Dir(d.path), u.Path)
			}
			if _, err := os.Stat(path.Join("../..", to)); err != nil || !fs.ValidPath(to) {
				t.Errorf("%s: there is no %s", d.path, m[1])
			} else if u.Fragment != "" && !byPath[to].anchors()[u.Fragment] {
				t.Errorf("%s: %s has no heading for %s", d.path, to, m[1])
			}
		}
	}
	if links < 30 {
		t.Errorf("%d links were found", links)
	}
}

// The README is a front page that leads to all other documents.
func TestDocumentsFrontPage(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(readme), "\n"); lines > 180 {
		t.Errorf("it has %d lines, more than 180", lines)
	}
	_, next, _ := strings.Cut(string(readme), "\n## Read next\n")
	for _, d := range documents(t) {
		if d.path != "README.md" && !strings.Contains(next, "]("+d.path+")") {
			t.Errorf("it does not lead to %s", d.path)
		}
	}
}

// A document says first for whom it is.
func TestDocumentsForWhom(t *testing.T) {
	t.Parallel()
	for _, d := range documents(t) {
		if !regexp.MustCompile(`^# [^\n]+\n\nFor [a-z]`).MatchString(d.text) {
			t.Errorf("%s does not begin with its title and for whom it is", d.path)
		}
	}
}

// No line of a document is wider than 120 columns, but for what the program prints.
func TestDocumentsColumns(t *testing.T) {
	t.Parallel()
	for _, d := range documents(t) {
		printed := false
		for i, line := range strings.Split(d.text, "\n") {
			if strings.HasPrefix(line, "```") {
				printed = line == "```console"
			}
			typed := strings.HasPrefix(line, "$ ") || strings.HasPrefix(line, "> ")
			if n := utf8.RuneCountInString(line); n > columns && (!printed || typed) {
				t.Errorf("%s:%d has %d columns", d.path, i+1, n)
			}
		}
	}
}

// A file that a document names by its path from the root is there, and so are those of an event's life.
func TestDocumentsFiles(t *testing.T) {
	t.Parallel()
	files := 0
	for _, d := range documents(t) {
		if d.path == "README.md" {
			_, life, _ := strings.Cut(d.text, "The files are those of `worker/pipeline`")
			life, _, _ = strings.Cut(life, "\n## ")
			for _, m := range regexp.MustCompile("`(\\w+\\.go)`").FindAllStringSubmatch(life, -1) {
				files++
				if _, err := os.Stat("../../worker/pipeline/" + m[1]); err != nil {
					t.Errorf("an event's life: there is no %s", m[1])
				}
			}
		}
		for _, m := range regexp.MustCompile("`([a-z_]+(?:/[\\w.]+)+)/?`").FindAllStringSubmatch(d.text, -1) {
			top, _, _ := strings.Cut(m[1], "/")
			if _, err := os.Stat(path.Join("../..", top)); err != nil || path.Ext(m[1]) != ".go" {
				continue
			}
			files++
			if _, err := os.Stat(path.Join("../..", m[1])); err != nil {
				t.Errorf("%s: there is no %s", d.path, m[1])
			}
		}
	}
	if files < 12 {
		t.Errorf("%d files were found", files)
	}
}

// The columns that outbox/README.md lists are there, and Postgres takes each query of the documents.
func TestDocumentsSQL(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), outboxtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	explain := func(where, query string) {
		if _, err := conn.Exec(t.Context(), "EXPLAIN "+query); err != nil {
			t.Errorf("%s: %s: %v", where, query, err)
		}
	}
	columns, queries := 0, 0
	for _, d := range documents(t) {
		for _, block := range regexp.MustCompile("(?ms)^```sql\n(.*?)^```").FindAllStringSubmatch(d.text, -1) {
			for _, query := range regexp.MustCompile(`(?ms)^SELECT .*?;$`).FindAllString(block[1], -1) {
				queries++
				explain(d.path, query)
			}
		}
		if d.path != "outbox/README.md" {
			continue
		}
		view, rest, _ := strings.Cut(d.text, "\n## Statuses\n")
		_, tables, _ := strings.Cut(rest, "\n## Tables\n")
		for from, text := range map[string]string{"outbox": view, "event": tables} {
			for _, line := range regexp.MustCompile("(?m)^- (`[a-z_]+`(?:, `[a-z_]+`)*):").FindAllStringSubmatch(text, -1) {
				columns++
				explain(d.path, "SELECT "+strings.ReplaceAll(line[1], "`", "")+" FROM "+from)
			}
		}
	}
	if columns < 20 || queries < 5 {
		t.Errorf("%d lists of columns and %d queries were found", columns, queries)
	}
}
