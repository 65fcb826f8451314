package main

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"unicode"

	"crmintake/migrations"
	"crmintake/outbox"
)

// openStore connects to the outbox, whose schema must be up to date.
func openStore(ctx context.Context, f databaseFlags, maxConns int) (*outbox.Store, error) {
	if err := outbox.ValidateURL(f.DatabaseURL); err != nil {
		return nil, usageError{err}
	}
	if err := migrations.Check(ctx, f.DatabaseURL); err != nil {
		return nil, err
	}
	return outbox.Open(ctx, f.DatabaseURL, maxConns)
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printable replaces what would disturb a terminal or a table: events and answers can hold any character.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r):
			return '\uFFFD'
		}
		return r
	}, s)
}

// quoted writes an argument so that a shell takes it for one word.
func quoted(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-.:/@%+,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// shorten cuts s to so many characters.
func shorten(s string, most int) string {
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most-1]) + "…"
}
