package jetstream

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// finding is what is odd about an existing stream or consumer, in a sentence, with what to type about it: commands
// between single quotes, as bash and natscli take them, with nobody there to confirm them.
//
// Fatal is what makes crmintake lose or misread events, or get none, and a stream that confirms nothing.
// What a stream may lose with nobody's help is a warning: not to start would lose more of it.
type finding struct {
	fatal bool
	text  string
}

type findings []finding

func (f *findings) fatalf(format string, args ...any) {
	*f = append(*f, finding{true, fmt.Sprintf(format, args...)})
}

func (f *findings) warnf(format string, args ...any) {
	*f = append(*f, finding{false, fmt.Sprintf(format, args...)})
}

// err joins what is fatal; nil if nothing is.
func (f findings) err() error {
	var errs []error
	for _, one := range f {
		if one.fatal {
			errs = append(errs, errors.New(one.text))
		}
	}
	return errors.Join(errs...)
}

func (f findings) warnings() (texts []string) {
	for _, one := range f {
		if !one.fatal {
			texts = append(texts, one.text)
		}
	}
	return texts
}

// quoted is a word of a command line that may have any characters but those that are in no name of NATS.
func quoted(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' ||
			strings.ContainsRune("_-./:=,%+@", r))
	}) {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`").Replace(s) + `"`
}

// nats is a command line of natscli.
func (c Config) nats(words ...string) string {
	line := "nats "
	if c.Domain != "" {
		line += "--js-domain=" + quoted(c.Domain) + " "
	}
	return line + strings.Join(words, " ")
}

// editStream changes settings of the stream.
func (c Config) editStream(flags ...string) string {
	return c.nats("stream edit", quoted(c.Stream), strings.Join(flags, " "), "--force")
}

// editConsumer changes settings of the consumer.
func (c Config) editConsumer(flags ...string) string {
	return c.nats("consumer edit", quoted(c.Stream), quoted(c.Consumer), strings.Join(flags, " "), "--force")
}

// command is a command line of crmintake with the settings that are not its defaults.
func (c Config) command(command string, flags ...string) string {
	words := append([]string{"crmintake", command}, flags...)
	d := Config{}.withDefaults()
	for _, f := range []struct{ name, value, standard string }{
		{"nats-domain", c.Domain, ""}, {"stream", c.Stream, d.Stream},
		{"subject", c.Subject, d.Subject}, {"consumer", c.Consumer, d.Consumer},
	} {
		if f.value != f.standard && f.value != "" {
			words = append(words, "--"+f.name+"="+quoted(f.value))
		}
	}
	return strings.Join(words, " ")
}

// recreateConsumer has the consumer made anew: it begins at the stream's first message. What was in hand comes once
// more, and so does what a stream that is no work queue keeps of what is acked.
func (c Config) recreateConsumer(retention jetstream.RetentionPolicy, ackWait time.Duration) string {
	var flags []string
	if ackWait >= time.Second && ackWait != defaultAckWait {
		flags = append(flags, "--ack-wait="+ackWait.String())
	}
	text := fmt.Sprintf("type '%s', then '%s'", c.nats("consumer rm", quoted(c.Stream), quoted(c.Consumer), "--force"),
		c.command("init", flags...))
	if retention != jetstream.WorkQueuePolicy {
		text += "; all that the stream keeps then comes again, and is known for as long as its rows are kept " +
			"(--keep-created)"
	}
	return text
}

// recreateStream has the stream made anew, for what can't be changed.
func (c Config) recreateStream() string {
	return fmt.Sprintf("that can't be changed: stop the publishers, then type '%s', '%s' and '%s'",
		c.command("run", "--drain"), c.nats("stream rm", quoted(c.Stream), "--force"), c.command("init"))
}
