package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"crmintake/deploy/local/pgcluster"
	"crmintake/worker/hubspot/hubspottest"
)

// StackConfig says what kind of parts to start.
type StackConfig struct {
	CRM      hubspottest.Config // its Token may be empty: then it is one of the stack's own
	Postgres pgcluster.Config
	NATS     NATSConfig
	// Progress is told what is being started, for a person who waits; nil for nobody.
	Progress func(what string)
}

// Stack is everything that a worker talks to, and the worker's program, on this machine.
type Stack struct {
	NATS     *NATS
	Postgres *pgcluster.Cluster
	CRM      *hubspottest.Server
	Worker   string // the program's path
	Dir      string // for files of the caller's; gone after Stop

	token string
	stops []func() error // in the order of starting
}

// stackToken opens the simulated account. It is no secret: the account lives for as long as the process.
const stackToken = "pat-of-the-simulated-account"

// StartStack starts all parts and returns when they accept connections. After an error, nothing of them is left.
func StartStack(ctx context.Context, cfg StackConfig) (*Stack, error) {
	s := &Stack{}
	if err := s.start(ctx, cfg); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context, cfg StackConfig) (err error) {
	tell := cfg.Progress
	if tell == nil {
		tell = func(string) {}
	}
	var remove func() error
	if s.Dir, remove, err = TempDir("crmintake-local-"); err != nil {
		return err
	}
	s.stops = append(s.stops, remove)

	tell("building the worker")
	if s.Worker, err = BuildWorker(ctx, s.Dir); err != nil {
		return err
	}
	if err = pgcluster.Install(ctx, tell); err != nil {
		return err
	}
	tell("starting Postgres")
	if s.Postgres, err = pgcluster.Start(ctx, cfg.Postgres); err != nil {
		return err
	}
	s.stops = append(s.stops, s.Postgres.Stop)
	tell("starting NATS JetStream")
	if s.NATS, err = StartNATS(cfg.NATS); err != nil {
		return err
	}
	s.stops = append(s.stops, s.NATS.Stop)
	tell("starting the simulated CRM")
	if cfg.CRM.Token == "" {
		cfg.CRM.Token = stackToken
	}
	s.token = cfg.CRM.Token
	if s.CRM, err = hubspottest.Start(cfg.CRM); err != nil {
		return err
	}
	s.stops = append(s.stops, func() error { s.CRM.Close(); return nil })

	tell("creating stream, consumer and tables")
	init, err := s.Start(ctx, nil, "init")
	if err != nil {
		return err
	}
	if err := init.Wait(); err != nil {
		return fmt.Errorf("crmintake init: %w\n%s", err, init.LogEnd())
	}
	return nil
}

// DatabaseURL is the outbox's database.
func (s *Stack) DatabaseURL() string { return s.Postgres.URL("postgres") }

// Env are the environment variables by which a worker finds the parts.
func (s *Stack) Env() []string {
	return []string{
		"CRMINTAKE_NATS_URL=" + s.NATS.URL(),
		"CRMINTAKE_DATABASE_URL=" + s.DatabaseURL(),
		"CRMINTAKE_HUBSPOT_URL=" + s.CRM.URL,
		"CRMINTAKE_HUBSPOT_TOKEN=" + s.token,
		"CRMINTAKE_ADMIN_ADDR=127.0.0.1:0", // there may be several
	}
}

// Start runs the program with these arguments, as a process of its own, whose log goes to log, which may be nil.
// Settings of the user's environment that are meant for another deployment do not reach it.
func (s *Stack) Start(ctx context.Context, log io.Writer, args ...string) (*Process, error) {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CRMINTAKE_") })
	return StartProcess(ctx, ProcessConfig{Path: s.Worker, Args: args, Env: append(env, s.Env()...), Stderr: log})
}

// Stop stops all parts, the last one first, and removes their files. Processes that were started with Start are the
// caller's to end before.
func (s *Stack) Stop() error {
	var errs []error
	for n := len(s.stops) - 1; n >= 0; n-- {
		errs = append(errs, s.stops[n]())
	}
	s.stops = nil
	return errors.Join(errs...)
}
