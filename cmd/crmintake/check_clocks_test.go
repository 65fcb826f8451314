package main

import (
	"strings"
	"testing"
	"time"

	"crmintake/deploy/local/pgcluster"
	"crmintake/worker/hubspot/hubspottest"
)

// What check says of three clocks: how far each of two is apart from the other, if that is far.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	at := func(ahead time.Duration) *time.Duration { return &ahead }
	for name, c := range map[string]struct {
		clocks clocks
		level  level
		wants  []string
	}{
		"alike": {clocks{at(29 * time.Second), at(0)}, fine, []string{"agree within 30s"}},
		"the database's": {clocks{at(2 * time.Minute), at(0)}, warning,
			[]string{"database's is 2m0s ahead of this", "CRM's is 2m0s behind the database's"}},
		"the CRM's": {clocks{at(0), at(-time.Hour)}, warning,
			[]string{"CRM's is 1h0m0s behind this", "CRM's is 1h0m0s behind the database's"}},
		"this machine's": {clocks{at(time.Minute), at(time.Minute)}, warning,
			[]string{"database's is 1m0s ahead of this", "CRM's is 1m0s ahead of this"}},
		"only from each other": {clocks{at(-20 * time.Second), at(20 * time.Second)}, warning,
			[]string{"CRM's is 40s ahead of the database's"}},
		"one that is not known":  {clocks{nil, at(time.Minute)}, warning, []string{"CRM's is 1m0s ahead of this"}},
		"the other, which is so": {clocks{at(0), nil}, fine, []string{"CRM's is not known"}},
	} {
		t.Run(name, func(t *testing.T) {
			var f findings
			c.clocks.judge(&f)
			if len(f) != 1 || f[0].Level != c.level {
				t.Fatalf("%+v, want one %s", f, c.level)
			}
			text, _, _ := strings.Cut(f[0].Text, ": ")
			if n := strings.Count(text, " is "); c.level == warning && (n != len(c.wants) ||
				!strings.Contains(f[0].Text, "NTP")) {
				t.Errorf("%d clocks are apart: %s", n, f[0].Text)
			}
			for _, want := range c.wants {
				if !strings.Contains(f[0].Text, want) {
					t.Errorf("%s: want %q", f[0].Text, want)
				}
			}
		})
	}
	var f findings
	clocks{}.judge(&f)
	if len(f) != 0 {
		t.Errorf("of nothing it knows %+v", f)
	}
}

// The servers' clocks as they are told by the servers.
func TestCheckClocks(t *testing.T) {
	t.Parallel()
	newFixture(t)
	now := func() time.Time { return time.Now().Add(-150 * time.Second) }
	late, err := hubspottest.Start(hubspottest.Config{Token: secret, Now: now,
		ObjectTypes: map[string]hubspottest.ObjectType{"contracts": {Unique: []string{"event_id"}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(late.Close)
	crmintake(t, "", "check", "--hubspot-url", late.URL).want(t, 0, "warning  clocks",
		"CRM's is 2m", "behind this machine's", "behind the database's")

	library, err := pgcluster.Faketime()
	if err != nil {
		t.Skip(err)
	}
	cluster, err := pgcluster.Start(t.Context(), pgcluster.Config{Faketime: library, Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	url := cluster.URL("postgres")
	crmintake(t, "", "migrate", "up", "--database-url", url).want(t, 0)
	crmintake(t, "", "check", "--database-url", url).want(t, 0, "agree within 30s")
	if err := cluster.SetClock(time.Hour); err != nil {
		t.Fatal(err)
	}
	crmintake(t, "", "check", "--database-url", url).want(t, 0, "warning  clocks",
		"database's is 1h0m0s ahead of this machine's", "CRM's is 1h0m", "behind the database's")
}
