#!/usr/bin/env bash
# What surprised: changing the filter of a JetStream consumer is no way to leave messages out for a while.
#   1. Messages that the filter leaves out are passed over for good: with the old filter again, they are never delivered, though they are
#      still in the work queue, and the consumer says that it has nothing pending.
#   2. Messages that were delivered before go on being delivered again, though the filter leaves them out.
#   3. When another consumer acks those, and they are gone from the stream, the first one still counts them as unacked.
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
	fmt.Println("nats-server", server.VERSION, "nats.go", nats.Version)
	stream := must(js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Retention: jetstream.WorkQueuePolicy}))
	main := jetstream.ConsumerConfig{Durable: "main", FilterSubject: "s.>", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Hour}
	must(js.CreateConsumer(ctx, "S", main))
	filter := func(subject string) jetstream.Consumer {
		c := main
		c.FilterSubject = subject
		return must(js.UpdateConsumer(ctx, "S", c))
	}
	fetch := func(c jetstream.Consumer) (list []jetstream.Msg) {
		batch := must(c.Fetch(10, jetstream.FetchMaxWait(time.Second)))
		for m := range batch.Messages() {
			list = append(list, m)
		}
		return list
	}
	publish := func(subject string) { must(js.Publish(ctx, subject, nil)) }
	changed := false
	expect := func(what string, got, seen any) {
		fmt.Printf("%s: %v\n", what, got)
		if got != seen {
			fmt.Printf("  that was %v\n", seen)
			changed = true
		}
	}

	publish("s.a") // 1
	delivered := fetch(must(js.Consumer(ctx, "S", "main")))
	c := filter("s.b") // leaves out s.a
	publish("s.a")     // 2
	publish("s.b")     // 3
	for _, m := range fetch(c) {
		if err := m.DoubleAck(ctx); err != nil {
			panic(err)
		}
	}
	if err := delivered[0].Nak(); err != nil {
		panic(err)
	}
	again := fetch(c)
	expect("left out by the filter, and delivered again", len(again), 1)
	c = filter("s.>")
	expect("with the old filter, of the message that was left out is delivered", len(fetch(c)), 0)
	i := must(c.Info(ctx))
	expect("pending", i.NumPending, uint64(0))
	expect("messages in the stream", must(stream.Info(ctx)).State.Msgs, uint64(2))

	c = filter("s.b")
	other := must(js.CreateConsumer(ctx, "S", jetstream.ConsumerConfig{Durable: "other", FilterSubject: "s.a", AckPolicy: jetstream.AckExplicitPolicy}))
	for _, m := range fetch(other) {
		if err := m.DoubleAck(ctx); err != nil {
			panic(err)
		}
	}
	expect("messages in the stream, when another consumer has acked all", must(stream.Info(ctx)).State.Msgs, uint64(0))
	expect("and the first one counts as unacked", must(c.Info(ctx)).NumAckPending, 1)
	if changed {
		os.Exit(1)
	}
}
GO
export GOFLAGS=-mod=mod GOTOOLCHAIN=auto
go mod tidy > tidy.log 2>&1 || { cat tidy.log; exit 2; }
go build -o finding . && ./finding "$dir/store"
