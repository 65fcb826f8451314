package jetstream

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// What is published, what is stored and what is delivered may each have subjects of their own: a stream may store what
// it takes, or copies from others, under other subjects, and a consumer delivers those that its filter names.

// checkSubjects compares what the stream takes, copies and stores with what we are to read.
func checkSubjects(cfg Config, s jetstream.StreamConfig) (f findings) {
	stored := slices.Clone(s.Subjects)
	if t := s.SubjectTransform; t != nil {
		to := storedAs(t.Destination)
		stored = append(stored, to)
		if overlap(orAll(t.Source), cfg.Subject) && !covers(cfg.Subject, to) {
			f.fatalf("the stream %s stores what is published on %s as %s, which is not read as %s; %s", s.Name,
				orAll(t.Source), to,
				cfg.Subject, cfg.readInstead(s, to, ", and what comes keeps its subject", "--no-transform"))
		}
	}
	// A mirror or an aggregate of other streams has no subjects of its own, or not only.
	if s.Mirror == nil && len(s.Sources) == 0 && f == nil && !coveredByAny(stored, cfg.Subject) {
		keep := slices.DeleteFunc(slices.Clone(s.Subjects), func(one string) bool { return covers(cfg.Subject, one) })
		f.fatalf("the stream %s takes the subjects %s, and not all of %s; type '%s'", s.Name,
			strings.Join(s.Subjects, ", "), cfg.Subject,
			cfg.editStream("--subjects="+quoted(strings.Join(append(keep, cfg.Subject), ","))))
	}
	copied := slices.Clone(s.Sources)
	if s.Mirror != nil {
		copied = append(copied, s.Mirror)
	}
	read := len(s.Subjects) > 0 // whether anything is
	for _, from := range copied {
		read = read || slices.ContainsFunc(copies(from), func(to string) bool { return overlap(cfg.Subject, to) })
	}
	for _, from := range copied {
		for _, to := range copies(from) {
			text := fmt.Sprintf("the stream %s stores what it copies from %s as %s, and crmintake reads %s; %s",
				s.Name, from.Name, to,
				cfg.Subject, cfg.readInstead(s, to, "", ""))
			switch {
			case !read:
				f.fatalf("%s", text)
			case !overlap(cfg.Subject, to):
				f.warnf("%s", text)
			}
		}
	}
	return f
}

// copies are the subjects under which a stream stores what it copies from another one.
func copies(from *jetstream.StreamSource) (list []string) {
	for _, t := range from.SubjectTransforms {
		list = append(list, storedAs(t.Destination))
	}
	if list == nil {
		list = []string{orAll(from.FilterSubject)}
	}
	return list
}

// readInstead is how to read what is stored as that, or else what to change in the stream.
func (c Config) readInstead(s jetstream.StreamConfig, to, then, flag string) string {
	other := c
	other.Subject = to
	switch {
	case other.Validate() == nil:
		export := "CRMINTAKE_SUBJECT=" + quoted(to)
		inherited := other
		inherited.Subject = ""
		return fmt.Sprintf("to read that, type 'export %s', '%s' and '%s', and give all workers the same subject",
			export,
			c.nats("consumer rm", quoted(s.Name), quoted(c.Consumer), "--force"), inherited.command("init"))
	case flag != "":
		return fmt.Sprintf("type '%s'%s", c.editStream(flag), then)
	}
	return "copy it under subjects that do"
}

// storedAs is a pattern for what a transformation makes of subjects.
func storedAs(destination string) string {
	tokens := strings.Split(orAll(destination), ".")
	for i, token := range tokens {
		if strings.ContainsAny(token, "{$") {
			tokens[i] = "*"
		}
	}
	return strings.Join(tokens, ".")
}

func orAll(subject string) string {
	if subject == "" {
		return ">"
	}
	return subject
}

func coveredByAny(patterns []string, subject string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return covers(p, subject) })
}

// overlap reports whether there are subjects that match both patterns.
func overlap(a, b string) bool {
	for {
		x, restX, moreX := strings.Cut(a, ".")
		y, restY, moreY := strings.Cut(b, ".")
		switch {
		case x == ">", y == ">":
			return true
		case x != y && x != "*" && y != "*", moreX != moreY:
			return false
		case !moreX:
			return true
		}
		a, b = restX, restY
	}
}

// checkFilter compares what the consumer delivers with the subject that we are to read.
func checkFilter(cfg Config, info *jetstream.ConsumerInfo, s jetstream.StreamConfig) (f findings) {
	if cfg.isSplit(info.Config) {
		return nil // the object types have consumers of their own now
	}
	name := "the consumer " + info.Name + " of stream " + s.Name
	filters := filtersOf(info.Config)
	if len(filters) == 0 {
		filters = s.Subjects // all of the stream
	}
	shown := strings.Join(filters, ", ")
	for _, one := range filters {
		if !covers(cfg.Subject, one) {
			f.fatalf("%s delivers %s, and not only %s: other messages would be taken for invalid events; type '%s', "+
				"or give the subject with --subject",
				name, shown, cfg.Subject, cfg.editConsumer("--filter="+quoted(cfg.Subject)))
			return f
		}
	}
	if len(filters) > 0 && !coveredByAny(filters, cfg.Subject) {
		// Another filter would bring nothing that this one has passed over.
		f.warnf("%s delivers %s, and not all of %s: other events wait; %s, or give the subject with --subject", name,
			shown, cfg.Subject,
			cfg.recreateConsumer(s.Retention, info.Config.AckWait))
	}
	return f
}
