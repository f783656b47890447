package ticket

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
)

// readRows reads a file of an event that has every type but vip. An error is about
// the file or its rows.
func readRows(r io.Reader) (sheet, error) {
	s, err := readSheet(r, func(key string) bool { return key != "vip" })
	if err == nil {
		err = s.bad.orNil()
	}
	return s, err
}

func TestSheetTakesWhatSpreadsheetsWrite(t *testing.T) {
	t.Parallel()
	want := []row{
		{line: 2, reference: "A-1", typeKey: "day", name: `Ann "Q" Lee, Dr.`, email: "ann@example.org", status: syncproto.StatusPaid, notes: "two\nlines"},
		{line: 4, reference: "A-2", typeKey: "crew", name: "Zoë 李", status: syncproto.StatusUnpaid},
		{line: 5, reference: "A-3", typeKey: "day"},
	}
	const plain = "reference,name,email,ticket_type,status,notes\n" +
		"A-1,\"Ann \"\"Q\"\" Lee, Dr.\",ann@example.org,day,paid,\"two\nlines\"\n" +
		"A-2,Zoë 李,,crew,UNPAID,\n" +
		" A-3 ,, ,day,,\n"
	for name, file := range map[string]string{
		"plain":            plain,
		"CRLF":             strings.ReplaceAll(plain, "\n", "\r\n"),
		"byte order mark":  "\ufeff" + plain,
		"no newline last":  strings.TrimSuffix(plain, "\n"),
		"capital header":   strings.Replace(plain, "reference,name", " Reference ,NAME", 1),
		"quoted header":    strings.Replace(plain, "reference,", "\"reference\",", 1),
		"blank lines last": plain + "\n\r\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := readRows(strings.NewReader(file))
			require.NoError(t, err)
			require.Equal(t, want, s.rows)
		})
	}
}

func TestSheetTakesColumnsInAnyOrderAndLeavesOutOptionalOnes(t *testing.T) {
	t.Parallel()
	s, err := readRows(strings.NewReader("ticket_type,reference\nday,A-1\n"))
	require.NoError(t, err)
	require.Equal(t, []row{{line: 2, reference: "A-1", typeKey: "day"}}, s.rows)
	require.Equal(t, map[string]bool{"ticket_type": true, "reference": true}, s.has)
	s, err = readRows(strings.NewReader("ticket_type,reference\n"))
	require.NoError(t, err)
	require.Empty(t, s.rows)
}

func TestSheetNamesTheHeadersMistake(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, want string }{
		"empty file":      {"", "the file is empty; its first line must name the columns: reference,ticket_type,name,email,status,notes"},
		"blank file":      {"\n\n", "the file is empty"},
		"no header":       {"A-1,day\n", `"a-1" is not a column`},
		"unknown column":  {"reference,ticket_type,seat\n", `"seat" is not a column`},
		"twice":           {"reference,ticket_type,reference\n", "column reference is there twice"},
		"no reference":    {"ticket_type,name\n", "column reference is missing"},
		"no type":         {"reference,name\n", "column ticket_type is missing"},
		"semicolons":      {"reference;ticket_type\nA-1;day\n", "not separated by commas"},
		"tabs":            {"reference\tticket_type\n", "not separated by commas"},
		"UTF-16":          {"\xff\xfer\x00e\x00", "the file is UTF-16"},
		"quotation marks": {"ref\"erence,ticket_type\n", "a quotation mark stands inside"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := readRows(strings.NewReader(c.file))
			var bad *FileError
			require.ErrorAs(t, err, &bad)
			require.Equal(t, 1, bad.Rows[0].Line)
			require.Contains(t, err.Error(), c.want)
		})
	}
}

func TestSheetListsEveryBadRowWithItsLine(t *testing.T) {
	t.Parallel()
	rows := []struct{ row, want string }{
		{"good,day,,,,", ""},
		{",day,,,,", "reference: is empty"},
		{"r1,,,,,", "ticket_type: is empty"},
		{"r2,day,,,maybe,", `status: "maybe" is not paid, unpaid or cancelled`},
		{"r3,day,,,revoked,", "status: a file cannot revoke"},
		{"r4,day", "it has 2 cells and the header has 6"},
		{"r5,day,,,,,", "it has 7 cells and the header has 6"},
		{"good,day,,,,", `the reference is on line 2 already`},
		{"r6,day,a\x00b,,,", "name: has a control character"},
		{"r7,day,\xe9t\xe9,,,", "name: is not UTF-8"},
		{"r8,day," + strings.Repeat("x", NameMax+1) + ",,,", "name: is longer than 200 characters"},
		{"r9,day,,x@" + strings.Repeat("y", EmailMax) + ",,", "email: is longer than 254 characters"},
		{"r10,day,,,," + strings.Repeat("z", NotesMax+1), "notes: is longer than 2000 characters"},
		{strings.Repeat("r", ReferenceMax+1) + ",day,,,,", "reference: is longer than 128 characters"},
		{"r11,day,a\"b,,,", "a quotation mark stands inside an unquoted cell"},
		{"r12,day,\"a\"b,,,", "a quoted cell is not ended properly"},
		{strings.Repeat("r", ReferenceMax) + ",day," + strings.Repeat("ü", NameMax) + ",,," + strings.Repeat("z", NotesMax), ""},
		{"r14,vip,,,,", `ticket_type: the event has no type "vip"`},
		{"good,vip,a\x00b,,gone,", `ticket_type: the event has no type "vip"; name: has a control character in it; status: "gone" is not paid, unpaid or cancelled; the reference is on line 2 already`},
		{"r13,day,\"open,,,", "a quoted cell is not ended properly"},
	}
	var file strings.Builder
	file.WriteString("reference,ticket_type,name,email,status,notes\n")
	for _, r := range rows {
		file.WriteString(r.row + "\n")
	}
	_, err := readRows(strings.NewReader(file.String()))
	var bad *FileError
	require.ErrorAs(t, err, &bad)
	got := map[int]string{}
	for _, r := range bad.Rows {
		got[r.Line] = r.Reason
	}
	for i, r := range rows {
		require.Contains(t, got[i+2], r.want, "line %d", i+2)
		require.Equal(t, r.want == "", got[i+2] == "", "line %d: %s", i+2, got[i+2])
	}
	require.Contains(t, err.Error(), fmt.Sprintf("%d bad rows, nothing was imported", len(bad.Rows)))
	require.Contains(t, err.Error(), "\n  line 5: reference \"r2\": status: ")
}

