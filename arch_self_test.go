package gatehouse_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// A fakeTree is a small module: file names and their text.
type fakeTree map[string]string

// A ruleCase shows one rule letting a tree pass, and then catching what bad adds to it.
type ruleCase struct {
	rule string
	good fakeTree
	bad  fakeTree
	want []string // the subjects of the violations
}

// goFile is a documented file of a package with some imports and, last, some code.
func goFile(pkg string, imports []string, code ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "// Package %[1]s is made up.\npackage %[1]s\n", pkg)
	for _, imported := range imports {
		fmt.Fprintf(&b, "import _ %q\n", imported)
	}
	b.WriteString(strings.Join(code, "\n"))
	return b.String() + "\n"
}

func importing(imports ...string) string { return goFile("p", imports) }

func coding(code ...string) string { return goFile("p", nil, code...) }

func (f fakeTree) load(t *testing.T, more fakeTree) *tree {
	t.Helper()
	fsys := fstest.MapFS{}
	for _, files := range []fakeTree{f, more} {
		for name, text := range files {
			fsys[name] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	loaded, err := loadTree(fsys)
	require.NoError(t, err)
	return loaded
}

func subjects(found []violation) []string {
	var names []string
	for _, v := range found {
		names = append(names, v.subject)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func TestEveryRuleCanFail(t *testing.T) {
	t.Parallel()
	shown := map[string]bool{}
	for _, c := range slices.Concat(syncprotoCases(), programCases(), libraryCases(), testCases(), featureCases(), surfaceCases(), codeCases()) {
		shown[c.rule] = true
		i := slices.IndexFunc(rules(), func(r rule) bool { return r.name == c.rule })
		require.GreaterOrEqual(t, i, 0, "no rule %q", c.rule)
		check := rules()[i].check
		require.Empty(t, check(c.good.load(t, nil)), "%s: what is allowed", c.rule)
		require.Equal(t, c.want, subjects(check(c.good.load(t, c.bad))), "%s: what is not", c.rule)
	}
	for _, r := range rules() {
		require.True(t, shown[r.name], "nothing shows that %q can fail", r.name)
		require.NotEmpty(t, r.why, "%q gives no reason", r.name)
	}
}

func TestExceptionExcusesAndGoesStale(t *testing.T) {
	t.Parallel()
	sleepy := rules()[slices.IndexFunc(rules(), func(r rule) bool { return r.name == "nobody sleeps" })]
	excuse := exception{rule: "nobody sleeps", subject: "gate/a.go", reason: "made up"}
	tired := goFile("gate", nil, `import "time"`, `func f() { time.Sleep(1) }`)

	found, stale := judge(sleepy, fakeTree{"gate/a.go": tired, "gate/b.go": tired}.load(t, nil), []exception{excuse})
	require.Equal(t, []string{"gate/b.go"}, subjects(found))
	require.Empty(t, stale)

	found, stale = judge(sleepy, fakeTree{}.load(t, nil), []exception{excuse})
	require.Empty(t, found)
	require.Equal(t, []exception{excuse}, stale)
}

func TestTreeLeavesOutWhatGoDoes(t *testing.T) {
	t.Parallel()
	loaded := fakeTree{
		"gate/gate.go":         coding(),
		"gate/testdata/bad.go": "not Go",
		"_old/a.go":            "not Go",
		".hidden/a.go":         "not Go",
		"tools/go.mod":         "module tools",
		"tools/main.go":        "not Go",
	}.load(t, nil)
	require.Equal(t, []string{"gate"}, loaded.dirs())

	_, err := loadTree(fstest.MapFS{"gate/gate.go": {Data: []byte("not Go")}})
	require.Error(t, err, "a file that does not parse is not passed over")
}
