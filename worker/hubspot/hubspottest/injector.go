package hubspottest

import (
	"fmt"
	"sync"
)

// injector chooses the faults that calls meet: by script, else by chance.
type injector struct {
	mu                              sync.Mutex // guards all below
	chance, readChance              chance
	script, readScript, tokenScript script
}

func (i *injector) begin(cfg Config) error {
	if err := i.SetRates(cfg.Rates); err != nil {
		return err
	}
	return i.SetReadRates(cfg.ReadRates)
}

// Script appends faults to those that the next create calls meet, in order; None is a call without one. Only calls that
// are within the quota and correct in form meet a fault, and chance has no say while there is a script. Script panics
// if there is no such fault.
func (i *injector) Script(faults ...Fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.script.add(faults, false)
}

// ScriptReads does for read calls what Script does for creates, with the faults of AllReads.
func (i *injector) ScriptReads(faults ...Fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.readScript.add(faults, true)
}

// ScriptTokens does for requests of access tokens what Script does for creates, with those faults of AllReads that
// answer a status, or that break or delay an exchange, or its body. Of these, BreakAfter, SlowAnswer and those of the
// body come after a token was made.
func (i *injector) ScriptTokens(faults ...Fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.tokenScript.add(faults, true)
}

// SetRates changes how often each fault happens by chance to a create call; those not named don't happen any more.
func (i *injector) SetRates(rates map[Fault]float64) error {
	return i.setRates(&i.chance, rates, false)
}

// SetReadRates does the same for read calls.
func (i *injector) SetReadRates(rates map[Fault]float64) error {
	return i.setRates(&i.readChance, rates, true)
}

func (i *injector) setRates(to *chance, rates map[Fault]float64, read bool) error {
	odds, err := newChance(rates, read)
	if err != nil {
		return fmt.Errorf("hubspottest: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	*to = odds
	return nil
}

// next is the fault of a create, or of a read.
func (i *injector) next(read bool, dice *dice) effect {
	i.mu.Lock()
	defer i.mu.Unlock()
	script, chance := &i.script, i.chance
	if read {
		script, chance = &i.readScript, i.readChance
	}
	switch e, ok := script.next(); {
	case ok:
		return e
	case len(chance.effects) > 0:
		return chance.draw(dice.share())
	}
	return effect{fault: None}
}

// nextOfTokens is the fault of a request for an access token.
func (i *injector) nextOfTokens() effect {
	i.mu.Lock()
	defer i.mu.Unlock()
	if e, ok := i.tokenScript.next(); ok {
		return e
	}
	return effect{fault: None}
}

// script is the faults that the next calls meet, in order.
type script []effect

func (s *script) add(faults []Fault, read bool) {
	for _, f := range faults {
		e, err := find(f, read)
		if err != nil {
			panic("hubspottest: " + err.Error())
		}
		*s = append(*s, e)
	}
}

func (s *script) next() (e effect, ok bool) {
	if len(*s) == 0 {
		return effect{}, false
	}
	e = (*s)[0]
	*s = (*s)[1:]
	return e, true
}

// chance draws faults by their rates.
type chance struct {
	effects []effect
	upTo    []float64 // the sum of the rates of this effect and those before it
}

func newChance(rates map[Fault]float64, read bool) (chance, error) {
	for f := range rates {
		if _, err := find(f, read); err != nil || f == None {
			return chance{}, fmt.Errorf("rates: %q is not a fault that such a call can meet", f)
		}
	}
	var c chance
	sum := 0.0
	for _, e := range effects { // not by the map's order, which would not be repeatable
		rate, ok := rates[e.fault]
		if !ok {
			continue
		}
		if !(rate >= 0 && rate <= 1) {
			return chance{}, fmt.Errorf("rates: %q has the rate %v, want 0 to 1", e.fault, rate)
		}
		sum += rate
		c.effects = append(c.effects, e)
		c.upTo = append(c.upTo, sum)
	}
	if sum > 1+1e-9 {
		return chance{}, fmt.Errorf("rates: they add up to %v, more than 1", sum)
	}
	return c, nil
}

// draw takes a random number from 0 to below 1.
func (c chance) draw(x float64) effect {
	for i, upTo := range c.upTo {
		if x < upTo {
			return c.effects[i]
		}
	}
	return effect{fault: None}
}
