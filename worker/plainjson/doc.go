// Package plainjson takes the plain values of a JSON text, one after the other, at half the cost of a decoder that
// takes everything: for short cuts, which leave to such a decoder what is not plain, and all that is wrong.
//
// What it takes is JSON as RFC 8259 has it, and never more. What it declines may be JSON all the same: a \u escape, an
// escape in a name, what is nested deeply. It compares no names, and does not look at UTF-8: a caller checks the whole
// text, once.
//
// Whoever takes a short cut shows by a test that it comes to the same as the long way, as
// worker/event and worker/hubspot do.
package plainjson
