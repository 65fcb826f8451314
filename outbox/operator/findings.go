package operator

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"crmintake/outbox"
)

// Each function here looks for one kind of thing. Which of them leads to others, Judge knows.

// database is for a server that does not do what is wanted, as it was met when it was asked, or as workers tell.
func database(s *Sight) []Finding {
	fault, why, since := s.Fault, s.FaultWhy, s.FaultSince
	known := s.Status != nil && len(s.Status.Locks) > 0 // whose lock it is: that says more than that there is one
	if fault == outbox.Locked && known {
		fault = outbox.Well
	}
	if s.Status != nil && s.Status.ReadOnly && fault == outbox.Well {
		fault = outbox.ReadOnly
	}
	var who []string
	if fault == outbox.Well {
		for _, w := range s.alive() {
			t := w.Told.Database
			if t == nil || outbox.Fault(t.Kind) == outbox.Locked && known {
				continue
			}
			if who = append(who, w.Name); since.IsZero() || t.Since.Before(since) {
				fault, why, since = outbox.Fault(t.Kind), t.Why, t.Since
			}
		}
	}
	if fault == outbox.Well {
		return nil
	}
	what := "Postgres " + fault.What()
	if n := len(s.alive()); 0 < len(who) && len(who) < n {
		what += fmt.Sprintf(", as %s of %d workers tell", listed(who), n)
	}
	return []Finding{{State: Trouble, Kind: "database", What: what, Why: why, Do: fault.Do(), Since: since,
		Person: true, Stops: true}}
}

func locks(s *Sight) (list []Finding) {
	if s.Status == nil {
		return nil
	}
	for _, l := range s.Status.Locks {
		list = append(list, Finding{State: Trouble, Kind: "lock",
			What: fmt.Sprintf("session %d of the database holds a lock that %s for", l.PID, waiting(l.Waiting)),
			Why: strings.TrimSuffix(fmt.Sprintf("it is of %s, %s", cmp.Or(l.User, "an unknown user"), l.Program),
				", "), Since: l.Since,
			Do:     fmt.Sprintf("end its transaction, or type SELECT pg_terminate_backend(%d) in psql", l.PID),
			Person: true, Stops: true})
	}
	if list == nil && s.Status.Left != "" {
		list = append(list, Finding{State: Trouble, Kind: "lock",
			What: "somebody holds a lock on tables of the outbox, and some figures are left out",
			Do:   outbox.Locked.Do(), Person: true, Stops: true})
	}
	return list
}

func waiting(n int) string {
	if n == 1 {
		return "one other waits"
	}
	return fmt.Sprintf("%d others wait", n)
}

func stream(s *Sight) (list []Finding) {
	if s.Stream == nil {
		if s.StreamWhy != "" {
			list = append(list, Finding{State: Trouble, Kind: "stream", What: "NATS can't be asked for the stream",
				Why: s.StreamWhy, Do: s.StreamDo,
				Person: true, Stops: true})
		}
		return list
	}
	for _, c := range s.Stream.Paused {
		f := Finding{State: Held, Kind: "consumer", What: "somebody has paused the consumer in NATS",
			Do:     "type 'nats consumer resume' with the names that 'crmintake status' tells",
			Person: true, Stops: true}
		if c.Name != "" {
			f.What = fmt.Sprintf("somebody has paused the consumer %s of stream %s in NATS", c.Name, s.Stream.Name)
			f.Do = fmt.Sprintf("type 'nats consumer resume %s %s'", s.Stream.Name, c.Name)
		}
		f.What += fmt.Sprintf(" for %s more", Short(c.Until.Sub(s.At)))
		list = append(list, f)
	}
	if n := s.Stream.Stranded; n > 0 {
		list = append(list, Finding{State: Trouble, Kind: "stranded", What: count(int64(n),
			"event") + " of the stream will be delivered to nobody",
			Do: cmp.Or(s.Stream.StrandedDo, "type 'crmintake check', which says why, and what to type then"), Person: true})
	}
	for _, w := range s.alive() {
		if t := w.Told.Stream; t != nil {
			list = append(list, Finding{State: Trouble, Kind: "stream", What: "the stream delivers nothing to " + w.Name,
				Why: t.Why, Since: t.Since,
				Do: "see that the worker's machine reaches NATS, and type 'crmintake check' there", Person: true})
			break
		}
	}
	return list
}

