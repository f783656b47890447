package node_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/gate/node"
	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
)

const (
	laneIn = iota
	laneIn2
	laneOut
)

var (
	start       = time.Date(2026, 7, 10, 10, 0, 0, 0, time.UTC)
	stream      = uuid.MustParse("01890000-0000-7000-8000-0000000000ee")
	device      = uuid.MustParse("01890000-0000-7000-8000-0000000000d1")
	other       = uuid.MustParse("01890000-0000-7000-8000-0000000000d2")
	incarnation = uuid.MustParse("01890000-0000-7000-8000-0000000000a1")
	hashKey     = []byte("0123456789abcdef0123456789abcdef")
)

func key(seed string) ed25519.PrivateKey {
	s := sha256.Sum256([]byte(seed))
	return ed25519.NewKeyFromSeed(s[:])
}

func trust() syncproto.TrustBundle {
	root := key("root")
	b := syncproto.TrustBundle{Central: uuid.MustParse("01890000-0000-7000-8000-0000000000cc"), Root: root.Public().(ed25519.PublicKey)}
	k := syncproto.SignedKey{Purpose: syncproto.PurposeTicket, ID: 1, Public: key("ticket").Public().(ed25519.PublicKey)}
	k.RootSig = ed25519.Sign(root, k.Preimage(b.Central))
	b.Keys = append(b.Keys, k)
	return b
}

// world is a node with what its shells would keep for it.
type world struct {
	t       *testing.T
	n       *node.Node
	now     time.Time
	entries []syncproto.Entry
	out     node.Output
}

func config() node.Config {
	return node.Config{
		Device: device, Event: 1, Stream: stream, Pinned: syncproto.Fingerprint(key("root").Public().(ed25519.PublicKey)), HashKey: hashKey,
		Lanes: []node.LaneConfig{
			{Name: "N1", Zone: "main", Direction: syncproto.In},
			{Name: "N2", Zone: "main", Direction: syncproto.In},
			{Name: "X1", Zone: "main", Direction: syncproto.Out},
		},
		Incarnation: incarnation, NextSeq: 2, Journal: []node.Watermark{{Incarnation: incarnation, Last: 1}},
		Jitter: func() float64 { return 0.5 }, App: "test",
	}
}

func empty(t *testing.T, change ...func(*node.Config)) *world {
	cfg := config()
	for _, c := range change {
		c(&cfg)
	}
	n, err := node.New(cfg)
	require.NoError(t, err)
	return &world{t: t, n: n, now: start}
}

func code(t testing.TB, f credential.Fields) string {
	if f.Key == 0 {
		f.Key = 1
	}
	if f.Event == 0 {
		f.Event = 1
	}
	if f.Type == 0 {
		f.Type = 1
	}
	text, err := credential.Sign(key("ticket"), f)
	require.NoError(t, err)
	return text
}

func ticket(t testing.TB, no syncproto.TicketNo, status syncproto.Status) *syncproto.Ticket {
	return &syncproto.Ticket{No: no, Rev: 1, Code: credential.NewHasher(hashKey).Sum([]byte(code(t, credential.Fields{Ticket: no}))), Type: 1, Status: status}
}

func rules() *syncproto.Rules {
	return &syncproto.Rules{
		Rev: 1, Event: 1, Stream: stream, Name: "Fest", Timezone: "UTC", Admits: true, Zones: []syncproto.Zone{{Name: "main"}},
		Types: []syncproto.TicketType{{No: 1, Key: "day", Zones: []string{"main"}, EntriesTotal: 1, Reentry: syncproto.ReentryNone}},
	}
}

