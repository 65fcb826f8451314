package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"crmintake/worker/hubspot/hubspottest"
)

// crmCmd is the command crm: the simulated account alone, for a worker that somebody else runs, as deploy/compose.yaml
// does. It knows deals, contacts and companies.
type crmCmd struct {
	Addr    string        `help:"Where to listen. A worker talks plain http to a loopback address only." default:"127.0.0.1:8090" placeholder:"HOST:PORT"`
	Token   string        `help:"The token that opens the account. It is no secret: the account lives for as long as the process." default:"pat-of-the-simulated-account" placeholder:"TOKEN"`
	Faults  string        `help:"How it behaves: none, or mixed (every fault of its list, one call in ten)." enum:"none,mixed" default:"none" placeholder:"none|mixed"`
	Quota   string        `help:"The account's quota of calls, as 190/10s; or off." default:"190/10s" placeholder:"CALLS/TIME"`
	Latency time.Duration `help:"How long a call takes, on average." default:"30ms" placeholder:"TIME"`
}

// Run serves the account until ctx ends. Its records are gone then.
func (c *crmCmd) Run(ctx context.Context, s streams) error {
	limit, err := parseQuota(c.Quota)
	if err != nil {
		return usagef("%w", err)
	}
	cfg := account(limit, c.Latency, c.Faults)
	cfg.Token = c.Token
	crm, err := hubspottest.New(cfg)
	if err != nil {
		return usagef("%w", err)
	}
	l, err := net.Listen("tcp", c.Addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: crm, ReadHeaderTimeout: time.Minute}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	fmt.Fprintf(s.out, "The simulated CRM answers at http://%s.\n", l.Addr())
	tellTypes(s.out, cfg.ObjectTypes)
	c.tellSettings(s.out, l.Addr().String(), cfg.ObjectTypes)
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// tellSettings says what to type for a worker, and for crmintake check, to find the account.
func (c *crmCmd) tellSettings(out io.Writer, addr string, types map[string]hubspottest.ObjectType) {
	var properties []string
	for _, name := range slices.Sorted(maps.Keys(types)) {
		properties = append(properties, name+"="+types[name].Unique[0])
	}
	fmt.Fprintf(out, "For a worker: export CRMINTAKE_HUBSPOT_URL=http://%s CRMINTAKE_HUBSPOT_TOKEN='%s' "+
		"CRMINTAKE_QUOTA=%s "+
		"CRMINTAKE_ID_PROPERTY=%s\n", addr, strings.ReplaceAll(c.Token, "'", `'\''`), c.Quota, strings.Join(properties, ","))
}

// tellTypes says which object types the account knows, and with which properties.
func tellTypes(out io.Writer, types map[string]hubspottest.ObjectType) {
	for _, name := range slices.Sorted(maps.Keys(types)) {
		t := types[name]
		fmt.Fprintf(out, "%s (unique: %s): %s\n", name, strings.Join(t.Unique, ", "), strings.Join(t.Properties, ", "))
	}
}
