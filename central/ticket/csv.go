package ticket

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"gatehouse/syncproto"
)

// Limits of a file that is imported.
const (
	FileBytesMax  = 128 << 20
	RowsMax       = 1_000_000
	ReferenceMax  = 128 // characters
	NameMax       = 200
	EmailMax      = 254 // RFC 5321, as erratum 1690 has it
	NotesMax      = 2000
	listedRowsMax = 100 // bad rows that are listed; those beyond are counted
)

// The columns of a file. The first two are required.
const (
	columnReference = "reference"
	columnType      = "ticket_type"
	columnName      = "name"
	columnEmail     = "email"
	columnStatus    = "status"
	columnNotes     = "notes"
)

func columns() []string {
	return []string{columnReference, columnType, columnName, columnEmail, columnStatus, columnNotes}
}

// RowError is what is wrong with one row of a file.
type RowError struct {
	Line      int // 1 is the header; a row that spans lines is at its first
	Reference string
	Reason    string
}

// FileError means that a file cannot be imported. Nothing of it was.
type FileError struct {
	Rows []RowError // by line
	More int        // bad rows beyond those listed
}

// Error implements error: a line for each bad row.
func (e *FileError) Error() string {
	var b strings.Builder
	total := len(e.Rows) + e.More
	fmt.Fprintf(&b, "%d bad %s, nothing was imported; correct the file and import it again:", total, plural(total, "row"))
	for _, r := range e.Rows {
		fmt.Fprintf(&b, "\n  line %d: ", r.Line)
		if r.Reference != "" {
			fmt.Fprintf(&b, "reference %.*q: ", ReferenceMax, r.Reference)
		}
		b.WriteString(r.Reason)
	}
	if e.More > 0 {
		fmt.Fprintf(&b, "\n  and %d more", e.More)
	}
	return b.String()
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// report notes a bad row.
func (e *FileError) report(line int, reference, format string, args ...any) {
	if len(e.Rows) == listedRowsMax {
		e.More++
		return
	}
	e.Rows = append(e.Rows, RowError{Line: line, Reference: reference, Reason: fmt.Sprintf(format, args...)})
}

// orNil is e, or nil where nothing was reported.
func (e *FileError) orNil() error {
	if len(e.Rows) == 0 {
		return nil
	}
	slices.SortStableFunc(e.Rows, func(a, b RowError) int { return a.Line - b.Line })
	return e
}

// with is e and what is wrong for one more reason with rows of the same file, in
// its order. A row that is bad already is not counted again.
func (e *FileError) with(rows []row, reason string) *FileError {
	out := FileError{Rows: slices.Clone(e.Rows), More: e.More}
	listed := make(map[int]int, len(out.Rows))
	for i, r := range out.Rows {
		listed[r.Line] = i
	}
	var more FileError
	for _, r := range rows {
		if i, ok := listed[r.line]; ok {
			out.Rows[i].Reason += "; " + reason
		} else if !r.bad {
			more.report(r.line, r.reference, "%s", reason)
		}
	}
	out.Rows = append(out.Rows, more.Rows...)
	slices.SortStableFunc(out.Rows, func(a, b RowError) int { return a.Line - b.Line })
	out.More += more.More + max(0, len(out.Rows)-listedRowsMax)
	out.Rows = out.Rows[:min(len(out.Rows), listedRowsMax)]
	return &out
}

// sheet is a file that was read: which columns it has, its rows, and what is
// wrong with them. Bad rows whose reference can be read are among the rows.
type sheet struct {
	has  map[string]bool
	rows []row
	bad  FileError
}

// row is one ticket as the file has it. In a row that is not bad, status and type
// key are known to be one, and the reference is of no row before.
type row struct {
	line      int
	bad       bool
	reference string
	typeKey   string
	name      string
	email     string
	status    syncproto.Status // empty where the cell is
	notes     string
}

// readSheet reads a CSV file (RFC 4180) in UTF-8, with or without a byte order
// mark, lines ending in LF or CRLF. hasType tells which ticket types there are. An
// error is about the file as a whole; all bad rows are in the sheet.
func readSheet(r io.Reader, hasType func(key string) bool) (sheet, error) {
	limited := &io.LimitedReader{R: r, N: FileBytesMax + 1}
	in, err := skipMark(bufio.NewReaderSize(limited, 64<<10))
	if err != nil {
		return sheet{}, err
	}
	reader := csv.NewReader(in)
	reader.FieldsPerRecord = -1 // counted here, so that a short row does not end the list
	reader.ReuseRecord = true
	p := &sheetParser{reader: reader, hasType: hasType, seen: map[string]int{}}
	if err := p.header(); err != nil {
		return sheet{}, err
	}
	if err := p.body(); err != nil {
		return sheet{}, err
	}
	if limited.N == 0 {
		return sheet{}, &FileError{Rows: []RowError{{Line: 1, Reason: fmt.Sprintf("the file is larger than %d bytes; import it in parts", FileBytesMax)}}}
	}
	return p.sheet, nil
}

// skipMark drops a UTF-8 byte order mark, and refuses UTF-16.
func skipMark(in *bufio.Reader) (*bufio.Reader, error) {
	start, err := in.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read file: %w", err)
	}
	switch {
	case bytes.HasPrefix(start, []byte("\xef\xbb\xbf")):
		_, err := in.Discard(3)
		return in, err
	case bytes.HasPrefix(start, []byte("\xff\xfe")), bytes.HasPrefix(start, []byte("\xfe\xff")):
		return nil, &FileError{Rows: []RowError{{Line: 1, Reason: "the file is UTF-16; save it as CSV in UTF-8"}}}
	}
	return in, nil
}

