// The tests in this folder hold the whole module to its design: who may import whom, how large things may grow, and
// what is documented. A rule that is broken says why it is there. arch_self_test.go shows that each of them can fail.
package gatehouse_test

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// A rule is one law of the house.
type rule struct {
	name  string
	why   string // shown with every violation
	check func(*tree) []violation
}

// An exception is a violation that was looked at and is let stand.
type exception struct {
	rule, subject, reason string
}

// exceptions is the allow-list. An entry that excuses nothing fails the test, so that the list only holds what is needed.
func exceptions() []exception {
	return nil
}

// rules is every law: those on imports are numbered as in ARCHITECTURE.md.
func rules() []rule {
	return slices.Concat(importRules(), centralRules(), codeRules())
}

func TestArchitecture(t *testing.T) {
	t.Parallel()
	all, err := loadTree(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range rules() {
		t.Run(rule.name, func(t *testing.T) {
			found, stale := judge(rule, all, exceptions())
			for _, v := range found {
				t.Errorf("%s: %s: %s\n\twhy the rule: %s", v.pos, v.subject, v.what, rule.why)
			}
			for _, e := range stale {
				t.Errorf("the exception of %s is no longer needed: remove it", e.subject)
			}
		})
	}
	for _, e := range exceptions() {
		if !slices.ContainsFunc(rules(), func(r rule) bool { return r.name == e.rule }) {
			t.Errorf("the exception of %s names no rule: %q", e.subject, e.rule)
		}
	}
}

// judge checks one rule. It returns the violations that no exception excuses, and the rule's exceptions that excuse none.
func judge(r rule, all *tree, exceptions []exception) (found []violation, stale []exception) {
	violations := r.check(all)
	excuses := func(e exception, v violation) bool { return e.rule == r.name && e.subject == v.subject }
	for _, v := range violations {
		if !slices.ContainsFunc(exceptions, func(e exception) bool { return excuses(e, v) }) {
			found = append(found, v)
		}
	}
	for _, e := range exceptions {
		if e.rule == r.name && !slices.ContainsFunc(violations, func(v violation) bool { return excuses(e, v) }) {
			stale = append(stale, e)
		}
	}
	return found, stale
}

// importRules are the laws between the module's large parts.
func importRules() []rule {
	return []rule{
		{
			name:  "1 syncproto stands alone",
			why:   "a gate and central must agree on it byte for byte, so it stands on nothing that either could change",
			check: checkSyncproto,
		},
		{
			name:  "1 syncproto reads no clock",
			why:   "the same facts give the same answer at a gate today and at central tomorrow, so time is a parameter",
			check: checkClock,
		},
		{
			name:  "1 decisions do no I/O",
			why:   "a decision never waits, and the same code decides at a gate and reconciles at central",
			check: checkDecisionsPure,
		},
		{
			name: "2 gate and central meet in syncproto",
			why:  "either program is replaced without the other, and a gate carries nothing of central's; cmd/demo, cmd/fleetsim and cmd/gatebench run both",
			check: func(t *tree) []violation {
				return t.imports(func(f *sourceFile, imported string) bool {
					dir, ours := own(imported)
					return ours && (under(dir, "gate") && !f.matches("gate", "cmd/gate", "cmd/demo", "cmd/fleetsim", "cmd/gatebench") ||
						under(dir, "central") && !f.matches("central", "cmd/central", "cmd/demo", "cmd/fleetsim", "cmd/gatebench"))
				})
			},
		},
		{
			name:  "3 gate/node is the mind alone",
			why:   "the simulator runs the shipped state machine itself, which it can only while that needs syncproto and nothing else",
			check: checkNode,
		},
		{
			name:  "4 libraries have one home",
			why:   "a library that is reached from one place can be replaced there",
			check: checkLibraries,
		},
		{
			name: "7 test packages stay in tests",
			why:  "what fakes hardware, keys and time must not be in a program that opens doors",
			check: func(t *tree) []violation {
				return t.imports(func(f *sourceFile, imported string) bool {
					dir, ours := own(imported)
					inTests := f.test || strings.HasSuffix(f.dir, "test") || f.matches("cmd/fleetsim", "cmd/gatebench")
					return ours && strings.HasSuffix(dir, "test") && !inTests
				})
			},
		},
		{
			name: "7 ptyport feeds demonstrations",
			why:  "a pseudo-terminal stands in for a scanner in the demo, the benchmarks and the tests; a gate reads real ones",
			check: func(t *tree) []violation {
				const ptyport = "hardware/ptyport"
				return t.imports(func(f *sourceFile, imported string) bool {
					dir, ours := own(imported)
					return ours && under(dir, ptyport) && !f.test &&
						!f.matches(ptyport, "hardware/hardwaretest", "cmd/demo", "cmd/gatebench")
				})
			},
		},
	}
}

// checkSyncproto lets syncproto use the standard library, UUIDs and zstd; its test packages and test files may use the
// testing libraries as well.
func checkSyncproto(t *tree) []violation {
	ours := func(imported string) bool {
		dir, ok := own(imported)
		return ok && under(dir, "syncproto")
	}
	basics := []string{"github.com/google/uuid", "github.com/klauspost/compress/zstd"}
	testing := []string{"github.com/stretchr/testify", "pgregory.net/rapid", "go.uber.org/goleak"}
	found := t.reachesFromAny([]string{"syncproto"}, func(imported string) bool {
		_, inModule := own(imported)
		return inModule && !ours(imported)
	})
	return append(found, t.imports(func(f *sourceFile, imported string) bool {
		if _, inModule := own(imported); !f.matches("syncproto") || ours(imported) || inModule && !f.test {
			return false // not asked here, or reported above
		}
		inTests := f.test || strings.HasSuffix(f.dir, "test")
		return !standard(imported) && !inAny(imported, basics) && !(inTests && inAny(imported, testing))
	})...)
}

func checkClock(t *tree) []violation {
	return t.calls("time", []string{"Now", "Since", "Until"}, func(f *sourceFile) bool {
		return f.matches("syncproto") && !f.test
	})
}

// checkDecisionsPure follows admission and credential through all they import of ours.
func checkDecisionsPure(t *tree) []violation {
	return t.reachesFromAny([]string{"syncproto/admission", "syncproto/credential"}, doesIO)
}

// doesIO tells the packages of the standard library that touch the world outside the process.
func doesIO(imported string) bool {
	return inAny(imported, []string{"os", "net", "io/fs", "io/ioutil", "path/filepath", "syscall", "database/sql", "log"})
}

// checkNode lets gate/node use the standard library without I/O, syncproto, which rule 1 keeps to itself, and the uuid type
// that syncproto's values are made of.
func checkNode(t *tree) []violation {
	found := t.reachesFromAny([]string{"gate/node"}, func(imported string) bool {
		dir, ours := own(imported)
		return ours && !inAny(dir, []string{"syncproto", "gate/node"})
	})
	return append(found, t.imports(func(f *sourceFile, imported string) bool {
		_, ours := own(imported)
		return f.matches("gate/node") && !f.test && !ours && imported != "github.com/google/uuid" && (!standard(imported) || doesIO(imported))
	})...)
}

// checkLibraries compares each import with the first library of the table that it belongs to.
func checkLibraries(t *tree) []violation {
	surfaces := []string{"central/api", "central/gateapi", "central/admin", "central/portal"}
	stores := []string{"central/pg", "central/pgtest", "central/*/store*.go", "central/*/*_test.go", "central/*_test.go", "cmd/*/*_test.go", "migrations/*_test.go"}
	libraries := []struct {
		library string
		homes   []string
	}{
		{"modernc.org/sqlite", []string{"gate/replica", "gate/journal", "gate/carry", "cmd/e2e_test"}},
		{"github.com/jackc/pgx/v5/pgxpool", append([]string{"central/central.go"}, stores...)},
		{"github.com/jackc/pgx", stores},
		{"github.com/labstack", append([]string{"central/web", "central/central.go", "gate/screen", "gate/control"}, surfaces...)},
		{"github.com/wneessen/go-mail", []string{"central/notify"}},
		{"github.com/emersion/go-smtp", []string{"central/notify/*_test.go", "cmd/e2e_test"}},
		{"github.com/makiuchi-d/gozxing", []string{"hardware/camscan", "hardware/qrdraw"}},
		{"github.com/tarm/serial", []string{"hardware/serialscan"}},
	}
	return t.imports(func(f *sourceFile, imported string) bool {
		for _, l := range libraries {
			if under(imported, l.library) {
				// A benchmark imports what it measures against.
				return !f.matches(l.homes...) && !f.matches("cmd/gatebench")
			}
		}
		return false
	})
}
