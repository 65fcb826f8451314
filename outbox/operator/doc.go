// Package operator is what persons do: with dead letters, with events that wait too long, and with the fleet. Commands
// stand on it, and a web page may.
//
// The contract:
//
//   - A Filter chooses dead events; it is one condition, made in one place. What changes something refuses a filter
//     that would take everything, unless that is what it says.
//   - What changes many events takes a Plan, which says beforehand how many events of which groups it is about. It is
//     done to those that are still as the plan's snapshot saw them. What died later, or was edited, replayed or
//     discarded meanwhile, is left alone, and counted as skipped.
//   - Each change is one transaction together with its line in the audit and the list of the events that it was done
//     to: all of it happens or nothing does. Doing it again finds nothing left to do, and says so.
//   - An edit is a revision on top of the one that was read, and refused if that is not the last one any more. The
//     original and all revisions stay. The row's content hash stays that of the original, so that its message is still
//     known when it comes again.
//   - A discarded row stays, with its payload; the audit says who discarded it, and why. Restore takes it back: it is
//     dead again.
//   - Rows are locked in the order of event ids, so that persons who work at once wait for each other and don't
//     deadlock. Workers don't touch dead rows, so nobody waits for them.
//   - GiveUp ends what waits in `retry` or `unknown` and is in no call, past what workers or persons have locked. They
//     are dead letters as others are, with the person's reason; of none whose record may exist it says that there is
//     none.
//   - RetryNow makes such events due at once, but for those in doubt whose settle time is not over: nothing is asked
//     about too early.
//   - Doubt is for an outbox that lost commits: what it would send is asked about first, as if its last call had not
//     been answered. Beside workers that run it leaves alone what is in a call, which was sent without asking before
//     it, and says how much that is.
//   - A replay of many is a job, whose events are listed with it, each as it was seen. Workers take them off the list
//     step by step (see Feeder), no faster than the fleet sends them. A step is a transaction, so a job that is paused
//     or cancelled, or whose worker is killed, has sent again just what it says, and what dies again is not taken up
//     again.
//   - Replayed is not created: what became of a job's events is in their rows, and Replays.Get counts it.
//   - An event that may have a record already is asked about first where that tells (see Records), or stays dead unless
//     a duplicate is allowed.
//   - Status is one moment, and costs the same however many rows are created: what it can't count through an index that
//     holds little else is an estimate, and says so.
//   - Judge is a function of what was seen, for all who say how things stand; its words are here alone. Only
//     Finding.Why repeats what somebody else said; all else may be shown to anybody.
//   - A person's pause is ended by Resume alone.
//   - Times are the database's.
//
// The picture:
//
//	Filter ─► DeadLetters.Groups, List, Export     what is there
//	       ─► Plan ─► Discard, EditAll             what is done, and recorded in operator_action and
//	                                               operator_action_event
//	       ─► Replays.Plan ─► Now | Start ─► Feeder, in each worker ─► outbox.SendAgain
//	Discarded ─► DeadLetters.PlanRestore ─► Restore      dead again
//	event id ─► Show ─► DeadLetters.Edit           outbox_revision: 0 the original, 1, 2, …
//	Undecided ─► Waiting.PlanGiveUp ─► GiveUp      from `retry` and `unknown` to dead
//	          ─► Waiting.PlanRetryNow ─► RetryNow  due at once
//	Lost ─► Waiting.PlanDoubt ─► Doubt             from `retry` and `unknown` to `unknown`, to be asked about
//	Pauses ─► Pause, Resume                        the fleet's calls
//	Look, Status ─► Sight ─► Judge                 how things stand, and what to do
//
// All methods may be called by many goroutines and processes at once.
package operator
