package flags

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"crmintake/cmd/crmintake/internal/view"
)

// The environment gives what the command line leaves out. What only a typed word is to make bigger, or to aim at other
// events, has no variable (env:"-"), and a name that is no variable's is an error: a setting that is misspelled would
// else be none.

// testVariable is the tests' own; the program has no use for it.
const testVariable = EnvPrefix + "_TEST_DATABASE_URL"

// serviceVariable are those that Kubernetes makes of services whose names begin as ours do.
var serviceVariable = regexp.MustCompile(
	`_(SERVICE_(HOST|PORT(_.*)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// environment has the values of variables by their names. A variable that is set to nothing counts as one that is not
// set: so compose files and units write it.
type Environment map[string]string

// environmentOf reads what os.Environ returns.
func EnvironmentOf(environ []string) Environment {
	e := Environment{}
	for _, one := range environ {
		name, value, _ := strings.Cut(one, "=")
		e[name] = value
	}
	return e
}

// list is as exec.Cmd wants it.
func (e Environment) List() []string {
	var list []string
	for name, value := range e {
		list = append(list, name+"="+value)
	}
	return list
}

// variables are those that flags have. As a kong.Resolver it gives a flag its variable's value, for kong itself would
// read the environment of the process.
type Variables struct {
	Given   Environment
	names   []string                 // of all flags of all commands
	of      map[*kong.Value][]string // a flag's
	without map[string]string        // the flags that have none, by what it would be
}

// take takes the variables from kong.
func (e *Variables) Take(k *kong.Kong) error {
	e.of, e.without = map[*kong.Value][]string{}, map[string]string{}
	for _, f := range Of(k.Model.Node) {
		if len(f.Envs) == 0 {
			e.without[EnvPrefix+"_"+strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))] = f.Name
		}
		e.names = append(e.names, f.Envs...)
		e.of[f.Value] = f.Envs
		f.Envs, f.Tag.Envs = nil, nil
	}
	return nil
}

// Validate implements kong.Resolver.
func (e *Variables) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver: the value, or nil without one.
func (e *Variables) Resolve(_ *kong.Context, _ *kong.Path, f *kong.Flag) (any, error) {
	for _, name := range e.of[f.Value] {
		value := e.Given[name]
		if value == "" {
			continue
		}
		// Kong decodes it again, but its error would not name the variable.
		trial := kong.ScanFromTokens(kong.Token{Type: kong.FlagValueToken, Value: value})
		err := f.Mapper.Decode(&kong.DecodeContext{Value: f.Value, Scan: trial}, reflect.New(f.Target.Type()).Elem())
		if err != nil {
			return nil, fmt.Errorf("%w (from envar %s=%q)", err, name, value)
		}
		return value, nil
	}
	return nil, nil
}

// flagsOf are the flags of a command and all below it.
func Of(n *kong.Node) []*kong.Flag {
	flags := slices.Clone(n.Flags)
	for _, child := range n.Children {
		flags = append(flags, Of(child)...)
	}
	return flags
}

// check returns an error for each variable that begins as ours do and is none. Values are not repeated.
func (e *Variables) Check() error {
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(e.Given)) {
		if !strings.HasPrefix(name, EnvPrefix+"_") || slices.Contains(e.names, name) || name == testVariable ||
			serviceVariable.MatchString(name) {
			continue
		}
		text := view.Printable(name) + " in the environment is none of crmintake's"
		if flag, ok := e.without[name]; ok {
			text += fmt.Sprintf(": --%s is for the command line only", flag)
		} else if near := e.nearest(name); near != "" {
			text += "; did you mean " + near + "?"
		} else {
			text += "; 'crmintake run --help' names them"
		}
		faults = append(faults, fmt.Errorf("%s (to be rid of it, type 'unset %s')", text, view.Quoted(name)))
	}
	return errors.Join(faults...)
}

// nearest compares what is behind the prefix.
func (e *Variables) nearest(name string) string {
	var rests []string
	for _, one := range e.names {
		rests = append(rests, strings.TrimPrefix(one, EnvPrefix+"_"))
	}
	if near := Nearest(strings.TrimPrefix(name, EnvPrefix+"_"), rests); near != "" {
		return EnvPrefix + "_" + near
	}
	return ""
}

// nearest is the other name that is mistyped most easily as this one; "" if none is near.
func Nearest(name string, names []string) (near string) {
	least := 1 + (len(name)+2)/3
	for _, candidate := range names {
		if d := editDistance(name, candidate); d > 0 && d < least {
			near, least = candidate, d
		}
	}
	return near
}

// editDistance is how many bytes have to be put in, taken out or replaced (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// envPrefix begins the names of all environment variables.
const EnvPrefix = "CRMINTAKE"

// Help is a flag's help with its default and its variable.
func (e *Variables) Help(v *kong.Value) string {
	var parts []string
	if v.HasDefault && v.Default != "" {
		parts = append(parts, "default "+v.Default)
	}
	for _, name := range e.of[v] {
		parts = append(parts, "$"+name)
	}
	if parts == nil {
		return v.Help
	}
	return strings.TrimSuffix(v.Help, ".") + " (" + strings.Join(parts, ", ") + ")."
}
