package syncprototest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

func digestTests() []suiteTest {
	return []suiteTest{
		{"a digest is that of what was told", digestEqual},
		{"a digest leaves out what changed after the cursor", digestExcept},
		{"a digest shows a flipped, a missing and an extra record", digestShows},
		{"a bucket holds its records in parts", bucketParts},
		{"a cursor of another history gets no digest", digestResync},
		{"another event's digest is refused", digestForeign},
		{"a garbled digest request is refused", digestGarbled},
	}
}

// digest is of what a replica holds.
func (r *replica) digest(event syncproto.EventNo, except []syncproto.Subject) syncproto.Digest {
	var d syncproto.Digest
	for _, rec := range r.all() {
		if !slices.Contains(except, syncproto.SubjectOf(&rec)) {
			d.Add(event, &rec)
		}
	}
	return d
}

// all lists the records of a replica.
func (r *replica) all() []syncproto.Record {
	out := []syncproto.Record{{Kind: syncproto.RecordRules, Rules: r.rules}, {Kind: syncproto.RecordTrust, Trust: r.trust}}
	for _, t := range r.tickets {
		out = append(out, syncproto.Record{Kind: syncproto.RecordTicket, Ticket: &t})
	}
	for _, e := range r.entries {
		out = append(out, syncproto.Record{Kind: syncproto.RecordEntry, Entry: &e})
	}
	for _, d := range r.devices {
		out = append(out, syncproto.Record{Kind: syncproto.RecordDevice, Device: &d})
	}
	return out
}

// digest asks for the digest as of a replica and compares: the buckets in which
// the replica differs, and what was left out.
func (g *gate) digest(r *replica) (differs []uint8, reply syncproto.DigestReply) {
	g.s.t.Helper()
	reply, err := g.client.Digest(g.s.ctx, syncproto.DigestRequest{Stream: g.reply.Stream, Cursor: r.cursor})
	require.NoError(g.s.t, err)
	require.Equal(g.s.t, r.seq, reply.At)
	require.GreaterOrEqual(g.s.t, reply.Head, reply.At)
	theirs, err := syncproto.ParseDigest(reply.Sums, reply.Count)
	require.NoError(g.s.t, err)
	ours := r.digest(g.reply.Event, reply.Except)
	if differs = ours.Differs(&theirs); len(differs) == 0 {
		require.Equal(g.s.t, reply.Count, ours.Count())
	}
	return differs, reply
}

// busy makes tickets of each status and entries of two gates, and gives a replica
// that followed all of it.
func busy(g *gate) (*replica, []syncproto.TicketNo) {
	s := g.s
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 300)
	for i, status := range []syncproto.Status{syncproto.StatusRevoked, syncproto.StatusCancelled, syncproto.StatusUnpaid} {
		s.central.SetStatus(s.t, s.rules.Event, numbers[i], status)
	}
	c := g.chain(syncproto.Position{})
	for _, no := range numbers[10:40] {
		c.Admit(no, g.started)
	}
	c.notes(2, g.started) // name no ticket
	g.push(c.All())
	other := s.newGate()
	d := other.chain(syncproto.Position{})
	d.Admit(numbers[10], other.started)
	other.push(d.All())
	r := newReplica()
	g.follow(r, func(r *replica) bool {
		first, again := c.Entries[1].Ref(), d.Entries[1].Ref()
		return hasTickets(numbers)(r) && len(r.entries) >= 31 && r.entries[first].Outcome != "" && r.entries[again].Outcome != ""
	})
	g.drain(r)
	return r, numbers
}

func digestEqual(s *suite) {
	g := s.newGate()
	followed, numbers := busy(g)
	differs, reply := g.digest(followed)
	require.Empty(s.t, differs)
	require.GreaterOrEqual(s.t, reply.Count+int64(len(reply.Except)), int64(len(numbers)+31))

	loaded := g.bootstrap()
	differs, _ = g.digest(loaded)
	require.Empty(s.t, differs, "by snapshot or by pages, it is one roster")
}

func digestExcept(s *suite) {
	g := s.newGate()
	r, numbers := busy(g)
	later := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 3)
	s.central.SetStatus(s.t, s.rules.Event, numbers[100], syncproto.StatusRevoked)
	differs, reply := g.digest(r)
	require.Empty(s.t, differs, "a gate that is behind has not diverged")
	for _, no := range append(later, numbers[100]) {
		require.Contains(s.t, reply.Except, syncproto.Subject{Kind: syncproto.RecordTicket, No: uint64(no)})
	}
}

func digestShows(s *suite) {
	g := s.newGate()
	r, numbers := busy(g)
	flipped, lost := numbers[0], numbers[200]
	t := r.tickets[flipped]
	t.Status = syncproto.StatusPaid
	r.tickets[flipped] = t
	delete(r.tickets, lost)
	extra := Ticket(s.rules.Event, slices.Max(numbers)+6400, TypeSingle)
	r.tickets[extra.No] = extra
	want := map[uint8]bool{}
	for _, no := range []syncproto.TicketNo{flipped, lost, extra.No} {
		want[syncproto.Subject{Kind: syncproto.RecordTicket, No: uint64(no)}.Bucket()] = true
	}
	differs, _ := g.digest(r)
	require.Len(s.t, differs, len(want))
	for _, b := range differs {
		require.True(s.t, want[b])
	}
}