// loaded has tickets 1 to 11, of which 8 is unpaid, 9 cancelled, 10 revoked and 11 incomplete.
func (w *world) loaded() node.Loaded {
	b := trust()
	l := node.Loaded{Rules: rules(), Trust: &b, Cursor: "c5", Seq: 5}
	for no := syncproto.TicketNo(1); no <= 11; no++ {
		status := map[syncproto.TicketNo]syncproto.Status{8: syncproto.StatusUnpaid, 9: syncproto.StatusCancelled, 10: syncproto.StatusRevoked, 11: syncproto.StatusIncomplete}[no]
		if status == "" {
			status = syncproto.StatusPaid
		}
		l.Add(&syncproto.Record{Kind: syncproto.RecordTicket, Ticket: ticket(w.t, no, status)})
	}
	return l
}

func ready(t *testing.T, change ...func(*node.Config)) *world {
	w := empty(t, change...)
	w.n.Restore(w.now, w.loaded())
	return w
}

func (w *world) step(in node.Input) node.Output {
	w.out = w.n.Step(w.now, in)
	return w.out
}

// scan reads a text on a lane and journals what the node says.
func (w *world) scan(lane int, text string) node.Decision {
	w.t.Helper()
	out := w.step(node.Scan{Lane: lane, Text: []byte(text)})
	if out.Journal {
		w.entries = append(w.entries, out.Entry)
		w.step(node.Durable{Seq: out.Entry.Seq})
	}
	return out.Decision
}

func (w *world) scanNo(lane int, no syncproto.TicketNo) node.Decision {
	w.t.Helper()
	return w.scan(lane, code(w.t, credential.Fields{Ticket: no}))
}

func TestWithoutARosterNobodyIsAccused(t *testing.T) {
	d := empty(t).scanNo(laneIn, 1)
	require.Equal(t, node.Deny, d.Decision)
	require.Equal(t, syncproto.ReasonNotReady, d.Reason)
}

func TestAnAdmissionIsReservedAtTheDecision(t *testing.T) {
	w := ready(t)
	out := w.step(node.Scan{Lane: laneIn, Text: []byte(code(t, credential.Fields{Ticket: 1}))})
	require.True(t, out.Journal)
	require.Equal(t, syncproto.KindAdmit, out.Entry.Kind)
	require.Equal(t, uint64(2), out.Entry.Seq)
	require.Equal(t, syncproto.TicketNo(1), out.Decision.Ticket)
	d := w.scanNo(laneIn2, 1)
	require.Equal(t, syncproto.ReasonDuplicate, d.Reason, "before the first is durable")
	require.Equal(t, "N1", d.Of.Lane, "a duplicate says where it was used first")
	require.Equal(t, uint64(3), w.entries[0].Seq, "the denial of a known ticket is journalled")
}

func TestWhatIsJournalled(t *testing.T) {
	forged, err := credential.Sign(key("thief"), credential.Fields{Key: 1, Event: 1, Ticket: 5, Type: 1})
	require.NoError(t, err)
	for _, c := range []struct {
		name   string
		text   string
		want   syncproto.Reason
		stored bool
		known  bool
	}{
		{"known", code(t, credential.Fields{Ticket: 1}), syncproto.ReasonAdmitted, true, true},
		{"unpaid", code(t, credential.Fields{Ticket: 8}), syncproto.ReasonUnpaid, true, true},
		{"lacks an answer", code(t, credential.Fields{Ticket: 11}), syncproto.ReasonIncomplete, true, true},
		{"cancelled", code(t, credential.Fields{Ticket: 9}), syncproto.ReasonCancelled, true, true},
		{"revoked", code(t, credential.Fields{Ticket: 10}), syncproto.ReasonRevoked, true, true},
		{"replaced by a newer code", code(t, credential.Fields{Ticket: 2, Issue: 1}), syncproto.ReasonRevoked, true, true},
		{"genuine, sold a minute ago", code(t, credential.Fields{Ticket: 77}), syncproto.ReasonAdmitted, true, false},
		{"genuine, sold and not paid", code(t, credential.Fields{Ticket: 78, NeedsRoster: true}), syncproto.ReasonUnknown, false, false},
		{"other event", code(t, credential.Fields{Ticket: 1, Event: 2}), syncproto.ReasonWrongEvent, true, false},
		{"key not heard of", code(t, credential.Fields{Ticket: 79, Key: 9}), syncproto.ReasonUnknown, false, false},
		{"forged", forged, syncproto.ReasonBadSignature, false, false},
		{"garbage", "https://example.org/ticket/1", syncproto.ReasonMalformed, false, false},
		{"empty", "", syncproto.ReasonMalformed, false, false},
		{"binary", string([]byte{0, 1, 2, 255}), syncproto.ReasonMalformed, false, false},
	} {
		w := ready(t)
		d := w.scan(laneIn, c.text)
		require.Equal(t, c.want, d.Reason, c.name)
		require.Equal(t, c.stored, len(w.entries) == 1, c.name)
		require.Equal(t, c.known, d.Known, c.name)
	}
}

