// Package view is how commands show things: tables, colours, bars, times and numbers for people, JSON for programs.
//
// What events, answers and persons bring can hold any character: a Table and Indented make it printable, and what is
// printed past them goes through Printable. Nothing is cut, and nothing has a colour, unless a person reads it: see
// Screen.
package view
