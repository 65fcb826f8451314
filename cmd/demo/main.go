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
	"time"

	"github.com/alecthomas/kong"
)

type options struct {
	Events  int           `help:"How many events to publish." default:"10000" placeholder:"N"`
	Faults  string        `help:"How the simulated CRM behaves: none, or mixed (every fault of its list, one call in ten)." enum:"none,mixed" default:"none" placeholder:"none|mixed"`
	Quota   string        `help:"The account's quota of calls, as 190/10s; or off." default:"190/10s" placeholder:"CALLS/TIME"`
	Latency time.Duration `help:"How long a call takes, on average." default:"30ms" placeholder:"TIME"`
	Output  string        `help:"How to print the result: text for people, json for programs." enum:"text,json" default:"text" placeholder:"text|json"`
	Keep    bool          `help:"Leave everything running at the end, and print the addresses, until Ctrl-C."`
	Log     string        `help:"A file for the worker's log." placeholder:"FILE"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once; what it started ends with it
	os.Exit(execute(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func execute(ctx context.Context, args []string, out, errs io.Writer) int {
	var o options
	exited := -1
	parser, err := kong.New(&o, kong.Name("demo"),
		kong.Description("Runs crmintake end to end on this machine, on parts that it starts itself, and checks that nothing was lost or doubled."),
		kong.Writers(out, errs), kong.Exit(func(code int) { exited = code }))
	if err != nil {
		fmt.Fprintln(errs, "demo:", err)
		return 1
	}
	_, err = parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err == nil && o.Events < 1 {
		err = errors.New("--events: want at least 1")
	}
	var limit quota
	if err == nil {
		limit, err = parseQuota(o.Quota)
	}
	if err != nil {
		fmt.Fprintln(errs, "demo:", err)
		return 2
	}
	d := &demo{options: o, quota: limit, say: errs}
	r, err := d.run(ctx, func(r report) error {
		if o.Output == "json" {
			return json.NewEncoder(out).Encode(r)
		}
		return r.print(out)
	})
	if err != nil && ctx.Err() != nil {
		fmt.Fprintln(errs, "demo: interrupted; all is cleaned up")
		return 1
	}
	if err != nil {
		fmt.Fprintln(errs, "demo:", err)
		return 1
	}
	if !r.good() {
		fmt.Fprintln(errs, "demo: the accounts do not agree")
		return 1
	}
	return 0
}
