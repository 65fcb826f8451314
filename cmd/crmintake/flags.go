package main

// consumerFlags name the durable consumer that all workers share.
type consumerFlags struct {
	Consumer string `help:"Durable consumer, shared by all workers." default:"crmintake" placeholder:"NAME"`
}
