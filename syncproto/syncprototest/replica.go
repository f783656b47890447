package syncprototest

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// replica is what a gate knows of an event.
type replica struct {
	cursor  string
	seq     int64
	rules   *syncproto.Rules
	trust   *syncproto.TrustBundle
	tickets map[syncproto.TicketNo]syncproto.Ticket
	entries map[syncproto.Ref]syncproto.EntryRecord
	devices map[uuid.UUID]syncproto.DeviceRecord
	leases  map[uuid.UUID]syncproto.Lease
	records int
}

func newReplica() *replica {
	return &replica{
		tickets: map[syncproto.TicketNo]syncproto.Ticket{},
		entries: map[syncproto.Ref]syncproto.EntryRecord{},
		devices: map[uuid.UUID]syncproto.DeviceRecord{},
		leases:  map[uuid.UUID]syncproto.Lease{},
	}
}

func (r *replica) put(rec *syncproto.Record) error {
	r.records++
	switch rec.Kind {
	case syncproto.RecordTicket:
		if old, ok := r.tickets[rec.Ticket.No]; !ok || rec.Ticket.Rev >= old.Rev {
			r.tickets[rec.Ticket.No] = *rec.Ticket
		}
	case syncproto.RecordRules:
		r.rules = rec.Rules
	case syncproto.RecordTrust:
		r.trust = rec.Trust
	case syncproto.RecordEntry:
		r.entries[rec.Entry.Ref()] = *rec.Entry
	case syncproto.RecordLease:
		if old, ok := r.leases[rec.Lease.ID]; !ok || rec.Lease.Rev >= old.Rev {
			r.leases[rec.Lease.ID] = *rec.Lease
		}
	case syncproto.RecordDevice:
		r.devices[rec.Device.Device] = *rec.Device
	}
	return nil
}

// apply takes a page that goes on from where the replica is.
func (r *replica) apply(t testing.TB, p *syncproto.Page) {
	t.Helper()
	require.Equal(t, r.seq, p.From, "a page goes on from its cursor")
	require.GreaterOrEqual(t, p.To, p.From)
	require.GreaterOrEqual(t, p.Head, p.To)
	require.LessOrEqual(t, int64(len(p.Records)), p.To-p.From)
	seen := map[any]bool{}
	for i := range p.Records {
		k := subjectKey(&p.Records[i])
		require.False(t, seen[k], "a page tells of each subject once: %v", k)
		seen[k] = true
		require.NoError(t, r.put(&p.Records[i]))
	}
	r.cursor, r.seq = p.Next, p.To
}

func subjectKey(rec *syncproto.Record) any {
	switch {
	case rec.Ticket != nil:
		return rec.Ticket.No
	case rec.Entry != nil:
		return rec.Entry.Ref()
	case rec.Device != nil:
		return rec.Device.Device
	case rec.Lease != nil:
		return rec.Lease.ID
	}
	return rec.Kind
}

// page asks for what follows a replica.
func (g *gate) page(r *replica, limit int, wait time.Duration) (syncproto.Page, error) {
	return g.client.Changes(g.s.ctx, syncproto.ChangesRequest{
		Stream: g.reply.Stream, Cursor: r.cursor, Limit: limit, WaitMS: int(wait / time.Millisecond),
	})
}

// follow reads on until the replica is as it should be. Central seals when it
// likes, so this waits for it.
func (g *gate) follow(r *replica, until func(*replica) bool) {
	g.s.t.Helper()
	for !until(r) {
		page, err := g.page(r, 0, 5*time.Second)
		require.NoError(g.s.t, err, "the replica did not become what it should be")
		r.apply(g.s.t, &page)
	}
}

// bootstrap takes a snapshot and gives the replica at its cursor.
func (g *gate) bootstrap() *replica {
	g.s.t.Helper()
	m, err := g.client.Manifest(g.s.ctx, g.reply.Stream)
	require.NoError(g.s.t, err)
	r := newReplica()
	for _, c := range m.Chunks {
		body, err := g.client.Blob(g.s.ctx, c.Hash)
		require.NoError(g.s.t, err)
		require.NoError(g.s.t, wire.DecodeChunk(body, c, r.put))
	}
	require.EqualValues(g.s.t, m.Count, r.records)
	r.cursor, r.seq = m.Cursor, m.Seq
	return r
}

// hasTickets is a condition for follow.
func hasTickets(numbers []syncproto.TicketNo) func(*replica) bool {
	return func(r *replica) bool {
		for _, no := range numbers {
			if _, ok := r.tickets[no]; !ok {
				return false
			}
		}
		return true
	}
}

// hasStatus is a condition for follow.
func hasStatus(no syncproto.TicketNo, s syncproto.Status) func(*replica) bool {
	return func(r *replica) bool { return r.tickets[no].Status == s }
}

// hasOutcome is a condition for follow.
func hasOutcome(ref syncproto.Ref, o syncproto.Outcome) func(*replica) bool {
	return func(r *replica) bool { return r.entries[ref].Outcome == o }
}

// refusalIn is the refusal in a response, nil where it is none.
func refusalIn(t testing.TB, resp *wire.Response) error {
	t.Helper()
	if resp.Status == http.StatusOK {
		return nil
	}
	var e syncproto.Error
	if err := json.Unmarshal(resp.Body, &e); err != nil {
		return errors.New("answer is not a refusal")
	}
	require.Equal(t, e.Code.Status(), resp.Status, "a code travels under its status")
	return &e
}
