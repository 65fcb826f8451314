package main

import (
	"context"
	"fmt"

	"crmintake/outbox"
	"crmintake/worker/jetstream"
)

// durable tells of the servers' settings that take away from the promise.
func (f *findings) durable(d outbox.Durability) {
	const subject = "database"
	for _, setting := range []struct {
		name, loses string
		on          bool
	}{
		{"fsync", "a crash of its machine can lose or damage rows that were committed, of events that are no longer in " +
			"the stream", d.Fsync},
		{"full_page_writes", "a crash of its machine can damage the pages that were being written", d.FullPageWrites},
	} {
		if !setting.on {
			f.add(failure, subject, `%[1]s is off: %[2]s; type, as a superuser, "ALTER SYSTEM SET %[1]s = on" `+
				`and "SELECT pg_reload_conf()"`, setting.name, setting.loses)
		}
	}
	if d.Standbys > 0 && !d.Synchronous {
		f.add(warning, subject, "%s it, and no commit waits for it (synchronous_standby_names is empty): a failover loses "+
			"what was committed last, so events that were acked "+
			"have no row, and what was sent is sent again. On the primary type, as a superuser, \"ALTER SYSTEM SET "+
			"synchronous_standby_names = 'ANY 1 (*)'\" and "+
			"\"SELECT pg_reload_conf()\" (commits then wait while no standby is there), or after a failover 'crmintake "+
			"outbox doubt --since TIME --reason TEXT' before workers start",
			followed(d.Standbys))
	}
}

// databaseDurable adds what durable says of the store's server.
func (f *findings) databaseDurable(ctx context.Context, store *outbox.Store) {
	d, err := store.Durability(ctx)
	if !f.fail("database", err) {
		f.durable(d)
	}
}

// streamDurable warns of a stream that may forget what it confirmed.
func (f *findings) streamDurable(ctx context.Context, source *jetstream.Source, monitorURL string) {
	if text := source.Durable(ctx, monitorURL); text != "" {
		f.add(warning, "stream", "%s", text)
	}
}

func followed(standbys int) string {
	if standbys == 1 {
		return "1 standby follows"
	}
	return fmt.Sprintf("%d standbys follow", standbys)
}

// tellDurable logs once, as a worker starts, what check says of the servers' settings.
func (c *runCmd) tellDurable(ctx context.Context, p *program, store *outbox.Store, source *jetstream.Source) {
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	var f findings
	f.databaseDurable(ctx, store)
	f.streamDurable(ctx, source, c.NATSMonitorURL)
	for _, one := range f {
		p.log.Warn(one.Subject + ": " + one.Text)
	}
}
