package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"
)

// Ctrl-C at the question ends the program there and then: nothing more is to be typed, and nothing is done.
func TestInterruptAtTheQuestion(t *testing.T) {
	t.Parallel()
	newFixture(t)
	deadLetters(t, map[string]string{"a": `{"properties":{"nmae":"x"}}`})
	typed, typing := io.Pipe()
	t.Cleanup(func() { typing.Close() }) // what still reads ends with the test
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out := &output{}
	ended := make(chan int, 1)
	system := systemIn(t, terminal{typed}, out, out)
	go func() {
		args := []string{"dead", "discard", "--all", "--reason", "x"}
		ended <- execute(ctx, args, system)
	}()
	until(t, "it asks", func() bool { return strings.Contains(out.String(), "[y/N]") })
	interrupt()
	select {
	case code := <-ended:
		if code != 1 || !strings.Contains(out.String(), "interrupted; nothing was changed") {
			t.Errorf("exit code %d: %s", code, out)
		}
	case <-time.After(patience):
		t.Fatalf("it still waits: %s", out)
	}
	crmintake(t, "", "dead", "groups").want(t, 0, "1 dead event")
}
