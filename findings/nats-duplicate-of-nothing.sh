#!/usr/bin/env bash
# What surprised: JetStream confirms a message that it drops, and that is in no stream.
#   1. A message whose Nats-Msg-Id the stream had within its duplicate window is confirmed with "duplicate": true, and dropped, though the first
#      one was acked, and so is gone from the work queue, and though subject and content are others. The sequence that it names is of no message.
#   2. The window can't be switched off: 0 means two minutes, and less than 100 ms is refused.
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
	"errors"
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
	consumer := must(stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy}))
	must(js.Publish(ctx, "s.contacts", []byte("one"), jetstream.WithMsgID("1")))
	if err := must(consumer.Next()).DoubleAck(ctx); err != nil {
		panic(err)
	}
	second := must(js.Publish(ctx, "s.deals", []byte("another"), jetstream.WithMsgID("1")))
	_, err := stream.GetMsg(ctx, second.Sequence)
	state := must(stream.Info(ctx)).State
	fmt.Printf("the second publish: duplicate %v, sequence %d (%v); the stream has %d messages\n", second.Duplicate, second.Sequence, err, state.Msgs)
	window := stream.CachedInfo().Config.Duplicates
	_, short := js.CreateStream(ctx, jetstream.StreamConfig{Name: "T", Subjects: []string{"t"}, Duplicates: time.Millisecond})
	fmt.Printf("a window of 0 is one of %v; one of 1ms: %v\n", window, short)
	if !second.Duplicate || !errors.Is(err, jetstream.ErrMsgNotFound) || state.Msgs != 0 || window != 2*time.Minute || short == nil {
		fmt.Println("CHANGED")
		os.Exit(1)
	}
}
GO
export GOFLAGS=-mod=mod GOTOOLCHAIN=auto
go mod tidy > tidy.log 2>&1 || { cat tidy.log; exit 2; }
go build -o finding . && ./finding "$dir/store"
