package hubspot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// TokenSource gives the bearer token of a call. Token is called once for each call, by many goroutines at once, and its
// error must not tell the token. It returns by ctx's deadline, which is the call's. An error pauses the account until
// there is a token, unless it is ErrTokenLater.
//
// A source may have two methods more:
//
//   - Version() string returns a word that becomes another one when the credential does.
//   - Refused(ctx context.Context, token string) error is told of a token that the API has refused. It returns nil if
//     there is another one by now, so that the call can be repeated and nothing is paused, else why there is none.
type TokenSource interface {
	Token(ctx context.Context) (string, error)
}

// ErrTokenLater is for a token that can't be had at the moment, which says nothing about the credential: the call is
// put off.
var ErrTokenLater = errors.New("no access token at the moment")

// errSameToken is Refused's answer where nothing has changed.
var errSameToken = errors.New("there is no other token")

// redacted is what stands where a token would.
const redacted = "[token]"

// maxTokenBytes is far above any bearer token, and below what servers take as a header.
const maxTokenBytes = 16 << 10

// StaticToken is a token that never changes.
type StaticToken string

// Token implements TokenSource.
func (t StaticToken) Token(context.Context) (string, error) { return checkToken(string(t)) }

// Version implements the same method as FileToken's.
func (StaticToken) Version() string { return "static" }

// String hides the token, as Format and the two marshalers do.
func (StaticToken) String() string { return redacted }

// Format implements fmt.Formatter for every verb, %x and %#v included.
func (StaticToken) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// MarshalText implements encoding.TextMarshaler.
func (StaticToken) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// checkToken trims white space and refuses what a header can't carry, without telling what it was.
func checkToken(s string) (string, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return "", errors.New("the token is empty")
	}
	if len(s) > maxTokenBytes {
		return "", errors.New("the token is too long")
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return "", errors.New("the token has a character that a header can't carry")
		}
	}
	return s, nil
}

// FileToken reads the token from a file, and again when the file changes: when its size, its modification time or
// the file itself (after a rename or a new symbolic link) is another.
type FileToken struct {
	path string

	mu   sync.Mutex
	last fileRead // mu guards it
}

// fileRead is what was read of a token's file. It is not safe for concurrent use.
type fileRead struct {
	info    os.FileInfo // of the file that was read; nil: it is to be read again
	readAt  time.Time
	token   string
	err     error // why there is no token
	version int   // grows with each other token
}

// NewFileToken returns a source that reads path. Nothing is read yet.
func NewFileToken(path string) *FileToken { return &FileToken{path: path} }

// String names the file, and not what is in it.
func (f *FileToken) String() string { return "token file " + f.path }

// Format implements fmt.Formatter, since %#v would print the fields.
func (f *FileToken) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, f.String()) }

// Token implements TokenSource.
func (f *FileToken) Token(context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last.refresh(f.path)
	if f.last.err != nil {
		return "", f.last.err
	}
	return f.last.token, nil
}

// Version looks at the file and returns a word that is another one as soon as the token is: whoever paused because of
// a refused credential compares it.
func (f *FileToken) Version() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last.refresh(f.path)
	return strconv.Itoa(f.last.version)
}

// Refused looks at the file once more, however short the time since it was read last.
func (f *FileToken) Refused(_ context.Context, token string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last.info = nil
	f.last.refresh(f.path)
	if f.last.err != nil || f.last.token == token {
		return errSameToken
	}
	return nil
}

// settled is how old a modification time has to be before an unchanged one proves an unchanged file: the coarsest
// file system's clock has ticks of two seconds.
const settled = 2 * time.Second

// refresh reads the file if it may be another one than was read.
func (r *fileRead) refresh(path string) {
	info, err := os.Stat(path)
	if err == nil && r.info != nil && os.SameFile(info, r.info) && info.Size() == r.info.Size() &&
		info.ModTime().Equal(r.info.ModTime()) && r.readAt.Sub(info.ModTime()) > settled {
		return
	}
	var token string
	if err == nil {
		token, err = readToken(path)
	}
	if err != nil {
		r.info, err = nil, fmt.Errorf("token file: %w", err)
	} else {
		r.info, r.readAt = info, time.Now()
	}
	if err == nil && token != r.token {
		r.token = token
		r.version++
	}
	// A file that can't be read, perhaps because it is being replaced, does not make the token that it had a bad one.
	if r.err = err; r.token != "" {
		r.err = nil
	}
}

func readToken(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxTokenBytes+1024))
	if err != nil {
		return "", err
	}
	return checkToken(string(b))
}
