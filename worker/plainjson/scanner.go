package plainjson

import (
	"encoding/binary"
	"math/bits"
	"strings"
)

// Scanner goes over Text. After a method has declined, with false, there is no going on, unless it is Next.
type Scanner struct {
	Text []byte
	At   int // the place of what comes next
}

// Next takes the byte c, and the white space before it.
func (s *Scanner) Next(c byte) bool {
	return s.take(c) || s.Peek() == c && s.take(c)
}

// Peek moves past white space, and tells what comes then; 0 at the end.
func (s *Scanner) Peek() byte {
	for ; s.At < len(s.Text); s.At++ {
		switch c := s.Text[s.At]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// End: nothing more comes.
func (s *Scanner) End() bool { return s.Peek() == 0 && s.At == len(s.Text) }

// Name takes a member's name without escapes, and the colon after it. It returns the name with its quotes.
func (s *Scanner) Name() (quoted []byte, ok bool) {
	quoted, ok = s.string(false)
	return quoted, ok && s.Next(':')
}

// Scalar takes a string, a number, true, false or null, as it is written.
func (s *Scanner) Scalar() (raw []byte, ok bool) {
	switch s.Peek() {
	case '"':
		return s.string(true)
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	return s.number()
}

// maxDepth bounds what Skip takes.
const maxDepth = 16

// Skip takes a value of any kind.
func (s *Scanner) Skip() bool { return s.skip(maxDepth) }

func (s *Scanner) skip(depth int) bool {
	c := s.Peek()
	if c != '{' && c != '[' {
		_, ok := s.Scalar()
		return ok
	}
	s.At++
	end := c + 2 // as it happens, of both
	if s.Next(end) {
		return true
	}
	for depth > 0 {
		if c == '{' {
			if _, ok := s.string(true); !ok || !s.Next(':') {
				return false
			}
		}
		if !s.skip(depth - 1) {
			return false
		}
		if !s.Next(',') {
			return s.Next(end)
		}
	}
	return false
}

// string takes a string, and returns it with its quotes. Most of a text is strings: it looks at eight bytes at a time.
func (s *Scanner) string(escapes bool) (quoted []byte, ok bool) {
	if (s.At >= len(s.Text) || s.Text[s.At] != '"') && s.Peek() != '"' {
		return nil, false
	}
	text, start, i := s.Text, s.At, s.At+1
	for {
		for ; len(text)-i >= 8; i += 8 {
			if n := plainBytes(binary.LittleEndian.Uint64(text[i:])); n < 8 {
				i += n
				break
			}
		}
		for i < len(text) && text[i] >= ' ' && text[i] != '"' && text[i] != '\\' {
			i++
		}
		switch {
		case i < len(text) && text[i] == '"':
			s.At = i + 1
			return text[start:s.At], true
		case escapes && len(text)-i >= 2 && text[i] == '\\' && strings.IndexByte(`"\/bfnrt`, text[i+1]) >= 0:
			i += 2
		default:
			return nil, false
		}
	}
}

// plainBytes counts the lowest bytes of eight that stand for themselves in a string: all but control characters, the
// quote and the backslash. In each difference a byte's highest bit is set if the byte is one of those; only bytes above
// such a one may have it for no reason.
func plainBytes(eight uint64) int {
	const each, high = 0x0101010101010101, 0x8080808080808080
	ends := ((eight - ' '*each) | (eight ^ '"'*each - each) | (eight ^ '\\'*each - each)) &^ eight & high
	return bits.TrailingZeros64(ends) / 8
}

func (s *Scanner) word(w string) (raw []byte, ok bool) {
	rest := s.Text[s.At:]
	if len(rest) < len(w) || string(rest[:len(w)]) != w {
		return nil, false
	}
	s.At += len(w)
	return rest[:len(w)], true
}

func (s *Scanner) number() (raw []byte, ok bool) {
	start := s.At
	s.take('-')
	if !s.take('0') && !s.digits() || s.take('.') && !s.digits() {
		return nil, false
	}
	if s.take('e') || s.take('E') {
		_ = s.take('+') || s.take('-')
		if !s.digits() {
			return nil, false
		}
	}
	return s.Text[start:s.At], true
}

// take takes the byte c, if it comes at once.
func (s *Scanner) take(c byte) bool {
	if s.At < len(s.Text) && s.Text[s.At] == c {
		s.At++
		return true
	}
	return false
}

// digits takes one digit or more.
func (s *Scanner) digits() bool {
	start := s.At
	for s.At < len(s.Text) && '0' <= s.Text[s.At] && s.Text[s.At] <= '9' {
		s.At++
	}
	return s.At > start
}
