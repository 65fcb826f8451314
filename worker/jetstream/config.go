package jetstream

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Config is where the events are. Its zero value is that of each default.
type Config struct {
	Stream   string // default CRM_EVENTS
	Subject  string // the filter, default crm.create.>; the object type is the token in the place of its wildcard
	Consumer string // the durable's name, default crmintake
	Domain   string // of JetStream; "" for that of the server that we are connected to
	Traces   bool   // read from the headers which span a message was published in

	Log *slog.Logger // for what Source does by itself; nil for nowhere
}

func (c Config) log() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}

func (c Config) withDefaults() Config {
	if c.Stream == "" {
		c.Stream = "CRM_EVENTS"
	}
	if c.Subject == "" {
		c.Subject = "crm.create.>"
	}
	if c.Consumer == "" {
		c.Consumer = "crmintake"
	}
	return c
}

// jetStream is the API of the domain.
func (c Config) jetStream(nc *nats.Conn) (js jetstream.JetStream, err error) {
	if c.Domain == "" {
		js, err = jetstream.New(nc)
	} else {
		js, err = jetstream.NewWithDomain(nc, c.Domain)
	}
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	return js, nil
}

// nextSubject is the subject of pull requests to a consumer.
func (c Config) nextSubject(consumer string) string {
	api := "$JS.API"
	if c.Domain != "" {
		api = "$JS." + c.Domain + ".API"
	}
	return api + ".CONSUMER.MSG.NEXT." + c.Stream + "." + consumer
}

// Prefix is what a subject has before the object type, with its last dot.
func (c Config) Prefix() string { return strings.TrimRight(c.withDefaults().Subject, "*>") }

// Validate reports names that NATS does not take, and a subject whose last token is no wildcard: nothing would tell the
// object type.
func (c Config) Validate() error {
	c = c.withDefaults()
	for kind, name := range map[string]string{"stream": c.Stream, "consumer": c.Consumer} {
		// The server's own rule, and no control characters: the name is part of the subjects that we publish to.
		control := func(r rune) bool { return r < ' ' || r == 0x7f }
		if strings.ContainsAny(name, `.*>/\ `) || strings.ContainsFunc(name, control) {
			return fmt.Errorf("%s %q: a name has no white space, dots, slashes, * or >", kind, name)
		}
	}
	if strings.ContainsAny(c.Domain, ".*> \t\r\n") {
		return fmt.Errorf("NATS domain %q: a name has no white space, dots, * or >", c.Domain)
	}
	p := c.Prefix()
	if len(c.Subject)-len(p) != 1 || strings.ContainsAny(p, "*> \t\r\n") || !strings.HasSuffix(p, ".") ||
		strings.HasPrefix(p, ".") || strings.Contains(p, "..") {
		return fmt.Errorf("subject %q: it must end in one wildcard, as crm.create.> does; the object type stands there",
			c.Subject)
	}
	return nil
}

// covers reports whether each subject that matches the subject or pattern inner matches outer as well.
func covers(outer, inner string) bool {
	for {
		o, restOuter, moreOuter := strings.Cut(outer, ".")
		i, restInner, moreInner := strings.Cut(inner, ".")
		switch {
		case o == ">":
			return true
		case i == ">", o != "*" && o != i:
			return false
		case moreOuter != moreInner:
			return false
		case !moreOuter:
			return true
		}
		outer, inner = restOuter, restInner
	}
}