// accountPaused is for what holds all calls.
func accountPaused(s *Sight) (list []Finding) {
	if s.Status == nil {
		return nil
	}
	for _, p := range s.Status.Pauses {
		if p.ObjectType == outbox.Account {
			list = append(list, paused("all calls are paused", "--all", []outbox.Pause{p}))
		}
	}
	if q := s.Status.Quota; q != nil && q.BlockedUntil.After(s.At) {
		list = append(list, Finding{State: Held, Kind: "quota", Why: q.BlockedWhy,
			What: "the CRM wants no call for another " + Short(q.BlockedUntil.Sub(s.At)),
			Do:   "wait; or, if it is over for all you know, type 'crmintake resume --all'", Stops: true})
	}
	return list
}

// typesPaused is for object types, those together that are paused alike.
func typesPaused(s *Sight) (list []Finding) {
	if s.Status == nil {
		return nil
	}
	alike := map[string][]outbox.Pause{}
	var order []string
	for _, p := range s.Status.Pauses {
		if p.ObjectType != outbox.Account {
			key := string(p.Cause) + "\x00" + p.Reason
			if alike[key] == nil {
				order = append(order, key)
			}
			alike[key] = append(alike[key], p)
		}
	}
	for _, key := range order {
		var names []string
		for _, p := range alike[key] {
			names = append(names, p.ObjectType)
		}
		is := " is"
		if len(names) > 1 {
			is = " are"
		}
		list = append(list, paused(listed(names)+is+" paused", names[0], alike[key]))
	}
	return list
}

// paused is for pauses of one cause.
func paused(what, argument string, alike []outbox.Pause) Finding {
	p := alike[0]
	f := Finding{State: Held, Kind: "pause", Why: p.Reason, Since: p.Since, Until: p.TrialAt, Person: true,
		Stops: p.ObjectType == outbox.Account}
	resume := fmt.Sprintf("type 'crmintake resume %s'", argument)
	switch p.Cause {
	case outbox.ByOperator:
		what += " by a person"
		if p.By != "" {
			f.Why = p.By + ": " + p.Reason
		}
		f.Do = resume + " when it may go on: nothing else ends it"
		f.Person = f.Stops // who did it knows
	case outbox.ByCredential:
		what += ": the CRM refuses the credential, or there is none"
		f.Do = "write a valid token into --hubspot-token-file's file, which is read at once, " +
			"or set CRMINTAKE_HUBSPOT_TOKEN and start the workers anew; " +
			"it goes on by itself then"
	case outbox.ByBreaker:
		what += " by the breaker: too many events are rejected for one reason"
		f.Do = fmt.Sprintf("type 'crmintake dead groups --object-type %s', mend the cause, then %s", argument, resume)
	default:
		what += ": the CRM refuses such calls"
		f.Do = "mend what it says (a scope of the credential, the object type in the subject, the address), then " +
			resume
		if p.ObjectType == outbox.Account {
			f.Do = "wait until it is tried; or, if it is over for all you know, " + resume
		}
	}
	f.What = what
	return f
}

// slow is how long a call may be under way until it is told of.
const slow = 5 * time.Second

