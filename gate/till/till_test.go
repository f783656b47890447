package till_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/gate/till"
	"gatehouse/syncproto"
)

// seal is a seal key and what opens it.
func seal(t *testing.T) (*syncproto.SignedKey, []byte) {
	t.Helper()
	private, public, err := syncproto.NewBoxKey()
	require.NoError(t, err)
	return &syncproto.SignedKey{Purpose: syncproto.PurposeSeal, ID: 3, Public: public}, private
}

func TestASaleIsKeptUntilItIsRemovedAndReadByNobodyElse(t *testing.T) {
	t.Parallel()
	key, private := seal(t)
	dir := filepath.Join(t.TempDir(), "walkup")
	box, err := till.Open(dir)
	require.NoError(t, err)
	details := syncproto.SaleDetails{Event: 1, Ticket: 70, Name: "Ada Lovelace", Email: "ada@example.org", Code: "AIAA"}
	sale, err := till.Seal(key, details)
	require.NoError(t, err)
	require.NoError(t, box.Put(sale))

	again, err := till.Open(dir) // after a restart
	require.NoError(t, err)
	waiting, err := again.Next(0)
	require.NoError(t, err)
	require.Equal(t, []syncproto.SealedSale{sale}, waiting)
	plain, err := syncproto.OpenSealed(private, syncproto.PurposeWalkUp, waiting[0].Sealed)
	require.NoError(t, err)
	var got syncproto.SaleDetails
	require.NoError(t, json.Unmarshal(plain, &got))
	require.Equal(t, details, got)
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 1)
	for _, f := range files {
		info, err := f.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		body, err := os.ReadFile(filepath.Join(dir, f.Name()))
		require.NoError(t, err)
		for _, text := range []string{"Ada", "Lovelace", "ada@example.org", "AIAA"} {
			require.NotContains(t, string(body), text)
		}
	}
	require.NoError(t, again.Remove(70))
	require.NoError(t, again.Remove(70), "twice is as good as once")
	require.Zero(t, again.Waiting())
}

// The longest names that are taken fit what central takes.
func TestTheLongestSaleFits(t *testing.T) {
	t.Parallel()
	key, _ := seal(t)
	for _, letter := range []string{"<", `"`, `\`, "ü", "\u2028"} {
		long := strings.Repeat(letter, syncproto.TextMax/len(letter))
		sale, err := till.Seal(key, syncproto.SaleDetails{Event: 1 << 31, Ticket: 1 << 30, Name: long, Email: long, Code: strings.Repeat("A", 136)})
		require.NoError(t, err)
		require.LessOrEqual(t, len(sale.Sealed), syncproto.SealedSaleMax, letter)
	}
}

func TestSalesAreOfferedInTheirOrderAPartAtATime(t *testing.T) {
	t.Parallel()
	box, err := till.Open(t.TempDir())
	require.NoError(t, err)
	const n = syncproto.WalkUpSalesMax + 5
	for i := n; i > 0; i-- {
		require.NoError(t, box.Put(syncproto.SealedSale{Ticket: syncproto.TicketNo(i), Key: 1, Sealed: []byte("x")}))
	}
	first, err := box.Next(0)
	require.NoError(t, err)
	require.Len(t, first, syncproto.WalkUpSalesMax)
	rest, err := box.Next(first[len(first)-1].Ticket)
	require.NoError(t, err)
	require.Len(t, rest, 5)
	require.Equal(t, syncproto.TicketNo(n), rest[4].Ticket)
	require.Equal(t, n, box.Waiting())
}

func TestTheTillHasALimit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	box, err := till.Open(dir)
	require.NoError(t, err)
	for i := range till.SalesMax {
		require.NoError(t, os.WriteFile(filepath.Join(dir, strconv.Itoa(i+1)+".sealed"), nil, 0o600))
	}
	more := syncproto.SealedSale{Ticket: till.SalesMax + 1, Key: 1, Sealed: []byte("x")}
	require.ErrorIs(t, box.Put(more), till.ErrFull)
	require.NoError(t, box.Remove(7))
	require.NoError(t, box.Put(more))
}

func TestADamagedFileIsPassedOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	box, err := till.Open(dir)
	require.NoError(t, err)
	require.NoError(t, box.Put(syncproto.SealedSale{Ticket: 9, Key: 1, Sealed: []byte("x")}))
	for name, body := range map[string]string{
		"7.sealed": "not json", "8.sealed": `{"n":9,"kid":1,"sealed":"eA=="}`, "notes.txt": "x", "x.sealed": "x", "99999999999.sealed": "{}",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600))
	}
	waiting, err := box.Next(0)
	require.NoError(t, err)
	require.Len(t, waiting, 1)
	require.Equal(t, syncproto.TicketNo(9), waiting[0].Ticket)
}

func TestTheMarkIsOfThisUserAlone(t *testing.T) {
	t.Parallel()
	dir, device := t.TempDir(), uuid.New()
	m := till.NewMark(dir, device)
	_, ok := m.Get()
	require.False(t, ok, "a box that was just switched on has none")
	at := syncproto.Ref{Incarnation: uuid.New(), Seq: 7}
	require.NoError(t, m.Set(at))
	got, ok := till.NewMark(dir, device).Get()
	require.True(t, ok)
	require.Equal(t, at, got)
	require.NoError(t, m.Clear())
	require.NoError(t, m.Clear())
	_, ok = m.Get()
	require.False(t, ok)
	require.NoError(t, m.Set(at))
	_, ok = till.NewMark(dir, uuid.New()).Get()
	require.False(t, ok, "of another gate")

	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 1)
	path := filepath.Join(dir, files[0].Name())
	require.NoError(t, os.Chmod(path, 0o666))
	_, ok = m.Get()
	require.False(t, ok, "others could have written it")
	body, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	elsewhere := filepath.Join(t.TempDir(), "mark")
	require.NoError(t, os.WriteFile(elsewhere, body, 0o600))
	require.NoError(t, os.Symlink(elsewhere, path))
	_, ok = m.Get()
	require.False(t, ok, "a link leads anywhere")
	require.NoError(t, os.Remove(path))
	for _, garbage := range [][]byte{nil, []byte("{}"), []byte("x"), bytes.Repeat([]byte("7"), 99)} {
		require.NoError(t, os.WriteFile(path, garbage, 0o600))
		_, ok = m.Get()
		require.False(t, ok, "%q", garbage)
	}
}