func bucketParts(s *suite) {
	g := s.newGate()
	numbers := s.central.AddTickets(s.t, s.rules.Event, TypeSingle, 300)
	c := g.chain(syncproto.Position{})
	for i := range 1000 {
		c.Exit(numbers[i%len(numbers)], g.started)
	}
	for first := uint64(1); first <= uint64(len(c.Entries)); first += 150 {
		g.push(c.Push(first, min(first+149, uint64(len(c.Entries)))))
	}
	r := newReplica()
	g.follow(r, func(r *replica) bool { return hasTickets(numbers)(r) && len(r.entries) >= 1000 })
	g.drain(r)
	want := map[string]bool{}
	for _, rec := range r.all() {
		if syncproto.Counted(s.rules.Event, &rec) {
			want[fmt.Sprintf("%d %s", syncproto.SubjectOf(&rec).Bucket(), syncproto.SubjectOf(&rec))] = true
		}
	}
	var sum syncproto.Digest
	for b := range syncproto.DigestBuckets {
		for _, rec := range wholeBucket(g, r, uint8(b)) {
			key := fmt.Sprintf("%d %s", b, syncproto.SubjectOf(&rec))
			require.True(s.t, want[key], "told once, and known: %s", key)
			delete(want, key)
			sum.Add(s.rules.Event, &rec)
		}
	}
	require.Empty(s.t, want)
	ours := r.digest(s.rules.Event, nil)
	require.Empty(s.t, ours.Differs(&sum))
}

// wholeBucket fetches a bucket, and looks at each part once more from its first
// record on.
func wholeBucket(g *gate, r *replica, bucket uint8) []syncproto.Record {
	var out []syncproto.Record
	req := syncproto.BucketRequest{Stream: g.reply.Stream, Cursor: r.cursor, Bucket: bucket}
	for {
		part, err := g.client.Bucket(g.s.ctx, req)
		require.NoError(g.s.t, err)
		require.LessOrEqual(g.s.t, len(part.Records), syncproto.PageRecordsMax)
		out = append(out, part.Records...)
		if len(part.Records) > 1 {
			again, err := g.client.Bucket(g.s.ctx, syncproto.BucketRequest{
				Stream: req.Stream, Cursor: req.Cursor, Bucket: bucket, After: syncproto.SubjectOf(&part.Records[0]),
			})
			require.NoError(g.s.t, err)
			require.Equal(g.s.t, part.Records[1:], again.Records[:len(part.Records)-1])
		}
		if !part.More {
			return out
		}
		req.After = syncproto.SubjectOf(&part.Records[len(part.Records)-1])
	}
}

func digestResync(s *suite) {
	g := s.newGate()
	_, c := g.cursorAfter()
	for reason, bad := range map[string]syncproto.Cursor{
		syncproto.ResyncTag:   {Epoch: c.Epoch, Seq: c.Seq, Tag: c.Tag ^ 1},
		syncproto.ResyncAhead: {Epoch: c.Epoch, Seq: c.Seq + 1000, Tag: c.Tag},
		syncproto.ResyncEpoch: {Epoch: uuid.New(), Seq: c.Seq, Tag: c.Tag},
	} {
		_, err := g.client.Digest(s.ctx, syncproto.DigestRequest{Stream: g.reply.Stream, Cursor: bad.String()})
		require.Equal(s.t, reason, s.refusal(err, syncproto.CodeResync).Reason)
		_, err = g.client.Bucket(s.ctx, syncproto.BucketRequest{Stream: g.reply.Stream, Cursor: bad.String()})
		require.Equal(s.t, reason, s.refusal(err, syncproto.CodeResync).Reason)
	}
}

func digestForeign(s *suite) {
	g := s.newGate()
	other := s.central.CreateEvent(s.t, Rules("Other"))
	_, err := g.client.Digest(s.ctx, syncproto.DigestRequest{Stream: other.Stream})
	s.code(err, syncproto.CodeForbidden)
	_, err = g.client.Bucket(s.ctx, syncproto.BucketRequest{Stream: other.Stream})
	s.code(err, syncproto.CodeForbidden)
	_, err = g.client.Digest(s.ctx, syncproto.DigestRequest{Stream: uuid.New()})
	s.code(err, syncproto.CodeNotFound, syncproto.CodeForbidden)
}

func digestGarbled(s *suite) {
	g := s.newGate()
	stream := g.reply.Stream.String()
	for _, q := range []url.Values{
		{"stream": {"x"}},
		{"stream": {stream}, "cursor": {"x"}},
		{"stream": {stream}, "bucket": {"256"}},
		{"stream": {stream}, "bucket": {"-1"}},
		{"stream": {stream}, "bucket": {"1"}, "after": {"ticket/x"}},
		{"stream": {stream}, "bucket": {"1"}, "after": {"turnstile"}},
		{"stream": {stream}, "bucket": {"1"}, "after": {"entry/" + stream}},
	} {
		s.code(g.raw(http.MethodGet, wire.PathBucket+"?"+q.Encode(), nil, nil), syncproto.CodeMalformed)
	}
	s.code(g.raw(http.MethodGet, wire.PathDigest+"?stream="+stream+"&cursor=0", nil, nil), syncproto.CodeMalformed)
	s.code(g.raw(http.MethodPost, wire.PathDigest+"?stream="+stream, []byte("{}"), nil), syncproto.CodeNotFound)
}