// crm is for a CRM that is not well, as the workers' last calls met it, or one that lets calls hang.
func crm(s *Sight) []Finding {
	var worst *outbox.Trouble
	var who []string
	done := time.Time{}
	next := time.Time{}
	for _, w := range s.alive() {
		if w.Told.Done.After(done) {
			done = w.Told.Done
		}
		t := w.Told.CRM
		if t == nil {
			continue
		}
		who = append(who, w.Name)
		if worst == nil || t.Since.Before(worst.Since) {
			worst = t
		}
		if !t.Until.IsZero() && (next.IsZero() || t.Until.Before(next)) {
			next = t.Until
		}
	}
	const goesOn = "nothing has to be typed: it goes on by itself when the CRM is well. "
	if worst != nil {
		f := Finding{State: Trouble, Kind: "crm", Why: worst.Why, Since: worst.Since, Until: next,
			Stops: len(who) == len(s.alive())}
		f.What = map[string]string{
			outbox.Unreachable: "the CRM can't be reached",
			outbox.Silent:      "the CRM takes calls and does not answer them",
			outbox.Throttling:  "the CRM wants fewer calls",
		}[worst.Kind]
		f.What = cmp.Or(f.What, "the CRM answers with faults of its own")
		f.Do = goesOn + "Look at the CRM's status page"
		if worst.Kind == outbox.Unreachable {
			f.Do = "check --hubspot-url, the network and its proxies: type 'crmintake check'; " +
				"it goes on by itself when the CRM is reached"
		}
		if !f.Stops {
			f.What += fmt.Sprintf(", as %s of %d workers tell", listed(who), len(s.alive()))
		}
		return []Finding{f}
	}
	if s.Status == nil || len(s.alive()) == 0 || s.Status.Calls.Oldest.IsZero() ||
		s.At.Sub(s.Status.Calls.Oldest) < slow || len(s.Status.Lost) > 0 {
		return nil
	}
	f := Finding{State: Moving, Kind: "crm", Since: s.Status.Calls.Oldest,
		What: fmt.Sprintf("the CRM has not answered the oldest of %s",
			count(int64(s.Status.Calls.Create+s.Status.Calls.Read), "call")),
		Do: goesOn + "A call ends after --call-timeout, and what it may have created is asked about"}
	if s.At.Sub(done) >= slow {
		f.State, f.Stops = Trouble, true
	}
	return []Finding{f}
}

// fleet is for workers that are not there.
func fleet(s *Sight) (list []Finding) {
	if s.Status == nil {
		return nil
	}
	if len(s.alive()) == 0 {
		f := Finding{State: Moving, Kind: "workers", What: "no worker is there",
			Do: "start one: type 'crmintake run'", Person: true, Stops: true}
		if n := s.work(); n > 0 {
			f.State, f.What = Trouble, fmt.Sprintf("no worker is there, and %s", wait(n))
		}
		for _, w := range s.Status.Workers { // the last that was
			if w.SeenAt.After(f.Since) {
				f.Since = w.SeenAt
			}
		}
		list = append(list, f)
	}
	for _, l := range s.Status.Lost {
		text := "what became of them is found out now"
		if l.Lease.After(s.At) {
			text = fmt.Sprintf("what became of them is found out in %s", Short(l.Lease.Sub(s.At)))
		}
		f := Finding{State: Moving, Kind: "worker",
			What: fmt.Sprintf("worker %s was killed or cut off in %s with %s; %s", l.Worker,
				count(int64(l.Calls), "call"), count(l.Events, "event"), text),
			Do: "nothing has to be typed, as long as a worker is there: nothing is lost or created twice"}
		list = append(list, f)
	}
	return list
}

func wait(n int64) string {
	if n == 1 {
		return "1 event waits"
	}
	return count(n, "event") + " wait"
}

// reading is for rows in doubt that can't be asked about.
func reading(s *Sight) (list []Finding) {
	seen := map[string]bool{}
	for _, w := range s.alive() {
		for _, objectType := range slices.Sorted(maps.Keys(w.Told.Reads)) {
			if t := w.Told.Reads[objectType]; !seen[objectType] {
				seen[objectType] = true
				list = append(list, Finding{State: Held, Kind: "reading",
					What: "the CRM can't be asked about events of " + objectType + " whose outcome is unknown",
					Why:  t.Why, Since: t.Since, Person: true,
					Do: fmt.Sprintf("give the credential the scope to read %s; or type "+
						"'crmintake outbox give-up --object-type %[1]s --status unknown --reason TEXT'", objectType)})
			}
		}
	}
	return list
}

