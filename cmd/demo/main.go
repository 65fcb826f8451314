package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// cli is the whole command line.
type cli struct {
	Run   runCmd   `cmd:"" default:"withargs" help:"Publish events, create their records, and compare (what happens when no command is named)."`
	Chaos chaosCmd `cmd:"" help:"The same for minutes, while workers, servers, connections and the CRM fail at random moments."`
	Soak  soakCmd  `cmd:"" help:"The same for an hour, at half the quota with mild faults: what must not grow is watched."`
	CRM   crmCmd   `cmd:"" name:"crm" help:"Serve the simulated CRM alone, until Ctrl-C."`
}

// streams are where a command writes: its result for programs and people, and on the side what people watch.
type streams struct {
	out, say io.Writer
}

// result is what a command tells in the end.
type result interface {
	print(io.Writer) error // for people
	good() bool            // the accounts agree
}

// tell writes a result in the way that was asked for.
func (s streams) tell(output string, r result) error {
	if output == "json" {
		return json.NewEncoder(s.out).Encode(r)
	}
	return r.print(s.out)
}

var (
	errUsage    = errors.New("")
	errDisagree = errors.New("the accounts do not agree")
)

func usagef(format string, args ...any) error {
	return fmt.Errorf("%w%w", errUsage, fmt.Errorf(format, args...))
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once; what it started ends with it
	os.Exit(execute(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func execute(ctx context.Context, args []string, out, errs io.Writer) int {
	var c cli
	exited := -1
	parser, err := kong.New(&c, kong.Name("demo"),
		kong.Description("Runs crmintake end to end on this machine, on parts that it starts itself, and checks that "+
			"nothing was lost or doubled."),
		kong.Writers(out, errs), kong.Exit(func(code int) { exited = code }), kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		fmt.Fprintln(errs, "demo:", err)
		return 1
	}
	command, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintln(errs, "demo:", err)
		return 2
	}
	err = command.Run(streams{out: out, say: errs})
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintln(errs, "demo:", err)
		return 2
	case ctx.Err() != nil && !errors.Is(err, errDisagree):
		fmt.Fprintln(errs, "demo: interrupted; all is cleaned up")
	default:
		fmt.Fprintln(errs, "demo:", err)
	}
	return 1
}
