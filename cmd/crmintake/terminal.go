package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"

	"golang.org/x/term"
)

// isTerminal tells whether a person is at the other end of a stream. Tests have streams that say so themselves.
func isTerminal(stream any) bool {
	if s, ok := stream.(interface{ IsTerminal() bool }); ok {
		return s.IsTerminal()
	}
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// confirm asks a question, on standard error, to which yes must be the answer, before ctx ends. Without a terminal to
// ask on it is a usageError.
func (p *program) confirm(ctx context.Context, question string) error {
	if !isTerminal(p.in) {
		return usagef("there is no terminal to ask on: say --yes to go on without being asked, or --dry-run to see the plan only; nothing was changed")
	}
	fmt.Fprint(p.err, question+" [y/N] ")
	type reply struct {
		text string
		err  error
	}
	// Reading from a terminal can't be interrupted, so it has a goroutine, which ends with the answer or the program.
	replies := make(chan reply, 1)
	go func() {
		text, err := bufio.NewReader(p.in).ReadString('\n')
		replies <- reply{text, err}
	}()
	var answer reply
	select {
	case <-ctx.Done():
		fmt.Fprintln(p.err)
		return errors.New("interrupted; nothing was changed")
	case answer = <-replies:
	}
	if answer.err != nil && !errors.Is(answer.err, io.EOF) {
		return answer.err
	}
	switch strings.ToLower(strings.TrimSpace(answer.text)) {
	case "y", "yes":
		return nil
	}
	return errors.New("not confirmed; nothing was changed")
}

// asFlag says who is at work, for the audit.
type asFlag struct {
	As string `help:"Who you are, for the audit; else the system's user." placeholder:"NAME"`
}

func (f asFlag) operator() (string, error) {
	if name := strings.TrimSpace(f.As); name != "" {
		return strings.ToValidUTF8(name, "\uFFFD"), nil
	}
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username, nil
	}
	return "", usagef("the system does not say who you are: say it with --as NAME")
}
