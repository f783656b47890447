package syncprototest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
)

// adopted makes a central with an event that seals by hand, and a gate's journal.
func adopted(t *testing.T) (*Memory, syncproto.EventNo, *Chain) {
	m, _ := newMemory(t, func(c *MemoryConfig) { c.ManualSeal = true })
	rules, err := m.CreateEvent(Rules("Steps"))
	require.NoError(t, err)
	key := Key("gate of steps")
	reply, err := Database{m}.Adopt(rules.Event, "Gate", public(key))
	require.NoError(t, err)
	_, err = Database{m}.Adopt(rules.Event, "Gate again", public(key))
	require.Error(t, err, "a key is one device")
	return m, rules.Event, NewChain(reply.Device, key, rules.Event, Incarnation(1, "steps"), syncproto.Position{}, 1)
}

func push(t *testing.T, m *Memory, c *Chain) {
	_, err := m.Service().Push(t.Context(), c.Device, c.All())
	require.NoError(t, err)
}

func TestATransactionIsSealedWhenItIsSeen(t *testing.T) {
	t.Parallel()
	m, event, c := adopted(t)
	first, err := Database{m}.Reserve(event)
	require.NoError(t, err)
	tx, err := m.Begin(event)
	require.NoError(t, err)
	tx.Put(Ticket(event, 1, TypeSingle))
	require.NoError(t, tx.Commit(), "the later place is committed first")
	Database{m}.Write(first, func() { push(t, m, c) })
	before := Database{m}.Unsealed(event)
	s, err := Database{m}.SealBegin(event)
	require.NoError(t, err)
	Database{m}.Show(first)
	n, err := s.Commit()
	require.NoError(t, err)
	require.Less(t, n, before, "a sealer moves what it saw when it began")
	require.NotZero(t, Database{m}.Unsealed(event))
	n, err = m.Seal(event)
	require.NoError(t, err)
	require.Equal(t, 1, n, "the earlier place is sealed later, and not skipped")
	dropped, err := Database{m}.SealBegin(event)
	require.NoError(t, err)
	require.Empty(t, dropped.rows)
}

func TestARestoredCentralIsAsItWas(t *testing.T) {
	t.Parallel()
	m, event, c := adopted(t)
	c.Admit(1, 10)
	push(t, m, c)
	_, err := m.Seal(event)
	require.NoError(t, err)
	old, records, head := Database{m}.Backup(), View{m}.Records(event), View{m}.Head(event)
	c.Admit(1, 20)
	push(t, m, c)
	require.NoError(t, m.RevokeDevice(c.Device))
	_, err = m.Seal(event)
	require.NoError(t, err)
	for range 2 {
		Database{m}.Restore(old)
		require.Equal(t, records, View{m}.Records(event), "what came after does not shine through")
		require.Equal(t, head, View{m}.Head(event))
		require.EqualValues(t, 2, View{m}.Watermark(c.Incarnation).Seq)
		push(t, m, c)
		require.EqualValues(t, 3, View{m}.Watermark(c.Incarnation).Seq)
	}
	require.Equal(t, 1, m.Attendance(event).Admitted)
}

func TestARestoredCentralHasTheLeasesOfThen(t *testing.T) {
	t.Parallel()
	m, event, c := adopted(t)
	shop, err := m.Shop(event)
	require.NoError(t, err)
	shop.SetQuota(TypeSingle, 9)
	ask := func(name string) *syncproto.Lease {
		reply, err := m.Service().Lease(t.Context(), c.Device, syncproto.LeaseRequest{Request: ID(name), Incarnation: c.Incarnation, Type: TypeSingle, Count: 3})
		require.NoError(t, err)
		return reply.Lease
	}
	l := ask("first")
	old, leases, account := Database{m}.Backup(), shop.Leases(), shop.Account(TypeSingle)
	ask("second")
	c.Add(syncproto.Entry{Kind: syncproto.KindSale, Ticket: l.First, Code: CodeHash(event, l.First), Of: syncproto.SaleOf(l.ID, l.Type)}, 5)
	push(t, m, c)
	require.Equal(t, 1, shop.Leases()[0].Sold)
	for range 2 {
		Database{m}.Restore(old)
		require.Equal(t, leases, shop.Leases())
		require.Equal(t, account, shop.Account(TypeSingle))
		push(t, m, c)
		require.Equal(t, 1, shop.Leases()[0].Sold, "the journal brings the sale again")
	}
}

func TestACopyThatGoesOnBesideItsOriginalIsFound(t *testing.T) {
	t.Parallel()
	m, event, c := adopted(t)
	hello := func(c *Chain, ms int64) {
		_, err := m.Service().Hello(t.Context(), c.Device, syncproto.HelloRequest{Incarnation: c.Incarnation}, ms)
		require.NoError(t, err)
	}
	hello(c, 1)
	push(t, m, c)
	copied := NewChain(c.Device, c.Key, event, Incarnation(2, "steps"), c.Last(), 2)
	hello(copied, 2)
	push(t, m, copied)
	require.False(t, View{m}.InQuarantine(c.Device), "a box that was restarted")
	c.Admit(1, 10)
	push(t, m, c)
	require.True(t, View{m}.InQuarantine(c.Device))
	require.True(t, m.Entries(c.Incarnation)[1].Untrusted)
}

func TestWhatStoodBehindADamageIsNoCopys(t *testing.T) {
	t.Parallel()
	m, event, c := adopted(t)
	_, err := m.Service().Hello(t.Context(), c.Device, syncproto.HelloRequest{Incarnation: c.Incarnation}, 1)
	require.NoError(t, err)
	push(t, m, c)
	next := &Chain{Device: c.Device, Key: c.Key, Event: event, Incarnation: Incarnation(2, "steps")}
	next.Add(syncproto.Entry{Kind: syncproto.KindGenesis, Note: syncproto.NoteSalvaged, Of: c.Last().Ref, ParentHash: c.Last().Hash}, 2)
	_, err = m.Service().Hello(t.Context(), c.Device, syncproto.HelloRequest{Incarnation: next.Incarnation}, 2)
	require.NoError(t, err)
	push(t, m, next)
	c.Admit(1, 10)
	push(t, m, c)
	require.False(t, View{m}.InQuarantine(c.Device))
	require.False(t, m.Entries(c.Incarnation)[1].Untrusted)
}

func TestANewOnlineKeySigns(t *testing.T) {
	t.Parallel()
	m, event, _ := adopted(t)
	for range 2 {
		require.NoError(t, Database{m}.RotateOnline(event))
	}
	signer, err := m.Service().Signer(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 3, signer.Key)
	require.NoError(t, m.trust.Verify(syncproto.Fingerprint(m.trust.Root)))
	require.Equal(t, public(signer.Private), m.trust.Key(syncproto.PurposeOnline, 3).Public)
	require.NotNil(t, m.trust.Key(syncproto.PurposeOnline, 2), "what was signed a moment ago can be read")
	require.Nil(t, m.trust.Key(syncproto.PurposeOnline, 1))
	require.NotNil(t, m.trust.Key(syncproto.PurposeTicket, 1))
}
