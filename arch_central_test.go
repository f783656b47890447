package gatehouse_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// features are central's, each with the features it may import: the closure of the arrows in ARCHITECTURE.md.
func features() map[string][]string {
	return map[string][]string{
		"programme":    nil,
		"payment":      nil,
		"registration": {"programme", "ticket", "payment"},
		"ticket":       {"programme"},
		"fleet":        {"programme"},
		"vault":        nil,
		"roster":       {"programme", "ticket", "fleet"},
		"checkin":      {"programme", "ticket", "fleet"},
		"walkup":       {"programme", "ticket", "fleet"},
		"finding":      nil,
		"staff":        nil,
		"notify":       nil,
		"media":        nil,
		"report":       nil,
		"replay":       nil,
		"agenda":       nil,
		"pass":         nil,
		"handout":      {"programme", "ticket", "pass"},
	}
}

// surfaces are what central shows to each of its audiences.
func surfaces() []string { return []string{"api", "gateapi", "admin", "portal"} }

// centralRules are the laws inside central: features below, surfaces above.
func centralRules() []rule {
	return []rule{
		{
			name:  "5 features import down",
			why:   "a feature can be read, changed and tested with what is below it; anything else comes through an interface that it declares and central.go wires",
			check: checkFeatures,
		},
		{
			name:  "5 a table has one writer",
			why:   "what must hold for a table is kept in one place; report reads any table and writes none",
			check: checkTableWriters,
		},
		{
			name:  "6 surfaces show features",
			why:   "each audience has its own sign-in, layout and errors; what two of them share belongs in a feature or in web, and SQL in a feature",
			check: checkSurfaces,
		},
	}
}

// part is the name of the part of central that a folder belongs to; "" for the composition root and outside central.
func part(dir string) string {
	rest, ok := strings.CutPrefix(dir, "central/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

func checkFeatures(t *tree) []violation {
	known := features()
	return t.imports(func(f *sourceFile, imported string) bool {
		from := part(f.dir)
		below, isFeature := known[from]
		dir, ours := own(imported)
		if !isFeature || !ours || !under(dir, "central") {
			return false
		}
		to := part(dir)
		if to == "" || to == "web" || slices.Contains(surfaces(), to) {
			return true
		}
		// A test may set its scene with any feature.
		_, toFeature := known[to]
		return toFeature && to != from && !f.test && !slices.Contains(below, to)
	})
}

func checkSurfaces(t *tree) []violation {
	known := features()
	return t.imports(func(f *sourceFile, imported string) bool {
		from := part(f.dir)
		if !slices.Contains(surfaces(), from) {
			return false
		}
		dir, ours := own(imported)
		switch to := part(dir); {
		case ours && to == from, ours && to == "web":
			return false
		case ours && slices.Contains(surfaces(), to):
			return true
		case f.test:
			return false
		case ours && under(dir, "central"):
			_, toFeature := known[to]
			return !toFeature
		case ours:
			return !inAny(dir, []string{"syncproto", "hardware/qrdraw"})
		}
		return inAny(imported, []string{"github.com/jackc/pgx", "database/sql"})
	})
}

// checkTableWriters reads the SQL in each feature's strings. The style keeps keywords in upper case and names in lower
// case, which tells a statement from prose and UPDATE of a table from FOR UPDATE SKIP LOCKED.
func checkTableWriters(t *tree) []violation {
	known := features()
	writers := map[string]map[string]violation{} // table, feature
	for _, f := range t.files {
		feature := part(f.dir)
		if _, ok := known[feature]; !ok || f.test {
			continue
		}
		for table, pos := range writtenTables(f.syntax) {
			if writers[table] == nil {
				writers[table] = map[string]violation{}
			}
			writers[table][feature] = t.at(f, pos, "writes table "+table)
		}
	}
	var found []violation
	for _, table := range slices.Sorted(maps.Keys(writers)) {
		by := writers[table]
		names := slices.Sorted(maps.Keys(by))
		for _, name := range names {
			if v := by[name]; len(names) > 1 || name == "report" {
				v.what += fmt.Sprintf(", which is written by %s", strings.Join(names, " and "))
				found = append(found, v)
			}
		}
	}
	return found
}

// writtenTables finds the tables that a file's statements change, and those that it copies rows into.
func writtenTables(syntax *ast.File) map[string]token.Pos {
	statement := regexp.MustCompile(`\b(?:INSERT\s+INTO|UPDATE(?:\s+ONLY)?|DELETE\s+FROM(?:\s+ONLY)?|MERGE\s+INTO|TRUNCATE(?:\s+TABLE)?|COPY)\s+([a-z_][a-z0-9_.]*)`)
	tables := map[string]token.Pos{}
	ast.Inspect(syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			for _, m := range statement.FindAllStringSubmatch(n.Value, -1) {
				tables[m[1]] = n.Pos()
			}
		case *ast.CompositeLit: // pgx.Identifier{"schema", "table"}, the target of CopyFrom
			if sel, ok := n.Type.(*ast.SelectorExpr); ok && sel.Sel.Name == "Identifier" && len(n.Elts) > 0 {
				if lit, ok := n.Elts[len(n.Elts)-1].(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if name, err := strconv.Unquote(lit.Value); err == nil {
						tables[name] = n.Pos()
					}
				}
			}
		}
		return true
	})
	return tables
}
