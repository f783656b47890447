package gatehouse_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"path"
	"slices"
	"strings"
)

// The size budget. Generated files have none.
const (
	fileLinesMax = 500
	funcLinesMax = 70
	methodsMax   = 15
)

// codeRules are the laws inside a file and a package.
func codeRules() []rule {
	return []rule{
		{
			name:  "files are short",
			why:   fmt.Sprintf("a file of at most %d lines is read in one sitting; split it by what it is about", fileLinesMax),
			check: checkFileLines,
		},
		{
			name:  "functions are short",
			why:   fmt.Sprintf("a function of at most %d lines does one thing that its name can say", funcLinesMax),
			check: checkFuncLines,
		},
		{
			name:  "types have few methods",
			why:   fmt.Sprintf("a type with more than %d methods is several types, and everything comes to depend on it", methodsMax),
			check: checkMethods,
		},
		{
			name:  "generated files end in gen.go",
			why:   "the name says that nobody edits it, and exempts it from the rules on size and documentation",
			check: checkGenerated,
		},
		{
			name:  "packages are documented",
			why:   "a package says what it is for, why it is separate and what always holds in it",
			check: checkPackageDocs,
		},
		{
			name:  "exported symbols are documented",
			why:   "a caller needs contract, units, errors and concurrency without reading the body",
			check: checkSymbolDocs,
		},
		{
			name:  "packages are named for a domain",
			why:   "a package named for what it holds rather than what it is about takes in anything",
			check: checkPackageNames,
		},
		{
			name: "nothing happens at import",
			why:  "an init function acts before main can pass it anything; construct it where it is used",
			check: func(t *tree) []violation {
				return t.funcs(func(f *sourceFile, fn *ast.FuncDecl) string {
					if fn.Name.Name == "init" && fn.Recv == nil {
						return "has an init function"
					}
					return ""
				})
			},
		},
		{
			name: "nobody sleeps",
			why:  "a fixed sleep is too long or too short; wait for a signal, a timer beside ctx.Done, or a fake clock",
			check: func(t *tree) []violation {
				return t.calls("time", []string{"Sleep"}, func(*sourceFile) bool { return true })
			},
		},
		{
			name:  "fuzzing stays clear of SQLite",
			why:   "the fuzzer instruments all that a target links, and instrumented SQLite takes minutes to build",
			check: checkFuzz,
		},
	}
}

// funcs reports every declared function that fault finds something wrong with.
func (t *tree) funcs(fault func(*sourceFile, *ast.FuncDecl) string) []violation {
	var found []violation
	for _, f := range t.files {
		for _, decl := range f.syntax.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if what := fault(f, fn); what != "" {
				v := t.at(f, fn.Pos(), what)
				v.subject += " " + funcName(fn)
				found = append(found, v)
			}
		}
	}
	return found
}

// calls reports every mention of the given names of an imported package, called or passed on, in the files asked for.
func (t *tree) calls(pkg string, names []string, in func(*sourceFile) bool) []violation {
	var found []violation
	for _, f := range t.files {
		local := localName(f, pkg)
		if local == "" || !in(f) {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || !slices.Contains(names, sel.Sel.Name) {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == local {
				found = append(found, t.at(f, sel.Pos(), "uses "+pkg+"."+sel.Sel.Name))
			}
			return true
		})
	}
	return found
}

// localName is what a file calls an imported package; "" when it does not import it.
func localName(f *sourceFile, imported string) string {
	for i, spec := range f.imports {
		if spec.path != imported {
			continue
		}
		if name := f.syntax.Imports[i].Name; name != nil {
			return name.Name
		}
		return path.Base(imported)
	}
	return ""
}

// receiver is the name of the type a method belongs to; "" for a function.
func receiver(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return ""
	}
	expr := fn.Recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.IndexListExpr:
			expr = e.X
		case *ast.Ident:
			return e.Name
		default:
			return ""
		}
	}
}

func funcName(fn *ast.FuncDecl) string {
	if recv := receiver(fn); recv != "" {
		return recv + "." + fn.Name.Name
	}
	return fn.Name.Name
}

func (t *tree) lines(n ast.Node) int {
	return t.fset.Position(n.End()).Line - t.fset.Position(n.Pos()).Line + 1
}

func checkFileLines(t *tree) []violation {
	var found []violation
	for _, f := range t.files {
		if n := t.fset.File(f.syntax.Package).LineCount(); n > fileLinesMax && !f.generated {
			found = append(found, t.at(f, f.syntax.Package, fmt.Sprintf("has %d lines", n)))
		}
	}
	return found
}

