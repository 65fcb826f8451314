package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"crmintake/cmd/crmintake/internal/view"
)

// completeWord is the hidden first argument by which a shell's script asks what a line can go on with. The words of the
// line follow, without the program's, and with the one that is being typed as the last.
const completeWord = "__complete"

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

func (completionCmd) Help() string {
	return "Groups and object types are completed, too, where CRMINTAKE_DATABASE_URL says which database knows them. " +
		"For bash, add to ~/.bashrc: source <(crmintake completion bash). For zsh, to ~/.zshrc, after compinit: " +
		"source <(crmintake " +
		"completion zsh). For fish: crmintake completion fish > ~/.config/fish/completions/crmintake.fish."
}

// Where crmintake has nothing to propose, the shell proposes files.
var completionScripts = map[string]string{
	"bash": `_crmintake() {
  local IFS=$'\n'
  COMPREPLY=($(crmintake __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f 1))
  # bash takes --flag=value for three words, and replaces the last of them
  case "$COMP_WORDBREAKS${COMP_WORDS[COMP_CWORD]}${COMP_WORDS[COMP_CWORD-1]}" in
    *=*=*) COMPREPLY=("${COMPREPLY[@]#*=}") ;;
  esac
}
complete -o bashdefault -o default -F _crmintake crmintake
`,
	"zsh": `#compdef crmintake
_crmintake() {
  local -a lines proposals
  local line
  lines=("${(@f)$(crmintake __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  for line in $lines; do
    proposals+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
  done
  if (( $#proposals )); then _describe crmintake proposals; else _files; fi
}
compdef _crmintake crmintake
`,
	"fish": `complete -c crmintake -a '(set -l words (commandline -opc) (commandline -ct); crmintake __complete $words[2..-1] 2>/dev/null)'
`,
}

func (c *completionCmd) Run(p *program) error {
	_, err := io.WriteString(p.out, completionScripts[c.Shell])
	return err
}

// complete prints what the last word can become, a line each: the word, a tab, and what it does. It goes by kong's own
// model, and for groups and object types by the outbox. (The libraries that do this for kong take over the process, its
// output and its exit, and stand on one that is no longer kept.)
func complete(ctx context.Context, s system, node *kong.Node, words []string) {
	words = joinEquals(words)
	at := databaseOf(words, s.env)
	last := ""
	if n := len(words); n > 0 {
		words, last = words[:n-1], words[n-1]
	}
	var open *kong.Flag // waits for its value
	for _, word := range words {
		switch {
		case open != nil:
			open = nil
		case strings.HasPrefix(word, "-"):
			if f := flagOf(node, word); f != nil && !f.IsBool() {
				open = f
			}
		default:
			for _, child := range node.Children {
				if child.Name == word {
					node = child
				}
			}
		}
	}
	propose := func(word, help string) {
		if strings.HasPrefix(word, last) {
			fmt.Fprintf(s.out, "%s\t%s\n", word, firstSentence(help))
		}
	}
	name, typed, equals := strings.Cut(last, "=")
	switch {
	case open != nil:
		for _, one := range valuesOf(ctx, at, open.Value, last) {
			propose(one.word, one.help)
		}
	case equals && strings.HasPrefix(name, "--"):
		if f := flagOf(node, name); f != nil {
			for _, one := range valuesOf(ctx, at, f.Value, typed) {
				propose(name+"="+one.word, one.help)
			}
		}
	case strings.HasPrefix(last, "-"):
		for _, group := range node.AllFlags(true) {
			for _, f := range group {
				propose("--"+f.Name, f.Help)
			}
		}
	default:
		for _, child := range node.Children {
			if !child.Hidden {
				propose(child.Name, child.Help)
			}
		}
		for _, p := range node.Positional {
			for _, one := range valuesOf(ctx, at, p, last) {
				propose(one.word, one.help)
			}
		}
	}
}

// joinEquals undoes what bash does to --flag=value, which it takes for three words.
func joinEquals(words []string) (joined []string) {
	for _, word := range words {
		if n := len(joined); n > 0 && (word == "=" || strings.HasSuffix(joined[n-1], "=") &&
			strings.HasPrefix(joined[n-1], "--")) {
			joined[n-1] += word
			continue
		}
		joined = append(joined, word)
	}
	return joined
}

func flagOf(node *kong.Node, word string) *kong.Flag {
	for _, group := range node.AllFlags(false) {
		for _, f := range group {
			if "--"+f.Name == word {
				return f
			}
		}
	}
	return nil
}

func firstSentence(s string) string {
	s, _, _ = strings.Cut(s, ". ")
	return strings.TrimSuffix(view.Printable(s), ".")
}
