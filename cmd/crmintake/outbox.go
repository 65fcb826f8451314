package main

type outboxCmd struct {
	Get      outboxGetCmd      `cmd:"" help:"Show one event: where it stands, its bytes, and each error that it met."`
	List     outboxListCmd     `cmd:"" help:"List events by status, object type and time."`
	Tail     outboxTailCmd     `cmd:"" help:"Show what becomes of events as it happens, until interrupted."`
	RetryNow outboxRetryNowCmd `cmd:"" help:"Have events that wait in retry or unknown tried at once."`
	GiveUp   outboxGiveUpCmd   `cmd:"" help:"Make dead letters of events that wait in retry or unknown, to edit, replay or discard them."`
	Doubt    outboxDoubtCmd    `cmd:"" help:"After a restored backup, or a failover that lost commits: have what waits asked about before it is sent."`
}