// checkFuncLines measures function literals as well, which else would be where long bodies hide.
func checkFuncLines(t *tree) []violation {
	var found []violation
	for _, f := range t.files {
		if f.generated {
			continue
		}
		for _, decl := range f.syntax.Decls {
			subject := f.path
			if fn, ok := decl.(*ast.FuncDecl); ok {
				subject += " " + funcName(fn)
			}
			ast.Inspect(decl, func(n ast.Node) bool {
				switch n.(type) {
				case *ast.FuncDecl, *ast.FuncLit:
					if lines := t.lines(n); lines > funcLinesMax {
						found = append(found, violation{subject, t.fset.Position(n.Pos()), fmt.Sprintf("has %d lines", lines)})
					}
				}
				return true
			})
		}
	}
	return found
}

// checkMethods counts a type's methods over all files of its package.
func checkMethods(t *tree) []violation {
	types := map[string][]token.Pos{} // by folder and name, where each method is
	for _, f := range t.files {
		if f.test || f.generated {
			continue
		}
		for _, decl := range f.syntax.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && receiver(fn) != "" {
				key := f.dir + " " + receiver(fn)
				types[key] = append(types[key], fn.Pos())
			}
		}
	}
	var found []violation
	for _, key := range slices.Sorted(maps.Keys(types)) {
		if methods := types[key]; len(methods) > methodsMax {
			found = append(found, violation{key, t.fset.Position(methods[0]), fmt.Sprintf("has %d methods", len(methods))})
		}
	}
	return found
}

func checkGenerated(t *tree) []violation {
	var found []violation
	for _, f := range t.files {
		if ast.IsGenerated(f.syntax) && !f.generated {
			found = append(found, t.at(f, f.syntax.Package, "is generated"))
		}
	}
	return found
}

func checkPackageDocs(t *tree) []violation {
	documented := map[string]bool{}
	first := map[string]*sourceFile{}
	for _, f := range t.files {
		if f.test {
			continue
		}
		documented[f.dir] = documented[f.dir] || f.syntax.Doc != nil && strings.TrimSpace(f.syntax.Doc.Text()) != ""
		if first[f.dir] == nil {
			first[f.dir] = f
		}
	}
	var found []violation
	for _, dir := range t.dirs() {
		if f := first[dir]; f != nil && !documented[dir] {
			v := t.at(f, f.syntax.Package, "package "+f.syntax.Name.Name+" has no package comment")
			v.subject = dir
			found = append(found, v)
		}
	}
	return found
}

func checkSymbolDocs(t *tree) []violation {
	found := t.funcs(func(f *sourceFile, fn *ast.FuncDecl) string {
		recv := receiver(fn)
		if f.test || f.generated || fn.Doc != nil || !fn.Name.IsExported() || recv != "" && !ast.IsExported(recv) {
			return ""
		}
		return "is exported and has no comment"
	})
	for _, f := range t.files {
		if f.test || f.generated {
			continue
		}
		for _, decl := range f.syntax.Decls {
			if gen, ok := decl.(*ast.GenDecl); ok {
				for _, name := range undocumented(gen) {
					v := t.at(f, name.Pos(), "is exported and has no comment")
					v.subject += " " + name.Name
					found = append(found, v)
				}
			}
		}
	}
	return found
}

// undocumented lists the exported names of a declaration that no comment covers: one above the group covers constants
// and variables, one beside a name covers it, and a type in a group needs its own.
func undocumented(decl *ast.GenDecl) []*ast.Ident {
	var bare []*ast.Ident
	for _, spec := range decl.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Doc == nil && (decl.Doc == nil || decl.Lparen.IsValid()) && s.Name.IsExported() {
				bare = append(bare, s.Name)
			}
		case *ast.ValueSpec:
			if s.Doc != nil || s.Comment != nil || decl.Doc != nil {
				continue
			}
			for _, name := range s.Names {
				if name.IsExported() {
					bare = append(bare, name)
				}
			}
		}
	}
	return bare
}

func checkPackageNames(t *tree) []violation {
	vague := []string{"util", "utils", "common", "helper", "helpers", "models", "types", "core", "manager"}
	var found []violation
	for _, f := range t.files {
		if slices.Contains(vague, f.syntax.Name.Name) || slices.Contains(vague, path.Base(f.dir)) {
			found = append(found, t.at(f, f.syntax.Package, "is in package "+f.syntax.Name.Name))
		}
	}
	return found
}

// checkFuzz follows every package that has a fuzz target, its test files included.
func checkFuzz(t *tree) []violation {
	const sqlite = "modernc.org/sqlite"
	isSQLite := func(imported string) bool { return under(imported, sqlite) }
	links := func(dir string) bool {
		for _, f := range t.files {
			for _, spec := range f.imports {
				imported, ours := own(spec.path)
				if f.dir == dir && (isSQLite(spec.path) || ours && len(t.reaches(imported, isSQLite)) > 0) {
					return true
				}
			}
		}
		return false
	}
	return t.funcs(func(f *sourceFile, fn *ast.FuncDecl) string {
		if f.test && strings.HasPrefix(fn.Name.Name, "Fuzz") && links(f.dir) {
			return "is linked with " + sqlite
		}
		return ""
	})
}
