package gatehouse_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// module is the path in go.mod, which every import of ours begins with.
const module = "gatehouse"

// A sourceFile is one parsed Go file with what the rules ask about it.
type sourceFile struct {
	path      string // from the module's root, with slashes
	dir       string // the package's folder; "." for the root
	test      bool
	generated bool // by name, which is what exempts it
	syntax    *ast.File
	imports   []importSpec
}

// An importSpec is one import of a file.
type importSpec struct {
	path string
	pos  token.Pos
}

// A tree is every Go file of the module, parsed for syntax only: the rules need no types, and a tree that does not
// compile is judged all the same.
type tree struct {
	fset  *token.FileSet
	files []*sourceFile
}

// A violation is one breach of a rule. Its subject, a path with perhaps a symbol, is what the allow-list names.
type violation struct {
	subject string
	pos     token.Position
	what    string
}

// loadTree parses the module whose root is fsys, without its test data, hidden folders and nested modules.
func loadTree(fsys fs.FS) (*tree, error) {
	t := &tree{fset: token.NewFileSet()}
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && foreign(fsys, name):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		return t.parse(fsys, name)
	})
	return t, err
}

// foreign tells a folder that the go command leaves out of the module as well.
func foreign(fsys fs.FS, dir string) bool {
	base := path.Base(dir)
	if base[0] == '.' || base[0] == '_' || base == "testdata" || base == "vendor" {
		return true
	}
	_, err := fs.Stat(fsys, path.Join(dir, "go.mod"))
	return err == nil
}

func (t *tree) parse(fsys fs.FS, name string) error {
	src, err := fs.ReadFile(fsys, name)
	if err != nil {
		return err
	}
	syntax, err := parser.ParseFile(t.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	f := &sourceFile{
		path:      name,
		dir:       path.Dir(name),
		test:      strings.HasSuffix(name, "_test.go"),
		generated: strings.HasSuffix(name, "gen.go"),
		syntax:    syntax,
	}
	for _, spec := range syntax.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		f.imports = append(f.imports, importSpec{path: imported, pos: spec.Pos()})
	}
	t.files = append(t.files, f)
	return nil
}

// at is a violation by the whole file f, found at pos.
func (t *tree) at(f *sourceFile, pos token.Pos, what string) violation {
	return violation{subject: f.path, pos: t.fset.Position(pos), what: what}
}

// imports reports every import that banned says no to.
func (t *tree) imports(banned func(f *sourceFile, imported string) bool) []violation {
	var found []violation
	for _, f := range t.files {
		for _, spec := range f.imports {
			if banned(f, spec.path) {
				found = append(found, t.at(f, spec.pos, "imports "+spec.path))
			}
		}
	}
	return found
}

// reaches follows the imports of the package in the folder start through our own packages, and reports each import on
// the way that banned says no to. Test files are left out: nobody reaches through them.
func (t *tree) reaches(start string, banned func(imported string) bool) []violation {
	var found []violation
	chains := map[string]string{start: start}
	for queue := []string{start}; len(queue) > 0; queue = queue[1:] {
		for _, f := range t.files {
			if f.dir != queue[0] || f.test {
				continue
			}
			for _, spec := range f.imports {
				chain := chains[f.dir] + " → " + spec.path
				if banned(spec.path) {
					found = append(found, t.at(f, spec.pos, chain))
				}
				if dir, ours := own(spec.path); ours && chains[dir] == "" {
					chains[dir] = chain
					queue = append(queue, dir)
				}
			}
		}
	}
	return found
}

// reachesFromAny does so for every package under the given folders.
func (t *tree) reachesFromAny(roots []string, banned func(imported string) bool) []violation {
	var found []violation
	for _, dir := range t.dirs() {
		if inAny(dir, roots) {
			found = append(found, t.reaches(dir, banned)...)
		}
	}
	return found
}

// dirs lists the folders that hold a package, in order.
func (t *tree) dirs() []string {
	var dirs []string
	for _, f := range t.files {
		dirs = append(dirs, f.dir)
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// own is the folder of an import that is ours.
func own(imported string) (dir string, ours bool) {
	if imported == module {
		return ".", true
	}
	return strings.CutPrefix(imported, module+"/")
}

// standard tells an import of the standard library.
func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return first != module && !strings.Contains(first, ".")
}

// under tells whether name is root or lies below it.
func under(name, root string) bool {
	return name == root || strings.HasPrefix(name, root+"/")
}

func inAny(name string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return under(name, root) })
}

// matches tells whether f is one of the places: a folder and all below it, or files by a pattern that ends in .go.
func (f *sourceFile) matches(places ...string) bool {
	return slices.ContainsFunc(places, func(place string) bool {
		if path.Ext(place) != ".go" {
			return under(f.dir, place)
		}
		ok, err := path.Match(place, f.path)
		return ok && err == nil
	})
}
