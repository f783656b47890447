package syncprototest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/syncproto"
)

// TestSealedLogSkipsNothing runs writers whose transactions overlap against a
// reader that polls. The same reader over the numbers that were assigned when the
// rows were written is watched as well, to see that the test can fail.
func TestSealedLogSkipsNothing(t *testing.T) {
	t.Parallel()
	naiveSkips := 0
	rapid.Check(t, func(t *rapid.T) {
		var l sealedLog
		var open [][]outboxRow
		var committed, seen, visible []uint64
		var cursor, naive int64
		var naiveSeen []uint64
		n := uint64(0)
		commit := func(t *rapid.T) {
			i := rapid.IntRange(0, len(open)-1).Draw(t, "tx")
			for _, r := range open[i] {
				committed = append(committed, r.subject.no)
				visible = append(visible, uint64(r.id))
			}
			l.outbox = append(l.outbox, open[i]...)
			open = slices.Delete(open, i, i+1)
		}
		read := func() {
			for _, r := range l.after(cursor, 3) {
				seen = append(seen, r.subject.no)
				cursor++
			}
			slices.Sort(visible)
			for _, id := range visible {
				if int64(id) > naive {
					naive, naiveSeen = int64(id), append(naiveSeen, id)
				}
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				n++
				open = append(open, []outboxRow{l.assign(subject{kind: syncproto.RecordTicket, no: n})})
			case 1:
				if len(open) > 0 {
					commit(t)
				}
			case 2:
				if len(open) > 0 {
					open = open[1:] // rolled back
				}
			case 3:
				l.seal(l.visible(), rapid.Int64().Draw(t, "tag"))
			case 4:
				read()
			}
		}
		l.seal(l.visible(), 1)
		for cursor < l.head() {
			read()
		}
		read()
		slices.Sort(committed)
		slices.Sort(seen)
		require.Equal(t, committed, seen)
		require.EqualValues(t, len(committed), l.head(), "numbers have no gaps")
		naiveSkips += len(committed) - len(naiveSeen)
	})
	require.Positive(t, naiveSkips, "a reader of assigned numbers skips rows here")
}

func TestTrimmedLogStillChecksItsEdge(t *testing.T) {
	t.Parallel()
	var l sealedLog
	epoch := ID("epoch")
	for i := range 10 {
		l.outbox = append(l.outbox, l.assign(subject{no: uint64(i)}))
		l.seal(l.visible(), int64(100+i))
	}
	at5 := l.cursor(epoch, 5)
	require.EqualValues(t, 104, at5.Tag)
	l.trim(5)
	require.EqualValues(t, 10, l.head())
	require.NoError(t, l.check(at5, epoch))
	at5.Tag++
	require.Equal(t, syncproto.ResyncTag, syncproto.AsError(l.check(at5, epoch)).Reason)
	at5.Seq--
	require.EqualValues(t, 6, syncproto.AsError(l.check(at5, epoch)).MinSeq)
	require.EqualValues(t, 6, l.after(6, 1)[0].subject.no)
}
