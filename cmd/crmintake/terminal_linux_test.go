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
	t.Parallel()
	o := newFixture(t)
	long := strings.Repeat("x", 200)
	publish(t, "a", long)
	crmintake(t, "", "run", "--drain").want(t, 0)
	o.exec(t, `INSERT INTO pause (object_type, reason, cause) VALUES ('deals', $1, 'operator')`,
		strings.Repeat("because ", 50))
	setenv(t, "TERM", "xterm")

	for _, c := range []struct {
		noColour string
		colour   bool
	}{{"", true}, {"1", false}} {
		setenv(t, "NO_COLOR", c.noColour)
		tty, text := realTerminal(t, 80)
		if code := execute(t.Context(), []string{"outbox", "list"}, systemIn(t, strings.NewReader(""), tty, tty)); code != 0 {
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
	system := systemIn(t, strings.NewReader(""), tty, tty)
	go func() {
		ended <- execute(ctx, []string{"status", "--watch=100ms"}, system)
	}()
	until(t, "the status is shown twice, at the same place", func() bool {
		return strings.Count(text.String(),
			"\x1b[H") >= 2
	})
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

// onScreen is what a command that ends with the code (-1: any) leaves on a terminal of 80 columns and 24 lines, line
// by line.
func onScreen(t testing.TB, code int, args ...string) (lines []string) {
	t.Helper()
	tty, text := realTerminal(t, 80)
	if got := execute(t.Context(), args, systemIn(t, strings.NewReader(""), tty, tty)); code >= 0 && got != code {
		t.Errorf("%s: exit code %d, want %d", strings.Join(args, " "), got, code)
	}
	fmt.Fprint(tty, "\x00")
	until(t, "all of it is shown", func() bool { return strings.HasSuffix(text.String(), "\x00") })
	lines = strings.Split(strings.TrimSuffix(strings.TrimSuffix(text.String(), "\x00"), "\r\n"), "\r\n")
	for _, line := range lines {
		if n := len([]rune(line)); n > 80 {
			t.Errorf("%s: %d characters: %q", strings.Join(args, " "), n, line)
		}
	}
	return lines
}

// A screen of 80 columns shows what one acts on: ids whole, long texts on lines of their own. One of 24 lines has the
// verdict on it, however many object types there are.
func TestFitsAScreen(t *testing.T) {
	t.Parallel()
	o := newFixture(t)
	setenv(t, "NO_COLOR", "1")
	id := "order-2026-11-28/0000-1111-2222-3333-4444-5555"
	crmintake(t, fmt.Sprintf(`{"properties":{"nmae":"x","event_id":%q}}`+"\n", id), "publish", "--object-type",
		"contracts", "--id-field", "event_id", "-").want(t, 0)
	crmintake(t, "", "run", "--drain").want(t, 0)
	const reason = "the finance department has asked to wait with all of these until the month has been closed, " +
		"which takes until Friday"
	crmintake(t, "", "pause", "contracts", "--reason", reason).want(t, 0)
	o.exec(t, `INSERT INTO operator_action (operator, action, reason, events) VALUES ('ann', 'replay', $1, 7)`, reason)
	o.exec(t, `INSERT INTO replay_job (action_id, state, allow_duplicate, events, failures, failure)
		SELECT id, 'paused', false, 1234567, 1, 'oh' FROM operator_action WHERE action = 'replay'`)
	o.exec(t, `UPDATE operator_action SET filter = '{"object_type":"contracts","text":"month"}' WHERE action = 'replay'`)
	has := func(lines []string, wants ...string) {
		t.Helper()
		text := strings.Join(strings.Fields(strings.Join(lines, " ")), " ")
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("there is no %q in:\n%s", want, strings.Join(lines, "\n"))
			}
		}
	}
	has(onScreen(t, 0, "dead", "list"), "event: "+id, "error: ", "rejected", "nmae")
	has(onScreen(t, 0, "audit"), reason, `filter: {"object_type":"contracts"`)
	has(onScreen(t, 0, "replay", "list"), reason, "by ann", "1,234,567", "replay show 1")

	o.exec(t, `INSERT INTO event (event_id, object_type,
  status, payload, content_hash, next_attempt_at, stream, stream_seq)
		SELECT 'e' || n, 'type_' || n, 'retry', '{}', 'h', now() + interval '1 hour', 's', n FROM generate_series(1, 33) n`)
	o.exec(t, `UPDATE replay_job SET state = 'cancelled', ended_at = now()`)
	lines := onScreen(t, 0, "status")
	if len(lines) > 23 || lines[0] != "in trouble: no worker is there, and 33 events wait" {
		t.Errorf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	has(lines, reason, "crmintake resume contracts", "more object types", "0 alive")
}
