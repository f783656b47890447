package wire

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/syncproto"
)

func anyTicket(t *rapid.T) syncproto.Ticket {
	out := syncproto.Ticket{
		No:       syncproto.TicketNo(rapid.Uint32().Draw(t, "no")),
		Rev:      rapid.Int64().Draw(t, "rev"),
		Type:     syncproto.TypeNo(rapid.Uint16().Draw(t, "type")),
		StatusAt: rapid.Int64().Draw(t, "status_at"),
		Status: syncproto.Status(rapid.OneOf(
			rapid.SampledFrom([]string{"paid", "unpaid", "cancelled", "revoked", "", "on_hold"}), rapid.StringN(0, 20, -1),
		).Draw(t, "status")),
	}
	copy(out.Code[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "code"))
	return out
}

func TestTicketRecordIsTheJSONOfEncodingJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ticket := anyTicket(t)
		rec := syncproto.Record{Kind: syncproto.RecordTicket, Ticket: &ticket}
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

func TestHolderRecordIsTheJSONOfEncodingJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rec := syncproto.Record{Kind: syncproto.RecordHolder, Holder: &syncproto.HolderRecord{
			No: syncproto.TicketNo(rapid.Uint32().Draw(t, "no")), Rev: rapid.Int64().Draw(t, "rev"), Box: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "box"),
		}}
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

func TestUnknownKindHasOnlyItsKind(t *testing.T) {
	t.Parallel()
	rec := syncproto.Record{Ticket: &syncproto.Ticket{No: 7}}
	require.NoError(t, ParseRecord([]byte(`{"k":"turnstile","ticket":"of another shape","x":[1]}`), &rec))
	require.Equal(t, syncproto.Record{Kind: "turnstile"}, rec)
}

func TestRecordWithoutItsFieldIsRefused(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		``, `{}`, `null`, `[]`, `{"k":"ticket"}`, `{"k":"ticket","ticket":null}`, `{"k":"entry","ticket":{"n":1}}`,
		`{"k":"ticket","ticket":{"n":1,"h":"AAAAAAAAAAAAAAAAAAAA\n\n"}}`,
		`{"k":"ticket","ticket":{"n":4294967296}}`, `{"k":"ticket","ticket":{"n":-1}}`, `{"k":"rules","rules":[]}`,
		`{"k":"holder"}`, `{"k":"holder","holder":{"n":1,"rev":1,"box":"AA"}}`, `{"k":"holder","holder":{"n":-1}}`, `{"k":"vault","vault":null}`,
	} {
		var rec syncproto.Record
		require.Error(t, ParseRecord([]byte(line), &rec), line)
		require.Equal(t, syncproto.Record{}, rec, line)
	}
}

// FuzzParseRecord holds the quick parser to what encoding/json says.
func FuzzParseRecord(f *testing.F) {
	rec := plainRecord()
	line, err := AppendRecord(nil, &rec)
	require.NoError(f, err)
	f.Add(line)
	f.Fuzz(func(t *testing.T, line []byte) {
		var quick, slow syncproto.Record
		quick.Ticket = &syncproto.Ticket{No: 99, Status: "left over"}
		errQuick := ParseRecord(line, &quick)
		if len(line) >= syncproto.LineBytesMax {
			require.Error(t, errQuick)
			return
		}
		errSlow := parseAnyRecord(line, &slow)
		require.Equal(t, errSlow == nil, errQuick == nil, "%v, %v", errSlow, errQuick)
		if errSlow != nil {
			return
		}
		require.Equal(t, slow, quick)
		again, err := AppendRecord(nil, &quick)
		if err != nil {
			return // longer than a line once it is escaped
		}
		want, err := json.Marshal(&quick)
		require.NoError(t, err)
		require.Equal(t, string(want), string(again))
	})
}

func BenchmarkTicketRecord(b *testing.B) {
	tickets := make([]syncproto.Record, 1000)
	lines := make([][]byte, len(tickets))
	for i := range tickets {
		tk := syncproto.Ticket{No: syncproto.TicketNo(i + 1), Rev: 1, Type: 3, Status: syncproto.StatusPaid, StatusAt: 1_760_000_000_000}
		tk.Code[0], tk.Code[15] = byte(i), byte(i>>8)
		tickets[i] = syncproto.Record{Kind: syncproto.RecordTicket, Ticket: &tk}
		line, err := AppendRecord(nil, &tickets[i])
		require.NoError(b, err)
		lines[i] = line
	}
	b.Run("encode 1M", func(b *testing.B) {
		buf := make([]byte, 0, 256)
		for b.Loop() {
			for i := range 1_000_000 {
				var err error
				if buf, err = AppendRecord(buf[:0], &tickets[i%len(tickets)]); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("parse 1M", func(b *testing.B) {
		var rec syncproto.Record
		for b.Loop() {
			for i := range 1_000_000 {
				if err := ParseRecord(lines[i%len(lines)], &rec); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