func TestAnUnknownTicketEntersOnceToo(t *testing.T) {
	w := ready(t)
	require.Equal(t, syncproto.ReasonAdmitted, w.scanNo(laneIn, 77).Reason)
	require.Equal(t, syncproto.ReasonDuplicate, w.scanNo(laneIn2, 77).Reason)
}

func TestSameCodeGuard(t *testing.T) {
	w := ready(t)
	require.Equal(t, node.Admit, w.scanNo(laneIn, 1).Decision)
	for range 3 {
		w.now = w.now.Add(2 * time.Second)
		d := w.scanNo(laneIn, 1)
		require.Equal(t, node.Repeat, d.Decision, "each re-read extends the guard")
		require.Equal(t, syncproto.ReasonSameCode, d.Reason)
	}
	require.Len(t, w.entries, 1, "a repeat is not journalled")
	w.scanNo(laneIn, 2) // another guest between two reads of the first code
	require.Equal(t, node.Repeat, w.scanNo(laneIn, 1).Decision)
	w.now = w.now.Add(node.DefaultGuard)
	require.Equal(t, syncproto.ReasonDuplicate, w.scanNo(laneIn, 1).Reason, "after the guard it is a second use")
	d := w.scanNo(laneIn, 1)
	require.Equal(t, node.Deny, d.Decision, "a refused code repeats its refusal")
	require.Equal(t, syncproto.ReasonDuplicate, d.Reason)
	require.Len(t, w.entries, 3)
}

func TestGuardIsOfOneLaneAndCanBeOff(t *testing.T) {
	w := ready(t)
	w.scanNo(laneIn, 1)
	require.Equal(t, syncproto.ReasonDuplicate, w.scanNo(laneIn2, 1).Reason)
	w = ready(t, func(c *node.Config) { c.Guard = -1 })
	w.scanNo(laneIn, 1)
	require.Equal(t, syncproto.ReasonDuplicate, w.scanNo(laneIn, 1).Reason)
}

func TestExitLane(t *testing.T) {
	w := ready(t)
	require.Equal(t, syncproto.ReasonNotInside, w.scanNo(laneOut, 1).Reason)
	w.scanNo(laneIn, 1)
	w.now = w.now.Add(time.Minute)
	require.Equal(t, node.Exit, w.scanNo(laneOut, 1).Decision)
}

func TestABrokenJournalFailsClosed(t *testing.T) {
	w := ready(t)
	w.step(node.JournalBroken{})
	d := w.scanNo(laneIn, 1)
	require.Equal(t, syncproto.ReasonDeviceFault, d.Reason)
	require.Empty(t, w.entries)
}

func TestALaneIntoNowhereBlamesNobody(t *testing.T) {
	w := ready(t, func(c *node.Config) { c.Lanes[0].Zone = "nozone" })
	d := w.scanNo(laneIn, 1)
	require.Equal(t, syncproto.ReasonLaneFault, d.Reason)
	require.Empty(t, w.entries, "and nothing is held against the ticket")
	st := w.n.Status(w.now)
	require.Contains(t, st.Fault, "nozone")
	require.False(t, st.Lanes[0].Ready)
	require.Equal(t, node.Admit, w.scanNo(laneIn2, 1).Decision)
}