func TestSheetListsABoundedNumberOfRowsAndCountsTheRest(t *testing.T) {
	t.Parallel()
	_, err := readRows(strings.NewReader("reference,ticket_type\n" + strings.Repeat(",day\n", listedRowsMax+7)))
	var bad *FileError
	require.ErrorAs(t, err, &bad)
	require.Len(t, bad.Rows, listedRowsMax)
	require.Equal(t, 7, bad.More)
	require.Contains(t, err.Error(), "107 bad rows")
	require.True(t, strings.HasSuffix(err.Error(), "and 7 more"))
}

func TestBadRowsOfTwoKindsAreListedInOrderAndCountedOnce(t *testing.T) {
	t.Parallel()
	var rows []row
	var bad FileError
	for line := 2; line <= 2*listedRowsMax; line++ {
		rows = append(rows, row{line: line, reference: "r", bad: line%2 == 0})
		if line%2 == 0 {
			bad.report(line, "r", "odd")
		}
	}
	got := bad.with(rows, "known")
	require.Len(t, got.Rows, listedRowsMax)
	require.Equal(t, len(rows), len(got.Rows)+got.More)
	for i, r := range got.Rows {
		require.Equal(t, i+2, r.Line)
		require.Equal(t, map[bool]string{true: "odd; known", false: "known"}[r.Line%2 == 0], r.Reason)
	}
	require.Len(t, bad.Rows, listedRowsMax)
	require.Equal(t, "odd", bad.Rows[0].Reason, "the list before stays as it is")
	require.NoError(t, new(FileError).with(nil, "known").orNil())
}

// endless is a file that never stops, of one line that never ends.
type endless struct{ read int64 }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	e.read += int64(len(p))
	return len(p), nil
}

func TestSheetStopsReadingAtItsLimits(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("reads 128 MiB")
	}
	source := &endless{}
	_, err := readRows(io.MultiReader(strings.NewReader("reference,ticket_type\nA-1,\""), source))
	require.Error(t, err)
	require.LessOrEqual(t, source.read, int64(FileBytesMax)+(1<<20))

	var rows bytes.Buffer
	rows.WriteString("reference,ticket_type\n")
	for i := range RowsMax + 1 {
		fmt.Fprintf(&rows, "%d,d\n", i)
	}
	_, err = readRows(&rows)
	require.ErrorContains(t, err, "line 1000002: the file has more than 1000000 rows")
}

func TestFailingSourceIsNotABadFile(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk on fire")
	for _, start := range []string{"", "reference,", "reference,ticket_type\nA-1,day\n"} {
		_, err := readRows(io.MultiReader(strings.NewReader(start), failing{broken}))
		require.ErrorIs(t, err, broken, start)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func FuzzCSV(f *testing.F) {
	f.Add([]byte("reference,name,email,ticket_type,status,notes\nA-1,Ann,a@b,day,paid,\"x\ny\"\n"))
	f.Add([]byte("\xef\xbb\xbfticket_type,reference\r\nday,A-1\r\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		s, err := readRows(bytes.NewReader(file))
		var bad *FileError
		if errors.As(err, &bad) {
			require.NotEmpty(t, bad.Rows)
			require.LessOrEqual(t, len(bad.Rows), listedRowsMax)
			require.NotEmpty(t, bad.Error())
			return
		}
		require.NoError(t, err, "reading from memory does not fail")
		seen := map[string]bool{}
		for i := range s.rows {
			r := &s.rows[i]
			require.NotEmpty(t, r.reference)
			require.NotEmpty(t, r.typeKey)
			require.False(t, seen[r.reference])
			seen[r.reference] = true
			for _, text := range []string{r.reference, r.typeKey, r.name, r.email, r.notes} {
				require.True(t, utf8.ValidString(text))
				require.NotContains(t, text, "\x00")
				require.LessOrEqual(t, utf8.RuneCountInString(text), NotesMax)
			}
			r.line = 0
		}
		again, err := readRows(strings.NewReader(write(t, s)))
		require.NoError(t, err)
		for i := range again.rows {
			again.rows[i].line = 0
		}
		require.Equal(t, s.rows, again.rows, "a sheet that was read reads the same when it is written")
	})
}

func write(t *testing.T, s sheet) string {
	t.Helper()
	var out strings.Builder
	w := csv.NewWriter(&out)
	require.NoError(t, w.Write(columns()))
	for _, r := range s.rows {
		require.NoError(t, w.Write([]string{r.reference, r.typeKey, r.name, r.email, string(r.status), r.notes}))
	}
	w.Flush()
	require.NoError(t, w.Error())
	return out.String()
}
