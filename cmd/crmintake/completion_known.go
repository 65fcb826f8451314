package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"crmintake/cmd/crmintake/internal/flags"
	"crmintake/cmd/crmintake/internal/view"
	"crmintake/outbox/operator"
)

// proposal is what a word can become, and what that is.
type proposal struct{ word, help string }

// completionPatience is how long a shell waits for what the database knows.
const completionPatience = 2 * time.Second

// known are the groups and object types that the outbox has, where the value is one; nil if that can't be known.
func known(ctx context.Context, at flags.Database, v *kong.Value) (list []proposal) {
	group := v.Name == "group"
	if !group && v.Name != "object-type" && v.Name != "type" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completionPatience)
	defer cancel()
	store, err := openStore(ctx, at, 1)
	if err != nil {
		return nil
	}
	defer store.Close()
	o := operator.New(store, operator.Config{})
	if group {
		groups, _ := o.DeadLetters.Groups(ctx, operator.Filter{}, 100)
		for _, g := range groups.List {
			// Without the error's words, which can hold values.
			words := []string{view.Count(int(g.Events), "event"), g.ObjectType, string(g.Reason), g.Rule, g.Property}
			list = append(list, proposal{g.Fingerprint, view.OneLine(strings.Join(words, " "))})
		}
		return list
	}
	status, _ := o.Status(ctx)
	for _, t := range status.ObjectTypes() {
		list = append(list, proposal{t, ""})
	}
	return list
}

// databaseOf is where a line that is being typed says that the outbox is, or the environment.
func databaseOf(words []string, env flags.Environment) flags.Database {
	of := func(flag, variable string) string {
		for i, w := range words {
			if value, ok := strings.CutPrefix(w, flag+"="); ok {
				return value
			}
			if w == flag && i+1 < len(words) {
				return words[i+1]
			}
		}
		return env[flags.EnvPrefix+"_"+variable]
	}
	return flags.Database{
		DatabaseURL:          of("--database-url", "DATABASE_URL"),
		DatabasePasswordFile: of("--database-password-file", "DATABASE_PASSWORD_FILE"),
	}
}

// valuesOf are the words that a value can be: those of its list, else those that the outbox knows. What was typed of
// several, separated by commas, stays before them.
func valuesOf(ctx context.Context, at flags.Database, v *kong.Value, typed string) (list []proposal) {
	for one := range strings.SplitSeq(v.Enum, ",") {
		if one = strings.TrimSpace(one); one != "" {
			list = append(list, proposal{one, ""})
		}
	}
	if list != nil {
		return list
	}
	list = known(ctx, at, v)
	if at := strings.LastIndex(typed, ","); at >= 0 && v.IsSlice() {
		list = slices.Clone(list)
		for i := range list {
			list[i].word = typed[:at+1] + list[i].word
		}
	}
	return list
}
