package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type cli struct {
	Compare compareCmd `cmd:"" default:"withargs" help:"Measure crmintake and the floor, and any other system, in turn. The default."`
	Quota   quotaCmd   `cmd:"" help:"Measure how much of an account's quota a fleet of workers uses, and how many calls are refused."`

	Latency latencyCmd `cmd:"" help:"Measure the time from an event's publishing to the commit of its outcome, at several rates."`
	Growth  growthCmd  `cmd:"" help:"Measure with an empty outbox, and with one that holds millions of created rows."`
	Start   startCmd   `cmd:"" help:"Measure the time from the start of the program to its first call."`
	Paused  pausedCmd  `cmd:"" help:"Measure what a paused object type with a backlog costs the others."`
	Publish publishCmd `cmd:"" help:"Measure what it costs publishers that the server syncs before it confirms."`
	Plot    plotCmd    `cmd:"" help:"Draw the JSON of compare or growth as SVG."`

	// What follows are the parts that bench runs as processes of their own.
	NATS  natsCmd  `cmd:"" name:"part-nats" hidden:""`
	CRM   crmCmd   `cmd:"" name:"part-crm" hidden:""`
	Floor floorCmd `cmd:"" name:"part-floor" hidden:""`
}

// streams are the standard streams, which tests replace.
type streams struct{ out, err io.Writer }

// teller tells people what goes on, and when.
func (s streams) teller() func(what string) {
	begin := time.Now()
	return func(what string) { fmt.Fprintf(s.err, "%6.1fs  %s\n", time.Since(begin).Seconds(), what) }
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop)
	os.Exit(execute(ctx, os.Args[1:], streams{os.Stdout, os.Stderr}))
}

func execute(ctx context.Context, args []string, s streams) int {
	var c cli
	exited := -1
	parser, err := kong.New(&c, kong.Name("bench"),
		kong.Description("Measures crmintake on this machine: its speed beside the floor, its latency, what growth "+
			"costs, its start."),
		kong.Writers(s.out, s.err), kong.Exit(func(code int) { exited = code }), kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		fmt.Fprintln(s.err, "bench:", err)
		return 1
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintln(s.err, "bench:", err)
		return 2
	}
	err = parsed.Run(s)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintln(s.err, "bench:", err)
		return 2
	case ctx.Err() != nil:
		err = errors.New("interrupted; all is cleaned up")
	}
	fmt.Fprintln(s.err, "bench:", err)
	return 1
}

var errUsage = errors.New("")

func usagef(format string, args ...any) error {
	return fmt.Errorf("%w%w", errUsage, fmt.Errorf(format, args...))
}
