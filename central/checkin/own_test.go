package checkin_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/central/checkin"
	"gatehouse/central/fleet"
	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
	"gatehouse/syncproto/syncprototest"
	"gatehouse/syncproto/wire"
)

// desk is central with check-ins of its own, and the key that signs tickets.
type desk struct {
	*bundle
	*checkin.Desk
	own *fleet.OwnGates
	key ed25519.PrivateKey
}

const ticketKey syncproto.KeyID = 1

func setupDesk(t testing.TB) *desk {
	d := &desk{bundle: setup(t), key: syncprototest.Key("tickets")}
	d.own = fleet.NewOwnGates(fleet.Config{Pool: d.pool})
	d.Desk = d.copyOfCentral()
	return d
}

// copyOfCentral is one more process on the same database.
func (d *desk) copyOfCentral() *checkin.Desk {
	d.t.Helper()
	s, err := checkin.NewDesk(checkin.DeskConfig{
		Pool: d.pool, Rules: d.events.Rules,
		OwnGate: func(ctx context.Context, event syncproto.EventNo) (checkin.Own, error) {
			own, err := d.own.Of(ctx, event)
			return checkin.Own(own), err
		},
		HashKey: func(ctx context.Context, event syncproto.EventNo) ([]byte, error) {
			if event != d.event.No {
				return nil, nil
			}
			return d.events.HashKey(ctx, event)
		},
		TicketKey: func(_ context.Context, kid syncproto.KeyID) (ed25519.PublicKey, error) {
			if kid != ticketKey {
				return nil, nil
			}
			return d.key.Public().(ed25519.PublicKey), nil
		},
		Now: func() time.Time { return time.UnixMilli(d.now) },
	})
	require.NoError(d.t, err)
	return s
}

func (d *desk) sign(f credential.Fields) string {
	d.t.Helper()
	f.Event, f.Key = d.event.No, ticketKey
	text, err := credential.Sign(d.key, f)
	require.NoError(d.t, err)
	return text
}

// code is the code of a ticket that central holds.
func (d *desk) code(no syncproto.TicketNo) string {
	d.t.Helper()
	text := d.sign(credential.Fields{Ticket: no, Type: 1})
	key, err := d.events.HashKey(d.t.Context(), d.event.No)
	require.NoError(d.t, err)
	hash := credential.NewHasher(key).Sum([]byte(text))
	d.exec(`UPDATE ticket SET code_hash = $3 WHERE event_id = $1 AND number = $2`, d.event.No, no, hash[:])
	return text
}

func (d *desk) one(c checkin.CheckIn) checkin.Answer {
	d.t.Helper()
	answers, err := d.CheckIn(d.t.Context(), []checkin.CheckIn{c}, "", "")
	require.NoError(d.t, err)
	require.Len(d.t, answers, 1)
	return answers[0]
}

// chain is central's own journal as it is stored.
func (d *desk) chain(incarnation uuid.UUID) []syncproto.Entry {
	d.t.Helper()
	rows, err := d.pool.Query(d.t.Context(), `SELECT body FROM checkin_entry WHERE incarnation = $1 ORDER BY seq`, incarnation)
	require.NoError(d.t, err)
	defer rows.Close()
	var out []syncproto.Entry
	for rows.Next() {
		var body string
		require.NoError(d.t, rows.Scan(&body))
		var e syncproto.Entry
		require.NoError(d.t, wire.ParseEntry([]byte(body), &e))
		out = append(out, e)
	}
	require.NoError(d.t, rows.Err())
	return out
}

// requireJournal requires that what central wrote is a chain that a gate could have
// written, signed to its end, and returns the incarnation in use.
func (d *desk) requireJournal() uuid.UUID {
	d.t.Helper()
	own, err := d.own.Of(d.t.Context(), d.event.No)
	require.NoError(d.t, err)
	var inc uuid.UUID
	require.NoError(d.t, d.pool.QueryRow(d.t.Context(), `SELECT incarnation FROM own_journal WHERE event_id = $1`, d.event.No).Scan(&inc))
	entries := d.chain(inc)
	require.NotEmpty(d.t, entries)
	require.Equal(d.t, syncproto.KindGenesis, entries[0].Kind)
	var head syncproto.Position
	for i := range entries {
		require.Equal(d.t, uint64(i+1), entries[i].Seq)
		require.Equal(d.t, entries[i].ChainHash(head.Hash), entries[i].Hash)
		head = syncproto.Position{Ref: entries[i].Ref(), Hash: entries[i].Hash}
	}
	var sig []byte
	require.NoError(d.t, d.pool.QueryRow(d.t.Context(), `SELECT head_sig FROM journal_stream WHERE incarnation = $1`, inc).Scan(&sig))
	require.True(d.t, syncproto.VerifyHead(own.Key.Public().(ed25519.PublicKey), own.Device, head, sig))
	require.Equal(d.t, len(entries), d.count(`SELECT acked_seq FROM journal_stream WHERE incarnation = $1`, inc))
	return inc
}