// settings is for workers that were started with different ones.
func settings(s *Sight) (list []Finding) {
	with := map[string]map[string][]string{} // workers, by setting and value
	for _, w := range s.alive() {
		for name, value := range w.Told.Settings {
			if with[name] == nil {
				with[name] = map[string][]string{}
			}
			with[name][value] = append(with[name][value], w.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(with)) {
		if len(with[name]) < 2 {
			continue
		}
		var values []string
		for _, value := range slices.Sorted(maps.Keys(with[name])) {
			values = append(values, fmt.Sprintf("%s (%s)", cmp.Or(value, "none"), listed(with[name][value])))
		}
		list = append(list, Finding{State: Trouble, Kind: "settings",
			What: fmt.Sprintf("workers differ in --%s: %s", name, strings.Join(values, ", ")),
			Do: fmt.Sprintf("start all workers with the same --%s; while they are being replaced this is nothing",
				name), Person: true})
	}
	return list
}

func replays(s *Sight) (list []Finding) {
	if s.Status == nil {
		return nil
	}
	for _, r := range s.Status.Replays {
		f := Finding{State: Moving, Kind: "replay",
			What: fmt.Sprintf("replay %d is %s: %s to go of %s", r.ID, r.State, count(r.Left, "event"), count(r.Events,
				"event")),
			Do: fmt.Sprintf("type 'crmintake replay show %d'", r.ID)}
		if r.State == string(ReplayPaused) {
			f.Do = fmt.Sprintf("type 'crmintake replay resume %d', or cancel", r.ID)
		}
		if r.Failures > 0 {
			f.State, f.Person, f.Why = Trouble, true, r.Failure
			f.What += fmt.Sprintf("; %s in a row failed", count(int64(r.Failures), "step"))
		}
		list = append(list, f)
	}
	return list
}

// stuckFor is for how long nothing comes to its end until that is told, where nothing else explains it.
const stuckFor = time.Minute

// stuck is for what nothing above explains.
func stuck(s *Sight) []Finding {
	if s.Status == nil || s.Stream == nil || s.Stream.Pending == 0 || len(s.alive()) == 0 ||
		len(s.Status.Pauses) > 0 || len(s.Stream.Paused) > 0 {
		return nil
	}
	var since time.Time
	for _, w := range s.alive() {
		for _, at := range []time.Time{w.StartedAt, w.Told.Done} {
			if at.After(since) {
				since = at
			}
		}
		if w.Told.CRM != nil || w.Told.Database != nil || w.Told.Stream != nil {
			return nil
		}
	}
	if q := s.Status.Quota; s.At.Sub(since) < stuckFor || q != nil && q.BlockedUntil.After(s.At) ||
		len(s.Status.Locks) > 0 {
		return nil
	}
	return []Finding{{State: Trouble, Kind: "stuck", Since: since,
		What: wait(int64(s.Stream.Pending)) + " in the stream, and nothing comes to its end",
		Do:   "type 'crmintake check', and read a worker's log", Person: true, Stops: true}}
}

// dead is for what needs a person, and keeps nobody from anything.
func dead(s *Sight) []Finding {
	if s.Status == nil {
		return nil
	}
	var n int64
	for _, e := range s.Status.Events {
		if e.Status == outbox.Dead {
			n += e.Events
		}
	}
	if n == 0 {
		return nil
	}
	f := Finding{State: Moving, Kind: "dead", What: count(n, "dead event") + " need a person",
		Do: "type 'crmintake dead groups'", Person: true}
	if n == 1 {
		f.What = "1 dead event needs a person"
	}
	if len(s.Status.Groups) > 0 {
		g := s.Status.Groups[0]
		kind := cmp.Or(g.ObjectType, "no object type") + ", " + string(g.Reason)
		if g.Property != "" {
			kind += ", property " + g.Property
		}
		if g.Events < n {
			f.What += fmt.Sprintf(", %d of them alike", g.Events)
		}
		f.What += ": " + kind
		f.Why, f.Since = g.Error, g.FirstSeen
		f.Do = g.Advice + " Type 'crmintake dead groups'"
	}
	return []Finding{f}
}