func TestTimeOfEntriesNeverGoesBack(t *testing.T) {
	w := ready(t, func(c *node.Config) { c.Last = syncproto.HLCAt(start.Add(time.Hour)) })
	last := syncproto.HLCAt(start.Add(time.Hour))
	for no := syncproto.TicketNo(1); no <= 5; no++ {
		w.now = w.now.Add(-time.Minute) // a box without a battery-backed clock
		w.scanNo(laneIn, no)
		e := w.entries[len(w.entries)-1]
		require.Greater(t, e.T, last)
		last = e.T
	}
}

// A box that starts in 1970 and cannot ask anybody knows from its journal that it is
// later, and judges hours by that. It believes central more.
func TestHoursAreNotJudgedFromBeforeTheLastEntry(t *testing.T) {
	w := ready(t, func(c *node.Config) { c.Last = syncproto.HLCAt(start) })
	from := start.Add(-time.Hour).Unix()
	genuine := func(no syncproto.TicketNo) []byte {
		return []byte(code(t, credential.Fields{Ticket: no, NotBefore: from}))
	}
	w.now = time.Unix(0, 0)
	d := w.n.Verify(w.now, "", "", genuine(5001))
	require.Equal(t, node.Admit, d.Decision, d.Reason)
	require.Equal(t, start.UnixMilli(), d.At.UnixMilli())
	w.now = w.now.Add(time.Minute)
	require.Equal(t, start.Add(time.Minute).UnixMilli(), w.n.Verify(w.now, "", "", genuine(5001)).At.UnixMilli(), "time goes on")
	w.scan(laneIn, string(genuine(5002)))
	e := w.entries[len(w.entries)-1]
	require.Equal(t, syncproto.KindAdmit, e.Kind)
	require.Equal(t, start.Add(time.Minute).UnixMilli(), e.At+e.OffsetMS)
	require.EqualValues(t, 60_000, e.ErrMS, "and says that it is a guess")
}

func TestVerifyLeavesNoTrace(t *testing.T) {
	w := ready(t)
	text := []byte(code(t, credential.Fields{Ticket: 1}))
	for range 2 {
		require.Equal(t, node.Admit, w.n.Verify(w.now, "", "", text).Decision)
	}
	require.Equal(t, syncproto.ReasonLaneFault, w.n.Verify(w.now, "nowhere", syncproto.In, text).Reason)
	require.Equal(t, node.Admit, w.scanNo(laneIn, 1).Decision)
	require.Equal(t, int64(1), w.n.Status(w.now).Counts.Admitted)
}

func entryOf(dev, inc uuid.UUID, seq uint64, kind syncproto.Kind, no syncproto.TicketNo, at time.Time) *syncproto.EntryRecord {
	return &syncproto.EntryRecord{Device: dev, Entry: syncproto.Entry{
		Incarnation: inc, Seq: seq, Kind: kind, T: syncproto.HLCAt(at), At: at.UnixMilli(), Event: 1, Ticket: no, Lane: "S1", Zone: "main", Direction: syncproto.In,
	}}
}

func TestUsesElsewhereArriveWithThePages(t *testing.T) {
	w := greeted(t)
	w.page(5, 6, syncproto.Record{Kind: syncproto.RecordDevice, Device: &syncproto.DeviceRecord{Device: other, Rev: 1, Name: "South"}},
		syncproto.Record{Kind: syncproto.RecordEntry, Entry: entryOf(other, other, 2, syncproto.KindAdmit, 3, start)})
	d := w.scanNo(laneIn, 3)
	require.Equal(t, syncproto.ReasonDuplicate, d.Reason)
	require.Equal(t, "South", d.Of.Gate)
	require.Equal(t, "S1", d.Of.Lane)
}

