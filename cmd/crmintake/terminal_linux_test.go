package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// realTerminal opens a terminal of a width: programs write to tty, and what they write appears in text.
func realTerminal(t testing.TB, width int) (tty *os.File, text *output) {
	t.Helper()
	far, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	control := func(do func(fd int) error) {
		t.Helper()
		raw, err := far.SyscallConn()
		if err == nil {
			var inner error
			err = raw.Control(func(fd uintptr) { inner = do(int(fd)) })
			if err == nil {
				err = inner
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var number int
	control(func(fd int) error { return unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0) })
	control(func(fd int) (err error) { number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN); return err })
	control(func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: uint16(width)})
	})
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	text = &output{}
	var reading sync.WaitGroup
	reading.Go(func() {
		b := make([]byte, 4096)
		for {
			n, err := far.Read(b)
			_, _ = text.Write(b[:n])
			if err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		tty.Close()
		far.Close()
		reading.Wait()
	})
	return tty, text
}

// On a terminal lines are cut to its width, there is colour unless NO_COLOR says no, and status is shown in place.
func TestOnATerminal(t *testing.T) {
	o := newOffice(t)
	long := strings.Repeat("x", 200)
	publish(t, "a", long)
	crmintake(t, "", "run", "--drain").want(t, 0)
	o.exec(t, `INSERT INTO pause (object_type, reason, cause) VALUES ('deals', $1, 'operator')`, strings.Repeat("because ", 50))
	t.Setenv("TERM", "xterm")

	for _, c := range []struct {
		noColour string
		colour   bool
	}{{"", true}, {"1", false}} {
		t.Setenv("NO_COLOR", c.noColour)
		tty, text := realTerminal(t, 80)
		if code := execute(t.Context(), []string{"outbox", "list"}, streams{strings.NewReader(""), tty, tty}); code != 0 {
			t.Errorf("exit code %d", code)
		}
		until(t, "the list is shown", func() bool { return strings.Count(text.String(), "\n") == 3 })
		if got := strings.Contains(text.String(), "\x1b["); got != c.colour {
			t.Errorf("NO_COLOR=%s: colour %v: %q", c.noColour, got, text)
		}
		if c.colour {
			continue
		}
		for line := range strings.SplitSeq(text.String(), "\r\n") {
			if n := len([]rune(line)); n > 80 || n > 0 && n < 60 && strings.Contains(line, "x") {
				t.Errorf("%d characters: %s", n, line)
			}
		}
	}

	tty, text := realTerminal(t, 80)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- execute(ctx, []string{"status", "--watch=100ms"}, streams{strings.NewReader(""), tty, tty})
	}()
	until(t, "the status is shown twice, at the same place", func() bool { return strings.Count(text.String(), "\x1b[H") >= 2 })
	cancel()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d", code)
	}
	until(t, "the cursor is back", func() bool { return strings.HasSuffix(text.String(), "\x1b[?25h") })
	for line := range strings.SplitSeq(strings.ReplaceAll(text.String(), "\x1b[K", ""), "\r\n") {
		if n := len([]rune(line)); n > 80+len("\x1b[?25l\x1b[2J\x1b[H") {
			t.Errorf("%d characters: %q", n, line)
		}
	}
}
