package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"crmintake/cmd/crmintake/internal/flags"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once: the first one gave the signals back to the system.
	context.AfterFunc(ctx, stop)
	os.Exit(execute(ctx, os.Args[1:], system{os.Stdin, os.Stdout, os.Stderr, flags.EnvironmentOf(os.Environ())}))
}
