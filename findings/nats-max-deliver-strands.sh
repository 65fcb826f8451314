#!/usr/bin/env bash
# What surprised: a message that a JetStream consumer has delivered max_deliver times is stranded in a work queue.
#   1. It stays in the stream, and the consumer says that nothing is pending and nothing unacked.
#   2. To raise max_deliver, or to lift it, brings nothing back: only a consumer that is made anew delivers it.
#   3. natscli takes --max-pending=-1 for "as it is": it says that there is no difference, and ends with 0.
# Seen with the versions pinned below; exits with 1 if any of it has changed. Needs Go, and the Go proxy.
set -euo pipefail

dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT
cd "$dir"
cat > go.mod <<'MOD'
module finding

go 1.25

require (
	github.com/nats-io/nats-server/v2 v2.15.2 // pinned
	github.com/nats-io/nats.go v1.55.0 // pinned
)
MOD
cat > main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func main() {
	ctx := context.Background()
	s := must(server.NewServer(&server.Options{JetStream: true, StoreDir: os.Args[1], Host: "127.0.0.1", Port: -1, NoSigs: true}))
	s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(10 * time.Second) {
		panic("no server")
	}
	nc := must(nats.Connect(s.ClientURL()))
	js := must(jetstream.New(nc))
	fmt.Println("nats-server", server.VERSION, "nats.go", nats.Version, "natscli v0.5.0")
	stream := must(js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Retention: jetstream.WorkQueuePolicy}))
	config := jetstream.ConsumerConfig{Durable: "c", FilterSubject: "s.>", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: 2, MaxAckPending: 5}
	c := must(js.CreateConsumer(ctx, "S", config))
	fetch := func() (n int) {
		for m := range must(c.Fetch(3, jetstream.FetchMaxWait(500*time.Millisecond))).Messages() {
			n++
			if err := m.Nak(); err != nil {
				panic(err)
			}
		}
		return n
	}
	changed := false
	expect := func(what string, got, seen any) {
		fmt.Printf("%s: %v\n", what, got)
		if got != seen {
			fmt.Printf("  that was %v\n", seen)
			changed = true
		}
	}
	for range 3 {
		must(js.Publish(ctx, "s.a", nil))
	}
	for fetch() > 0 {
	}
	state := func(when string) {
		i := must(c.Info(ctx))
		expect(when+", pending and unacked", fmt.Sprint(i.NumPending, " ", i.NumAckPending), "0 0")
		expect(when+", messages in the work queue", must(stream.Info(ctx)).State.Msgs, uint64(3))
	}
	state("delivered twice each")
	config.MaxDeliver = -1
	c = must(js.UpdateConsumer(ctx, "S", config))
	expect("with no max_deliver any more, delivered", fetch(), 0)
	state("then")
	out := must(exec.Command(os.Args[2], "--server", s.ClientURL(), "consumer", "edit", "S", "c", "--max-pending=-1", "--force").CombinedOutput())
	expect("natscli, --max-pending=-1", strings.TrimSpace(string(out)), "No difference in configuration")
	if err := js.DeleteConsumer(ctx, "S", "c"); err != nil {
		panic(err)
	}
	c = must(js.CreateConsumer(ctx, "S", config))
	expect("of a consumer that is made anew, delivered", fetch(), 3)
	if changed {
		os.Exit(1)
	}
}
GO
export GOFLAGS=-mod=mod GOTOOLCHAIN=auto HOME="$dir" GOBIN="$dir" GOMODCACHE="$(go env GOMODCACHE)" GOCACHE="$(go env GOCACHE)"
go mod tidy > tidy.log 2>&1 || { cat tidy.log; exit 2; }
go install github.com/nats-io/natscli/nats@v0.5.0 > install.log 2>&1 || { cat install.log; exit 2; }
go build -o finding . && ./finding "$dir/store" "$dir/nats"
