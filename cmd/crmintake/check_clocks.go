package main

import (
	"fmt"
	"strings"
	"time"
)

// clocks is by how much those of the servers are ahead of this machine's; nil where that is not known.
type clocks struct{ database, crm *time.Duration }

// clockTolerance is how far two clocks may be apart before it is worth a warning. Less than a minute, which records'
// times are compared to.
const clockTolerance = 30 * time.Second

// answered takes the time that an answer of the CRM was dated with. It is cut off to the second.
func (c *clocks) answered(date, received time.Time) {
	if !date.IsZero() {
		ahead := date.Add(time.Second / 2).Sub(received)
		c.crm = &ahead
	}
}

// judge warns of clocks that are apart.
func (c clocks) judge(f *findings) {
	const subject = "clocks"
	var apart []string
	var follows []string
	far := func(ahead time.Duration) bool { return ahead.Abs() > clockTolerance }
	tell := func(whose, than string, ahead time.Duration) {
		word := "ahead of"
		if ahead < 0 {
			word = "behind"
		}
		apart = append(apart, fmt.Sprintf("the %s is %v %s %s", whose, ahead.Abs().Round(time.Second), word, than))
	}
	database, crm := c.database != nil && far(*c.database), c.crm != nil && far(*c.crm)
	if database {
		tell("database's", "this machine's", *c.database)
	}
	if crm {
		tell("CRM's", "this machine's", *c.crm)
	}
	if database || crm {
		follows = append(follows, "times in the workers' logs don't fit those of the servers")
	}
	if c.database != nil && c.crm != nil && far(*c.crm-*c.database) {
		tell("CRM's", "the database's", *c.crm-*c.database)
		follows = append(follows,
			"a record's own time doesn't fit its row's",
			"the day's quota is counted anew at another moment than the CRM's midnight")
	}
	switch {
	case len(apart) > 0:
		f.add(warning, subject, "%s: %s; have NTP set them (timedatectl and chronyc tracking tell whether it does), "+
			"and the database's slowly while workers run, since leases and waits go by it",
			strings.Join(apart, ", "), strings.Join(follows, ", and "))
	case c.database != nil && c.crm != nil:
		f.add(fine, subject, "this machine's, the database's and the CRM's agree within %v", clockTolerance)
	case c.database != nil:
		f.add(fine, subject, "this machine's and the database's agree within %v; the CRM's is not known", clockTolerance)
	case c.crm != nil:
		f.add(fine, subject, "this machine's and the CRM's agree within %v; the database's is not known", clockTolerance)
	}
}