func TestOwnFactsStayTrueWhileCentralDoesNotTrustThem(t *testing.T) {
	w := greeted(t)
	w.scanNo(laneIn, 3)
	own := &syncproto.EntryRecord{Entry: w.entries[0], Device: device, Untrusted: true, Outcome: syncproto.OutcomeUntrusted}
	w.page(5, 6, syncproto.Record{Kind: syncproto.RecordEntry, Entry: own})
	require.Equal(t, syncproto.ReasonDuplicate, w.scanNo(laneIn2, 3).Reason)
	foreign := entryOf(other, other, 2, syncproto.KindAdmit, 4, start)
	foreign.Untrusted = true
	w.page(6, 7, syncproto.Record{Kind: syncproto.RecordEntry, Entry: foreign})
	require.Equal(t, node.Admit, w.scanNo(laneIn, 4).Decision, "a stolen gate uses up nobody's ticket")
}

func TestAFarAheadClockDoesNotMoveOurs(t *testing.T) {
	w := greeted(t)
	w.page(5, 6, syncproto.Record{Kind: syncproto.RecordEntry, Entry: entryOf(other, other, 2, syncproto.KindAdmit, 3, start.Add(time.Hour))})
	w.scanNo(laneIn, 1)
	require.Less(t, w.entries[0].T, syncproto.HLCAt(start.Add(time.Minute)))
}

// A clock that gains a few seconds with each entry must not take the others along.
func TestManySmallStepsOfAWrongClockDoNotMoveOursFar(t *testing.T) {
	w := greeted(t)
	for i := range 20 {
		ahead := start.Add(time.Duration(4*i) * time.Second)
		w.page(int64(5+i), int64(6+i), syncproto.Record{Kind: syncproto.RecordEntry, Entry: entryOf(other, other, uint64(2+i), syncproto.KindAdmit, 3, ahead)})
	}
	w.scanNo(laneIn, 1)
	require.LessOrEqual(t, w.entries[0].T.UnixMilli(), start.Add(syncproto.HLCDriftMax).UnixMilli()+1)
	require.Greater(t, w.entries[0].T, syncproto.HLCAt(start.Add(4*time.Second)), "what is a little ahead is still followed")
}

func TestRevocationByPage(t *testing.T) {
	w := greeted(t)
	revoked := ticket(t, 4, syncproto.StatusRevoked)
	revoked.Rev = 2
	w.page(5, 6, syncproto.Record{Kind: syncproto.RecordTicket, Ticket: revoked})
	require.Equal(t, syncproto.ReasonRevoked, w.scanNo(laneIn, 4).Reason)
	w.page(6, 7, syncproto.Record{Kind: syncproto.RecordTicket, Ticket: ticket(t, 4, syncproto.StatusPaid)})
	require.Equal(t, syncproto.ReasonRevoked, w.n.Verify(w.now, "", "", []byte(code(t, credential.Fields{Ticket: 4}))).Reason, "an older revision changes nothing")
}

func BenchmarkDecideKnown(b *testing.B) {
	for _, size := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			cfg := config()
			n, err := node.New(cfg)
			require.NoError(b, err)
			bundle := trust()
			l := node.Loaded{Rules: rules(), Trust: &bundle}
			texts := make([][]byte, 1024)
			hasher := credential.NewHasher(hashKey)
			for no := 1; no <= size; no++ {
				l.Roster.Put(&syncproto.Ticket{No: syncproto.TicketNo(no), Rev: 1, Type: 1, Status: syncproto.StatusPaid})
			}
			for i := range texts {
				no := syncproto.TicketNo(1 + i*(size/len(texts)))
				texts[i] = []byte(code(b, credential.Fields{Ticket: no}))
				l.Roster.Put(&syncproto.Ticket{No: no, Rev: 2, Type: 1, Status: syncproto.StatusPaid, Code: hasher.Sum(texts[i])})
			}
			n.Restore(start, l)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				n.Verify(start, "main", syncproto.In, texts[i%len(texts)])
				i++
			}
		})
	}
}