func TestCentralAdmitsOnceAndSaysWhere(t *testing.T) {
	t.Parallel()
	d := setupDesk(t)
	code := d.code(7)

	a := d.one(checkin.CheckIn{Code: code, Lane: "desk", By: "account-1"})
	require.Equal(t, "admit", a.Decision)
	require.Equal(t, syncproto.ReasonAdmitted, a.Reason)
	require.Equal(t, syncproto.TicketID(d.event.Stream, 7), a.Ticket)
	require.Equal(t, time.UnixMilli(d.now).UTC(), a.At)

	again := d.one(checkin.CheckIn{Code: code})
	require.Equal(t, "deny", again.Decision)
	require.Equal(t, syncproto.ReasonDuplicate, again.Reason)
	require.Equal(t, &checkin.Earlier{At: a.At, Gate: "Central", Lane: "desk"}, again.First)

	entries := d.chain(d.requireJournal())
	require.Len(t, entries, 3)
	require.Equal(t, "account-1", entries[1].By)
	require.Equal(t, "main", entries[1].Zone)
	require.Equal(t, "central", entries[2].Lane)
	require.Equal(t, 1, d.count(`SELECT count(*) FROM checkin_entry WHERE kind = 'admit' AND outcome = 'first'`))
	require.Equal(t, 1, d.count(`SELECT admissions FROM ticket_state WHERE ticket = 7`))
	require.Positive(t, d.count(`SELECT count(*) FROM sync_outbox WHERE kind = 3`), "the gates are told")
	d.requireSettled()
}

func TestCentralGoesByWhatGatesDidAndTheyByWhatItDid(t *testing.T) {
	t.Parallel()
	d := setupDesk(t)
	g := d.gate("North")
	g.Admit(3, d.now)
	d.take(g)
	a := d.one(checkin.CheckIn{Code: d.code(3)})
	require.Equal(t, syncproto.ReasonDuplicate, a.Reason)
	require.Equal(t, "North", a.First.Gate)

	require.Equal(t, "admit", d.one(checkin.CheckIn{Code: d.code(4)}).Decision)
	late := g.Admit(4, d.now+1000)
	d.take(g)
	require.Equal(t, "duplicate of 3", d.outcome(late))
	d.requireSettled()
}

func TestCentralLetsOutAndInAgain(t *testing.T) {
	t.Parallel()
	d := setupDesk(t)
	d.exec(`UPDATE ticket SET type_no = 2, code_type = 2 WHERE number = 8`)
	code := d.code(8)
	for i, want := range []struct {
		dir      syncproto.Direction
		decision string
		reason   syncproto.Reason
	}{
		{syncproto.Out, "deny", syncproto.ReasonNotInside},
		{syncproto.In, "admit", syncproto.ReasonAdmitted},
		{syncproto.In, "deny", syncproto.ReasonMustExitFirst},
		{syncproto.Out, "exit", syncproto.ReasonExited},
		{syncproto.In, "admit", syncproto.ReasonReentry},
	} {
		d.now += 1000
		a := d.one(checkin.CheckIn{Code: code, Direction: want.dir})
		require.Equal(t, want.decision, a.Decision, i)
		require.Equal(t, want.reason, a.Reason, i)
	}
	d.requireJournal()
	d.requireSettled()
}

