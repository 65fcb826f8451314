package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/alecthomas/kong"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // wrong usage or configuration
	exitNeeds  = 3 // only of status --exit-code: something needs a person, or nothing moves
)

// system is what the program has of the process that it is: its standard streams and its environment. Each test has
// one of its own. Only OpenTelemetry's variables are read past it, by its SDK.
type system struct {
	in       io.Reader
	out, err io.Writer
	env      flags.Environment
}

// screen is the standard output.
func (s system) screen() view.Screen {
	return view.ScreenOf(s.out, s.env["NO_COLOR"] == "" && s.env["TERM"] != "dumb") // https://no-color.org
}

// cli is the whole command line. A flag has an environment variable, CRMINTAKE_ and its name in capitals, unless it
// says env:"-".
type cli struct {
	globals

	Init    initCmd    `cmd:"" help:"Create what is missing of the stream, its consumer and the database's schema. Can be run again."`
	Run     runCmd     `cmd:"" help:"Create a record for each event, until told to stop."`
	Publish publishCmd `cmd:"" help:"Publish events from newline-delimited JSON."`
	Status  statusCmd  `cmd:"" help:"Show how things stand, on one screen."`
	Check   checkCmd   `cmd:"" help:"Look for what is wrong with settings, servers and the CRM, and change nothing."`
	Outbox  outboxCmd  `cmd:"" help:"Look at events and what became of them, and give up on some."`
	Dead    deadCmd    `cmd:"" help:"Find, understand, edit, discard and export the events that need a person."`
	Replay  replayCmd  `cmd:"" help:"Look after bulk replays, which dead replay starts."`
	Audit   auditCmd   `cmd:"" help:"List what persons did, the last first."`
	Pause   pauseCmd   `cmd:"" help:"Stop all workers' calls, of an object type or altogether, until 'resume'."`
	Resume  resumeCmd  `cmd:"" help:"End a pause."`
	Migrate migrateCmd `cmd:"" help:"Bring the database's schema up to date, or show where it stands."`
	Version versionCmd `cmd:"" help:"Print the version."`

	Completion completionCmd `cmd:"" help:"Print a script by which a shell completes crmintake's commands and flags."`
}

// globals are the flags of every command.
type globals struct {
	Output    string `help:"How to print: text for people, json for programs." enum:"text,json" default:"text" placeholder:"text|json"`
	LogFormat string `help:"How to log, on standard error: text for people, json for machines." enum:"text,json" default:"text" placeholder:"text|json"`
	LogLevel  string `help:"What to log: debug (every call), info, warn or error." enum:"debug,info,warn,error" default:"info" placeholder:"LEVEL"`
	Redact    bool   `help:"Keep property values out of what is shown: error texts, events, edits. (Logs never have them.) --no-redact if the environment says otherwise." negatable:""`

	ShowVersion versionFlag `name:"version" env:"-" help:"Print the version."`
}

// program is what a command gets beside its own flags.
type program struct {
	globals
	system
	log *slog.Logger
}

// text is where a command tells people how it goes on, beside its result: nowhere if that is for programs.
func (p *program) text() io.Writer {
	if p.Output == "json" {
		return io.Discard
	}
	return p.out
}

// errTold is an error that has been printed where it belongs, among the results.
var errTold = errors.New("failed; see above")

// errNeeds says that something needs a person, which has been printed.
var errNeeds = errors.New("something needs a person; see above")

// execute runs the program and returns its exit code.
func execute(ctx context.Context, args []string, s system) int {
	var c cli
	env := flags.Variables{Given: s.env}
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("crmintake"),
		kong.Description("Takes record-creation events from NATS JetStream, creates the records in a CRM in batches, "+
			"and keeps in Postgres what became of each event."),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, WrapUpperBound: 110}),
		kong.DefaultEnvars(flags.EnvPrefix),
		kong.PostBuild(env.Take),
		kong.Resolvers(&env),
		kong.PostBuild(addExamples),
		kong.ValueFormatter(env.Help),
		kong.Writers(s.out, s.err),
		kong.Exit(func(code int) { exited = code }), // after --help
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		fmt.Fprintln(s.err, "crmintake:", err)
		return exitFailed
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	if args[0] == completeWord {
		complete(ctx, s, parser.Model.Node, args[1:])
		return exitDone
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if wrong := env.Check(); wrong != nil {
		fmt.Fprintln(s.err, "crmintake:", wrong)
		return exitUsage
	}
	if err != nil {
		fmt.Fprintf(s.err, "crmintake: %v\nType 'crmintake --help', or a command and --help, to see what there is.\n", err)
		return exitUsage
	}
	p := &program{globals: c.globals, system: s, log: logger(s.err, c.globals)}
	if err := parsed.Run(p); err != nil {
		return p.report(err)
	}
	return exitDone
}

// report prints an error once, and tells the exit code. Several faults of the settings have a line each, any other
// error has one.
func (p *program) report(err error) int {
	if errors.Is(err, errTold) {
		return exitFailed
	}
	if errors.Is(err, errNeeds) {
		return exitNeeds
	}
	if usage := (flags.UsageError{}); errors.As(err, &usage) {
		fmt.Fprintln(p.err, "crmintake:", err)
		return exitUsage
	}
	fmt.Fprintln(p.err, "crmintake:", view.OneLine(err.Error()))
	return exitFailed
}

func logger(w io.Writer, g globals) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(g.LogLevel)) // the enum lets only good ones through
	options := &slog.HandlerOptions{Level: level}
	if g.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// workerName names this process in the outbox and in logs.
func workerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}
