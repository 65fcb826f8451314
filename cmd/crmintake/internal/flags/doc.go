// Package flags is what commands are told on the command line and by the environment: groups of flags that several
// commands have, with kong's tags, and types that read a flag's text.
//
//   - Environment and Variables: the environment gives what the command line leaves out.
//   - Database, NATS, HubSpot: where the servers are, and who asks them. Check returns what is wrong before anything is
//     touched, and repeats no value: it may be a secret.
//   - Calls, Outcome, Admin, Monitor, ConsumerName, Profiling: settings of a worker.
//   - Moment, Interval, Quota, Share, Keep, Zone, Breaker, IDProperties, UnknownRules: types of single flags.
//
// A UsageError is the fault of what was typed, and not of the world. The methods that a command calls are named Check
// and not Validate, which kong would call by itself.
package flags
