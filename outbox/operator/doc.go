// Package operator is what a person does to events that are dead: find, understand, edit, discard and take them out.
package operator
