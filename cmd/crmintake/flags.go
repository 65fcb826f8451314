package main

// natsFlags say where the events are.
type natsFlags struct {
	NATSURL string `name:"nats-url" help:"NATS server; several, of one cluster, separated by commas." default:"nats://127.0.0.1:4222" placeholder:"URL"`
	Stream  string `help:"JetStream stream that holds the events." default:"CRM_EVENTS" placeholder:"NAME"`
	Subject string `help:"Subject of the events; the object type stands in place of the wildcard." default:"crm.create.>" placeholder:"SUBJECT"`
}

// consumerFlags name the durable consumer that all workers share.
type consumerFlags struct {
	Consumer string `help:"Durable consumer, shared by all workers." default:"crmintake" placeholder:"NAME"`
}

// databaseFlags say where the outbox is.
type databaseFlags struct {
	DatabaseURL string `name:"database-url" help:"Postgres database of the outbox, as postgres://user:password@host:port/name. Better given by its environment variable: a command line is readable for all users." required:"" placeholder:"URL"`
}