func TestCodesThatAreNotOfATicketWriteNothing(t *testing.T) {
	t.Parallel()
	d := setupDesk(t)
	forged, err := credential.Sign(syncprototest.Key("thief"), credential.Fields{Event: d.event.No, Ticket: 9, Type: 1, Key: ticketKey})
	require.NoError(t, err)
	elsewhere, err := credential.Sign(d.key, credential.Fields{Event: 999, Ticket: 9, Type: 1, Key: ticketKey})
	require.NoError(t, err)
	unheard, err := credential.Sign(d.key, credential.Fields{Event: d.event.No, Ticket: 9, Type: 1, Key: 77})
	require.NoError(t, err)
	for text, want := range map[string]syncproto.Reason{
		"hello": syncproto.ReasonMalformed, forged: syncproto.ReasonBadSignature, elsewhere: syncproto.ReasonUnknown, unheard: syncproto.ReasonUnknown,
		d.sign(credential.Fields{Ticket: 5000, Type: 1, NeedsRoster: true}): syncproto.ReasonUnknown,
	} {
		require.Equal(t, want, d.one(checkin.CheckIn{Code: text}).Reason, text)
	}
	require.Equal(t, syncproto.ReasonUnknown, d.one(checkin.CheckIn{Ticket: uuid.New()}).Reason)
	require.Zero(t, d.count(`SELECT count(*) FROM checkin_entry WHERE ticket IS NOT NULL`))
	require.Zero(t, d.count(`SELECT count(*) FROM ticket_state WHERE ticket <> 5000`))
}

func TestStandingAtCentral(t *testing.T) {
	t.Parallel()
	d := setupDesk(t)
	replaced := d.code(11)
	d.exec(`UPDATE ticket SET code_hash = decode(md5('new'), 'hex') WHERE number = 11`)
	require.Equal(t, syncproto.ReasonRevoked, d.one(checkin.CheckIn{Code: replaced}).Reason)

	d.revokeTicket(12, d.now-1000)
	require.Equal(t, syncproto.ReasonRevoked, d.one(checkin.CheckIn{Code: d.code(12)}).Reason)

	unheard := d.one(checkin.CheckIn{Code: d.sign(credential.Fields{Ticket: 6000, Type: 1})})
	require.Equal(t, "admit", unheard.Decision, "genuine, and perhaps of what a restored backup has lost")

	var id uuid.UUID
	require.NoError(t, d.pool.QueryRow(t.Context(), `SELECT id FROM ticket WHERE number = 13`).Scan(&id))
	require.Equal(t, "admit", d.one(checkin.CheckIn{Ticket: id}).Decision)

	d.exec(`UPDATE event SET status = 'completed'`)
	require.Equal(t, "deny", d.one(checkin.CheckIn{Code: d.code(14)}).Decision)
	d.requireJournal()
}

func TestBadCheckInsAreRefusedWhole(t *testing.T) {
	t.Parallel()
	d := setupDesk(t)
	good := checkin.CheckIn{Code: d.code(20)}
	for name, bad := range map[string]checkin.CheckIn{
		"nothing": {}, "both": {Code: "x", Ticket: uuid.New()}, "direction": {Code: "x", Direction: "up"}, "zone": {Code: d.code(21), Zone: "moon"},
		"lane": {Code: "x", Lane: fmt.Sprint(make([]byte, 65))},
	} {
		_, err := d.CheckIn(t.Context(), []checkin.CheckIn{good, bad}, "", "")
		require.ErrorIs(t, err, checkin.ErrBadRequest, name)
	}
	_, err := d.CheckIn(t.Context(), nil, "", "")
	require.ErrorIs(t, err, checkin.ErrTooMany)
	_, err = d.CheckIn(t.Context(), make([]checkin.CheckIn, checkin.CheckInsMax+1), "", "")
	require.ErrorIs(t, err, checkin.ErrTooMany)
	require.Equal(t, "admit", d.one(good).Decision, "nothing of a refused request was done")
}

func TestABatchIsDecidedInItsOrder(t *testing.T) {
	t.Parallel()
	d := setupDesk(t)
	var in []checkin.CheckIn
	for no := range syncproto.TicketNo(checkin.CheckInsMax - 1) {
		in = append(in, checkin.CheckIn{Code: d.code(no + 1)})
	}
	in = append(in, in[3])
	answers, err := d.CheckIn(t.Context(), in, "", "")
	require.NoError(t, err)
	for i := range in[:len(in)-1] {
		require.Equal(t, "admit", answers[i].Decision, i)
	}
	require.Equal(t, syncproto.ReasonDuplicate, answers[len(in)-1].Reason)
	d.requireJournal()
	d.requireSettled()
}

