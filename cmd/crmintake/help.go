package main

import (
	"cmp"
	"strings"

	"github.com/alecthomas/kong"
)

// examples are what one types, by command: a line each. TestExamples parses them all.
var examples = map[string][]string{
	"init": {"init", "init --replicas 3 --roles"},
	"run":  {"run --quota 190/10s --id-property deals=source_event_id", "run --drain --admin-addr off"},
	"publish": {"publish deals.ndjson --object-type deals --id-field source_event_id",
		"publish dead.ndjson --id-suffix .2"},
	"status":           {"status", "status --watch 5s"},
	"check":            {"check --quota 190/10s --id-property deals=source_event_id"},
	"outbox get":       {"outbox get order-4711", "outbox get order-4711 order-4712 --output json"},
	"outbox list":      {"outbox list --status retry --object-type deals", "outbox list --newest --since 2h"},
	"outbox tail":      {"outbox tail --object-type deals"},
	"outbox give-up":   {"outbox give-up --object-type deals --older-than 6h --reason 'the scope will not come'"},
	"outbox doubt":     {"outbox doubt --since 2026-03-01T02:00:00Z --reason 'restored the backup of 02:00'"},
	"outbox retry-now": {"outbox retry-now order-4711", "outbox retry-now --object-type deals --status unknown"},
	"dead groups":      {"dead groups", "dead groups --since 24h"},
	"dead list":        {"dead list --group 3f2a9c1b04d7"},
	"dead show":        {"dead show order-4711"},
	"dead edit": {"dead edit order-4711",
		"dead edit --group 3f2a9c1b04d7 --rename properties.amuont=properties.amount"},
	"dead replay":    {"dead replay --group 3f2a9c1b04d7", "dead replay --all --rate 50 --detach --yes"},
	"dead discard":   {"dead discard --group 3f2a9c1b04d7 --reason 'test data'"},
	"dead restore":   {"dead restore order-4711", "dead restore --discard 12 --reason 'it was no test data'"},
	"dead export":    {"dead export --since 24h > dead.ndjson"},
	"replay list":    {"replay list"},
	"replay show":    {"replay show 7"},
	"replay pause":   {"replay pause 7"},
	"replay resume":  {"replay resume 7"},
	"replay cancel":  {"replay cancel 7"},
	"audit":          {"audit --event-id order-4711"},
	"pause":          {"pause deals --reason 'wrong pipeline'", "pause --all --reason 'the CRM is moved'"},
	"resume":         {"resume deals", "resume --all"},
	"migrate up":     {"migrate up --roles"},
	"migrate status": {"migrate status"},
	"version":        {"version --output json"},
	"completion":     {"completion bash"},
}

// addExamples ends each command's help with them.
func addExamples(k *kong.Kong) error {
	for _, n := range k.Model.Leaves(false) {
		lines := strings.Join(examples[commandOf(n)], "\n    crmintake ")
		n.Detail = strings.TrimSpace(cmp.Or(n.Detail, n.Help) + "\n\nFor example:\n\n    crmintake " + lines)
	}
	return nil
}

// commandOf is what one types for a command, without the program's name.
func commandOf(n *kong.Node) string {
	words := []string{n.Name}
	for n = n.Parent; n != nil && n.Type == kong.CommandNode; n = n.Parent {
		words = append([]string{n.Name}, words...)
	}
	return strings.Join(words, " ")
}
