package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// An event that the outbox has not yet is found in the stream, with what is before it; NATS is asked only then.
func TestGetLooksIntoTheStream(t *testing.T) {
	t.Parallel()
	newFixture(t)
	publish(t, "made")
	crmintake(t, "", "run", "--drain").want(t, 0)
	publish(t, "a", "b", "c d")
	crmintake(t, "", "outbox", "get", "c d").want(t, 0, "c d", "contracts", "waiting in the stream, 2 before it",
		"CRM_EVENTS:4",
		time.Now().Format(" MST"))
	var one waitingView
	crmintake(t, "", "outbox", "get", "b", "--output", "json").json(t, &one)
	if one.EventID != "b" || one.Status != "in_stream" || one.Before != 1 || one.StreamSeq != 3 ||
		one.ObjectType != "contracts" ||
		time.Since(one.PublishedAt).Abs() > time.Hour {
		t.Errorf("%+v", one)
	}
	several := crmintake(t, "", "outbox", "get", "a", "nobody", "made", "b", "--output", "json")
	several.want(t, 2, `no event with the id "nobody", nor has the stream CRM_EVENTS`)
	var list []struct {
		EventID string `json:"event_id"`
		Status  string `json:"status"`
	}
	if err := json.Unmarshal([]byte(several.out), &list); err != nil || len(list) != 3 || list[0].EventID != "made" ||
		list[0].Status != "created" || list[1].Status != "in_stream" || list[1].EventID != "a" {
		t.Errorf("%+v, %v", list, err)
	}
	crmintake(t, "", "outbox", "get", "made", "a").want(t, 0, "record", "\n\nevent", "0 before it")

	setenv(t, "CRMINTAKE_NATS_URL", "nats://u:"+secret+"@127.0.0.1:1")
	crmintake(t, "", "outbox", "get", "made").want(t, 0, "created")
	crmintake(t, "", "outbox", "get", "made", "a").want(t, 1, "created",
		`no event with the id "a", and in the stream it could not`)
}

// By time, what came last is first; a page goes on after the last event of the one before.
func TestListNewest(t *testing.T) {
	t.Parallel()
	newFixture(t)
	for _, id := range []string{"b", "c", "a"} {
		publish(t, id)
		crmintake(t, "", "run", "--drain").want(t, 0)
	}
	ids := func(args ...string) (list string) {
		t.Helper()
		var page pageView
		crmintake(t, "", append([]string{"outbox", "list", "--output", "json"}, args...)...).json(t, &page)
		for _, e := range page.Events {
			list += e.EventID
		}
		return list + " " + page.Next
	}
	for args, want := range map[string]string{
		"":                            "abc ",
		"--newest":                    "acb ",
		"--newest --limit 2":          "ac c",
		"--newest --after c":          "b ",
		"--since 1h":                  "acb ",
		"--until 1h":                  " ",
		"--newest --status created":   "acb ",
		"--newest --status dead":      " ",
		"--newest --object-type some": " ",
	} {
		if got := ids(strings.Fields(args)...); got != want {
			t.Errorf("%q: %q, want %q", args, got, want)
		}
	}
	crmintake(t, "", "outbox", "list", "--newest").want(t, 0, "CAME")
	crmintake(t, "", "outbox", "list", "--newest", "--after", "nobody").want(t, 2, `no event with the id "nobody"`)
	crmintake(t, "", "outbox", "list", "--since", "2999-01-01").want(t, 2, "is in the future")
}
