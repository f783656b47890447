package programme

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// PageMax bounds a page of a list, and PageDefault is its length where none is asked.
const (
	PageMax     = 500
	PageDefault = 50
)

// filter gathers the conditions of a query that truly compose, and their arguments.
type filter struct {
	conditions []string
	args       []any
}

// add takes a condition with a %d for the number of each argument, in their order.
func (f *filter) add(condition string, args ...any) {
	numbers := make([]any, len(args))
	for i := range args {
		numbers[i] = len(f.args) + 1 + i
	}
	f.conditions = append(f.conditions, fmt.Sprintf(condition, numbers...))
	f.args = append(f.args, args...)
}

func (f *filter) where() string {
	if len(f.conditions) == 0 {
		return ""
	}
	return "\nWHERE " + strings.Join(f.conditions, "\n  AND ")
}

// pageOf is the length of a page that was asked for.
func pageOf(n int) int {
	if n <= 0 {
		return PageDefault
	}
	return min(n, PageMax)
}

func (f *filter) limit(n int) string {
	f.args = append(f.args, n)
	return fmt.Sprintf("\nLIMIT $%d", len(f.args))
}

// storable reports whether Postgres can hold a text, and so compare with it.
func storable(text string) bool { return utf8.ValidString(text) && !strings.ContainsRune(text, 0) }

// asked refuses a text to look for that nothing stored can be like.
func asked(field, text string) error {
	if storable(text) {
		return nil
	}
	return invalid(field, "must be text without control characters")
}

// like is a pattern that matches what contains text.
func like(text string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text) + "%"
}
