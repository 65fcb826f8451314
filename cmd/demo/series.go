package main

import (
	"strconv"
	"strings"
)

// series is the events of one object type, numbered from 0 on.
type series struct {
	objectType string
	id         func(n int) string // of the n-th event
	counted    string             // a property that the CRM counts, and its value that the n-th event's record alone has
	value      func(n int) string
	published  int // how many there are
}

// ordinary are the events that all commands publish.
func ordinary(published int) series {
	return series{objectType, eventID, counted, dealName, published}
}

// number is the n of an event id; false if none of the series has it.
func (s series) number(id string) (n int, ours bool) {
	n, err := strconv.Atoi(id[strings.LastIndexByte(id, '-')+1:])
	return n, err == nil && n < s.published && id == s.id(n)
}
