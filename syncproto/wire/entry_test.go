package wire

import (
	"encoding/json"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/syncproto"
)

func anyText[T ~string](t *rapid.T, name string, words ...string) T {
	return T(rapid.OneOf(
		rapid.SampledFrom(append(words, "", "Nord 1", `a"b`, `a\b`, "<&>", "Zürich", "\x00", "\x7f", "\xff", "\u2028")), rapid.StringN(0, 300, -1),
	).Draw(t, name))
}

func anyBytes(t *rapid.T, dst []byte, name string) {
	if rapid.Bool().Draw(t, name+" set") {
		copy(dst, rapid.SliceOfN(rapid.Byte(), len(dst), len(dst)).Draw(t, name))
	}
}

func anyEntry(t *rapid.T) (e syncproto.Entry) {
	e.Seq, e.Of.Seq = rapid.Uint64().Draw(t, "seq"), rapid.Uint64().Draw(t, "of_seq")
	e.Kind, e.Reason = anyText[syncproto.Kind](t, "kind", "admit", "undo"), anyText[syncproto.Reason](t, "reason", "admitted")
	e.T, e.At = syncproto.HLC(rapid.Uint64().Draw(t, "t")), rapid.Int64().Draw(t, "at")
	e.OffsetMS, e.ErrMS = rapid.Int64().Draw(t, "off"), rapid.Int64().Draw(t, "err")
	e.Event, e.Ticket = syncproto.EventNo(rapid.Uint32().Draw(t, "ev")), syncproto.TicketNo(rapid.Uint32().Draw(t, "n"))
	e.Lane, e.Zone = anyText[string](t, "lane", "N1"), anyText[string](t, "zone", "main")
	e.Direction = anyText[syncproto.Direction](t, "dir", "in", "out")
	e.By, e.Note = anyText[string](t, "by"), anyText[string](t, "note")
	anyBytes(t, e.Incarnation[:], "inc")
	anyBytes(t, e.Code[:], "code")
	anyBytes(t, e.Of.Incarnation[:], "of")
	anyBytes(t, e.ParentHash[:], "parent")
	anyBytes(t, e.Hash[:], "hash")
	return e
}

func TestEntryIsTheJSONOfEncodingJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		entry, old := anyEntry(t), anyEntry(t)
		line, err := AppendEntry([]byte("before"), &entry)
		require.NoError(t, err)
		want, err := json.Marshal(&entry)
		require.NoError(t, err)
		require.Equal(t, "before"+string(want), string(line))

		var slow syncproto.Entry
		require.NoError(t, json.Unmarshal(want, &slow))
		require.NoError(t, ParseEntry(want, &old))
		require.Equal(t, slow, old, "nothing is left of what was there before")
	})
}

func TestEntryRecordIsTheJSONOfEncodingJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		e := syncproto.EntryRecord{
			Entry: anyEntry(t), Outcome: anyText[syncproto.Outcome](t, "outcome", "first", "duplicate"), Untrusted: rapid.Bool().Draw(t, "untrusted"),
		}
		anyBytes(t, e.Device[:], "device")
		anyBytes(t, e.OfEntry.Incarnation[:], "outcome_of")
		rec := syncproto.Record{Kind: syncproto.RecordEntry, Entry: &e}
		line, err := AppendRecord(nil, &rec)
		require.NoError(t, err)
		want, err := json.Marshal(&rec)
		require.NoError(t, err)
		require.Equal(t, string(want), string(line))

		var fast, slow syncproto.Record
		require.NoError(t, ParseRecord(line, &fast))
		require.NoError(t, parseAnyRecord(line, &slow))
		require.Equal(t, slow, fast)
	})
}

// plainRecord is an entry record with every field, of the form that is read and
// written without encoding/json.
func plainRecord() syncproto.Record {
	id := uuid.MustParse("0199c6d2-8400-7abc-8def-0123456789ab")
	ref := syncproto.Ref{Incarnation: id, Seq: 6}
	return syncproto.Record{Kind: syncproto.RecordEntry, Entry: &syncproto.EntryRecord{
		Entry: syncproto.Entry{
			Incarnation: id, Seq: 7, Kind: syncproto.KindUndo, Reason: syncproto.ReasonOverride, T: 1 << 63, At: -1, OffsetMS: -20, ErrMS: 3,
			Event: 1, Ticket: 2, Code: syncproto.CodeHash{1}, Lane: "N1", Zone: "main", Direction: syncproto.In,
			Of: ref, ParentHash: syncproto.Hash{2}, By: "kim", Note: "let back in", Hash: syncproto.Hash{3},
		},
		Device: id, Outcome: syncproto.OutcomeDuplicate, OfEntry: ref, Untrusted: true,
	}}
}

// It counts memory, so it is not parallel.
func TestPlainEntriesTakeTheShortWay(t *testing.T) {
	want := plainRecord()
	line, ok := appendEntryRecord(nil, &want)
	require.True(t, ok)
	var got syncproto.Record
	require.True(t, parseEntryRecord(line, &got))
	require.Equal(t, want, got)

	line, err := AppendEntry(nil, &want.Entry.Entry)
	require.NoError(t, err)
	var e syncproto.Entry
	require.NoError(t, ParseEntry(line, &e))
	buf := make([]byte, 0, len(line))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		buf, _ = AppendEntry(buf[:0], &e)
		_ = ParseEntry(buf, &e)
	}))
}

func TestWhatIsNoEntryIsRefused(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		``, `[]`, `{"seq":-1}`, `{"inc":"x"}`, `{"n":4294967296}`, `{"t":1}`, `{"hash":"AAAA"}`, `{"seq":1}}`,
		`{"hash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB"}`,
	} {
		e := syncproto.Entry{Seq: 5}
		require.Error(t, ParseEntry([]byte(line), &e), line)
		require.Equal(t, syncproto.Entry{Seq: 5}, e, line)
	}
}

func TestUnknownFieldsOfAnEntryAreIgnored(t *testing.T) {
	t.Parallel()
	want := plainRecord()
	line, err := AppendEntry(nil, &want.Entry.Entry)
	require.NoError(t, err)
	line = append(line[:len(line)-1], `,"turnstile":[1]}`...)
	var e syncproto.Entry
	require.NoError(t, ParseEntry(line, &e))
	require.Equal(t, want.Entry.Entry, e)
}

// FuzzParseEntry holds the quick parser to what encoding/json says.
func FuzzParseEntry(f *testing.F) {
	rec := plainRecord()
	line, err := AppendEntry(nil, &rec.Entry.Entry)
	require.NoError(f, err)
	f.Add(line)
	f.Fuzz(func(t *testing.T, line []byte) {
		quick := rec.Entry.Entry
		var slow syncproto.Entry
		errSlow := json.Unmarshal(line, &slow)
		require.Equal(t, errSlow == nil, ParseEntry(line, &quick) == nil)
		if errSlow != nil {
			return
		}
		require.Equal(t, slow, quick)
		again, err := AppendEntry(nil, &quick)
		require.NoError(t, err)
		want, err := json.Marshal(&quick)
		require.NoError(t, err)
		require.Equal(t, string(want), string(again))
	})
}
