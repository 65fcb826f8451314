package flags

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
)

// secretFlag is a flag's value or, of its twin, a file, which is read anew each time that the secret is wanted: it may
// have been replaced meanwhile.
type Secret struct{ flag, value, file string }

// mostSecret is far above any password or token.
const mostSecret = 16 << 10

func (s Secret) given() bool { return s.value != "" || s.file != "" }

// twins reports a value and its file together: nobody could say which of them counts.
func (s Secret) twins() error {
	if s.value != "" && s.file != "" {
		return Usagef("--%s and --%s-file are both given; give one", s.flag, s.flag)
	}
	return nil
}

// validate tells what is wrong with it before anything is done.
func (s Secret) validate() error {
	if err := s.twins(); err != nil || s.file == "" {
		return err
	}
	if _, err := s.read(); err != nil {
		return Usagef("--%s-file: %w", s.flag, err)
	}
	return nil
}

// read returns the secret. Its errors name the file, and nothing of what is in it.
func (s Secret) read() (string, error) {
	if s.file == "" {
		return s.value, nil
	}
	info, err := os.Stat(s.file)
	if err != nil {
		return "", err
	}
	if info.Size() > mostSecret {
		return "", fmt.Errorf("%s is too large for a secret", s.file)
	}
	b, err := os.ReadFile(s.file)
	if err != nil {
		return "", err
	}
	// The line break is the editor's.
	text := strings.TrimRight(string(b), "\r\n")
	switch {
	case text == "":
		return "", fmt.Errorf("%s is empty", s.file)
	case strings.ContainsAny(text, "\x00\r\n"):
		return "", errors.New(s.file + " has more than a line")
	}
	return text, nil
}

// latest is for who can't fail: where the file can't be read, perhaps because it is being replaced, the secret is what
// it was.
func (s Secret) latest() func() string {
	var mu sync.Mutex
	var last string
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		if text, err := s.read(); err == nil {
			last = text
		}
		return last
	}
}