// Copies of central and gates that push, all at once: each ticket gets in once at
// central, and the journal is one chain.
func TestCopiesOfCentralAdmitEachTicketOnce(t *testing.T) {
	t.Parallel()
	d := setupDesk(t)
	const tickets, copies = 8, 4
	var codes []string
	for no := syncproto.TicketNo(1); no <= tickets; no++ {
		codes = append(codes, d.code(no))
	}
	admitted := make([]int, tickets)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range copies {
		s := d.copyOfCentral()
		for range 3 {
			wg.Go(func() {
				for i, code := range codes {
					answers, err := s.CheckIn(t.Context(), []checkin.CheckIn{{Code: code}}, "", "")
					if err != nil {
						t.Errorf("check in: %v", err)
						return
					}
					mu.Lock()
					if answers[0].Decision == "admit" {
						admitted[i]++
					}
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	for i, n := range admitted {
		require.Equal(t, 1, n, "ticket %d", i+1)
	}
	d.requireJournal()
	d.requireSettled()
}

func TestARequestWithAKeyIsDoneOnce(t *testing.T) {
	t.Parallel()
	d := setupDesk(t)
	in := []checkin.CheckIn{{Code: d.code(30)}, {Code: "nonsense"}}
	first, err := d.CheckIn(t.Context(), in, "alice", "k1")
	require.NoError(t, err)
	require.Equal(t, "admit", first[0].Decision)

	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			again, err := d.copyOfCentral().CheckIn(t.Context(), in, "alice", "k1")
			if err != nil {
				t.Errorf("again: %v", err)
				return
			}
			if len(again) != 2 || again[0] != first[0] || again[1] != first[1] {
				t.Errorf("another answer: %+v", again)
			}
		})
	}
	wg.Wait()
	_, err = d.CheckIn(t.Context(), in[:1], "alice", "k1")
	require.ErrorIs(t, err, checkin.ErrKeyReused)
	other, err := d.CheckIn(t.Context(), in, "bob", "k1")
	require.NoError(t, err, "a key is one of who's")
	require.Equal(t, syncproto.ReasonDuplicate, other[0].Reason)
	require.Equal(t, 2, d.count(`SELECT count(*) FROM checkin_entry WHERE ticket = 30`))

	d.exec(`UPDATE own_request SET created_at = now() - interval '25 hours'`)
	_, err = d.CheckIn(t.Context(), in, "carol", "k2")
	require.NoError(t, err)
	require.Equal(t, 1, d.count(`SELECT count(*) FROM own_request`), "old ones make room")
}

// After a restore the numbers of central's old incarnation are not used again: gates
// may hold what was lost.
func TestAnotherHistoryIsAnotherIncarnation(t *testing.T) {
	t.Parallel()
	d := setupDesk(t)
	d.one(checkin.CheckIn{Code: d.code(40)})
	before := d.requireJournal()
	end := d.chain(before)[1]

	d.exec(`UPDATE sync_store SET store_epoch = gen_random_uuid()`)
	require.Equal(t, syncproto.ReasonDuplicate, d.one(checkin.CheckIn{Code: d.code(40)}).Reason)
	after := d.requireJournal()
	require.NotEqual(t, before, after)
	genesis := d.chain(after)[0]
	require.Equal(t, end.Ref(), genesis.Of)
	require.Equal(t, end.Hash, genesis.ParentHash)
	require.Greater(t, genesis.T, end.T)
	d.one(checkin.CheckIn{Code: d.code(41)})
	require.Equal(t, after, d.requireJournal(), "and it goes on in that")
}

// A clock that was put back does not put central's entries before those it knows of.
func TestCentralsTimeRises(t *testing.T) {
	t.Parallel()
	d := setupDesk(t)
	d.one(checkin.CheckIn{Code: d.code(50)})
	g := d.gate("North")
	ahead := g.Admit(51, d.now+3000)
	d.take(g)
	d.now -= 3_600_000
	d.one(checkin.CheckIn{Code: d.code(52)})
	d.now += 3_600_000
	d.one(checkin.CheckIn{Code: d.code(51)})
	entries := d.chain(d.requireJournal())
	require.Greater(t, entries[2].T, entries[1].T)
	require.Greater(t, entries[3].T, ahead.T, "it was decided on that")
}

func TestCentralsOwnGateIsNoneOfTheFleet(t *testing.T) {
	t.Parallel()
	d := setupDesk(t)
	d.gate("North")
	d.one(checkin.CheckIn{Code: d.code(60)})
	gates, err := d.fleet.Gates(t.Context(), d.event.No)
	require.NoError(t, err)
	require.Len(t, gates, 1)
	statement, err := d.Reconcile(t.Context(), d.event.No)
	require.NoError(t, err)
	require.Len(t, statement.Gates, 1)
	require.Equal(t, 1, d.attendance().ByGate["Central"].Admitted)
}