// sheetParser reads a file row by row.
type sheetParser struct {
	reader  *csv.Reader
	hasType func(key string) bool
	order   []string       // column names in the order of the file
	seen    map[string]int // line of each reference
	sheet
}

// header reads the first row, which names the columns.
func (p *sheetParser) header() error {
	record, err := p.reader.Read()
	if errors.Is(err, io.EOF) {
		p.bad.report(1, "", "the file is empty; its first line must name the columns: %s", strings.Join(columns(), ","))
		return p.bad.orNil()
	}
	if err != nil {
		p.syntax(err)
		if len(p.bad.Rows) == 0 {
			return fmt.Errorf("read file: %w", err)
		}
		return p.bad.orNil()
	}
	p.has = map[string]bool{}
	for _, cell := range record {
		name := strings.ToLower(strings.TrimSpace(cell))
		switch {
		case len(record) == 1 && strings.ContainsAny(name, ";\t"):
			p.bad.report(1, "", "the columns are not separated by commas; save the file as comma-separated CSV")
		case !slices.Contains(columns(), name):
			p.bad.report(1, "", "%.60q is not a column; the first line must name the columns, which are %s", name, strings.Join(columns(), ", "))
		case p.has[name]:
			p.bad.report(1, "", "column %s is there twice", name)
		}
		p.has[name] = true
		p.order = append(p.order, name)
	}
	for _, required := range []string{columnReference, columnType} {
		if !p.has[required] && len(p.bad.Rows) == 0 {
			p.bad.report(1, "", "column %s is missing; the first line must name the columns", required)
		}
	}
	return p.bad.orNil()
}

// syntax notes that a row is not CSV; any other error is not its business.
func (p *sheetParser) syntax(err error) {
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		return
	}
	reason := `a quotation mark stands inside an unquoted cell; put the cell in quotation marks and write "" for each inside`
	if errors.Is(parse.Err, csv.ErrQuote) {
		reason = `a quoted cell is not ended properly; write "" for a quotation mark inside it`
	}
	p.bad.report(parse.StartLine, "", "%s", reason)
}

// body reads the rows. It returns an error only where reading itself fails.
func (p *sheetParser) body() error {
	for {
		record, err := p.reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if parse := (*csv.ParseError)(nil); errors.As(err, &parse) {
			p.syntax(err)
			continue
		}
		if err != nil {
			return fmt.Errorf("read file: %w", err)
		}
		if len(p.rows) == RowsMax {
			p.bad.report(p.line(), "", "the file has more than %d rows; import it in parts", RowsMax)
			return nil
		}
		p.row(record)
	}
}

func (p *sheetParser) line() int {
	line, _ := p.reader.FieldPos(0)
	return line
}

// row reads one row and reports all that is wrong with it.
func (p *sheetParser) row(record []string) {
	out := row{line: p.line()}
	if len(record) != len(p.order) {
		p.bad.report(out.line, "", "it has %d %s and the header has %d", len(record), plural(len(record), "cell"), len(p.order))
		return
	}
	var reasons []string
	legible := true
	for i, column := range p.order {
		reason := out.set(column, strings.TrimSpace(record[i]))
		if column == columnType && reason == "" && !p.hasType(out.typeKey) {
			reason = fmt.Sprintf("the event has no type %q", out.typeKey)
		}
		if reason != "" {
			reasons = append(reasons, column+": "+reason)
			legible = legible && column != columnReference
		}
	}
	if legible {
		first, twice := p.seen[out.reference]
		if twice {
			reasons = append(reasons, fmt.Sprintf("the reference is on line %d already", first))
		} else {
			p.seen[out.reference] = out.line
		}
		legible = !twice
	}
	if out.bad = len(reasons) > 0; out.bad {
		p.bad.report(out.line, out.reference, "%s", strings.Join(reasons, "; "))
	}
	if legible {
		p.rows = append(p.rows, out)
	}
}

// set puts a cell into its field, or says what is wrong with it.
func (r *row) set(column, cell string) (reason string) {
	switch column {
	case columnReference:
		r.reference, reason = cell, required(cell, ReferenceMax)
	case columnType:
		r.typeKey, reason = cell, required(cell, ReferenceMax)
	case columnName:
		r.name, reason = cell, checkText(cell, NameMax, false)
	case columnEmail:
		r.email, reason = cell, checkText(cell, EmailMax, false)
	case columnNotes:
		r.notes, reason = cell, checkText(cell, NotesMax, true)
	case columnStatus:
		r.status = syncproto.Status(strings.ToLower(cell))
		switch r.status {
		case "", syncproto.StatusPaid, syncproto.StatusUnpaid, syncproto.StatusCancelled:
		case syncproto.StatusRevoked:
			reason = "a file cannot revoke; use `central ticket revoke`"
		default:
			reason = fmt.Sprintf("%.40q is not paid, unpaid or cancelled", cell)
		}
	}
	return reason
}

func required(cell string, most int) string {
	if cell == "" {
		return "is empty"
	}
	return checkText(cell, most, false)
}

// checkText says why a text cannot be stored; lines is whether it may have
// several.
func checkText(cell string, most int, lines bool) string {
	forbidden := func(r rune) bool { return unicode.IsControl(r) && !(lines && (r == '\n' || r == '\t')) }
	switch {
	case !utf8.ValidString(cell):
		return "is not UTF-8; save the file as CSV in UTF-8"
	case utf8.RuneCountInString(cell) > most:
		return fmt.Sprintf("is longer than %d characters", most)
	case strings.ContainsFunc(cell, forbidden):
		return "has a control character in it"
	}
	return ""
}
