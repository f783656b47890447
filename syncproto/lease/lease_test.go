package lease_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
	"gatehouse/syncproto/lease"
)

var device, other = uuid.UUID{1}, uuid.UUID{2}

func book(first syncproto.TicketNo, count int) *lease.Book {
	return &lease.Book{Lease: syncproto.Lease{
		ID: uuid.UUID{9}, Device: device, Type: 3, First: first, Count: count, Expires: 1000_000, State: syncproto.LeaseOpen,
	}}
}

func entry(b *lease.Book, kind syncproto.Kind, n syncproto.TicketNo) *syncproto.Entry {
	return &syncproto.Entry{Kind: kind, Ticket: n, Of: syncproto.SaleOf(b.ID, b.Type), Code: syncproto.CodeHash{1}}
}

func TestASaleTakesTheLeasesPlace(t *testing.T) {
	b := book(10, 2)
	require.Equal(t, 2, b.Outstanding())
	require.Equal(t, syncproto.OutcomeSold, b.Sell(device, entry(b, syncproto.KindSale, 10), false))
	require.Equal(t, 1, b.Outstanding())
	require.Equal(t, syncproto.OutcomeNumberTaken, b.Sell(device, entry(b, syncproto.KindSale, 10), true))
	require.Equal(t, syncproto.OutcomeSold, b.Sell(device, entry(b, syncproto.KindSale, 11), false))
	require.Equal(t, syncproto.LeaseClosed, b.State)
	require.Zero(t, b.Outstanding())
}

func TestAHostileSaleIsNone(t *testing.T) {
	b := book(10, 2)
	wrongType := entry(b, syncproto.KindSale, 10)
	wrongType.Of = syncproto.SaleOf(b.ID, 4)
	wrongLease := entry(b, syncproto.KindSale, 10)
	wrongLease.Of = syncproto.SaleOf(uuid.UUID{8}, 3)
	noCode := entry(b, syncproto.KindSale, 10)
	noCode.Code = syncproto.CodeHash{}
	for name, c := range map[string]struct {
		by uuid.UUID
		e  *syncproto.Entry
	}{
		"number before": {device, entry(b, syncproto.KindSale, 9)}, "number after": {device, entry(b, syncproto.KindSale, 12)},
		"another's lease": {other, entry(b, syncproto.KindSale, 10)}, "wrong type": {device, wrongType},
		"no such lease": {device, wrongLease}, "no code": {device, noCode},
	} {
		require.Equal(t, syncproto.OutcomeNoLease, b.Sell(c.by, c.e, false), name)
	}
	var none *lease.Book
	require.Equal(t, syncproto.OutcomeNoLease, none.Sell(device, wrongType, false))
	require.Zero(t, none.Outstanding())
	require.Equal(t, 2, b.Outstanding())
}

func TestWhatWasReturnedIsNeverSold(t *testing.T) {
	b := book(10, 5)
	require.Equal(t, syncproto.OutcomeSold, b.Sell(device, entry(b, syncproto.KindSale, 11), false))
	require.Zero(t, b.Return(other, entry(b, syncproto.KindReturn, 12)), "only its own gate gives a lease back")
	require.Equal(t, 3, b.Return(device, entry(b, syncproto.KindReturn, 1)), "what was sold stays, whatever the gate says")
	require.Equal(t, syncproto.OutcomeNoLease, b.Sell(device, entry(b, syncproto.KindSale, 12), false))
	require.Zero(t, b.Return(device, entry(b, syncproto.KindReturn, 12)), "a return counts once")
	require.Equal(t, 1, b.Outstanding(), "10 may be sold, and on its way")
	require.Equal(t, syncproto.OutcomeSold, b.Sell(device, entry(b, syncproto.KindSale, 10), false))
	require.Equal(t, syncproto.LeaseClosed, b.State)
}

func TestAReleasedLeaseMakesNoTicket(t *testing.T) {
	b := book(10, 5)
	require.Equal(t, syncproto.OutcomeSold, b.Sell(device, entry(b, syncproto.KindSale, 10), false))
	require.Equal(t, 4, b.Release())
	require.Zero(t, b.Release())
	require.Equal(t, syncproto.OutcomeReleased, b.Sell(device, entry(b, syncproto.KindSale, 11), false))
	require.Zero(t, b.Return(device, entry(b, syncproto.KindReturn, 12)))
}

func TestAGrantKeepsToItsLimits(t *testing.T) {
	require.Equal(t, 5, lease.Account{Quota: 10, Used: 5}.Grant(20, 0))
	require.Zero(t, lease.Account{Quota: 10, Used: 10}.Grant(1, 0))
	require.Equal(t, syncproto.LeaseCountMax-7, lease.Account{}.Grant(syncproto.LeaseCountMax, 7), "unlimited, but not for one gate")
	require.Zero(t, lease.Account{}.Grant(1, syncproto.LeaseCountMax))
	require.Equal(t, -1, lease.Account{Used: 3}.Left())
}

func TestACodeIsHonouredWithinItsLease(t *testing.T) {
	l := &book(10, 2).Lease
	good := credential.Fields{Provisional: true, Ticket: 10, Type: 3, NotBefore: 1000}
	require.True(t, lease.Honours(l, &good))
	for name, f := range map[string]credential.Fields{
		"number": {Ticket: 12, Type: 3}, "type": {Ticket: 10, Type: 4}, "sold too late": {Ticket: 10, Type: 3, NotBefore: 1001},
	} {
		require.False(t, lease.Honours(l, &f), name)
	}
	for _, state := range []syncproto.LeaseState{syncproto.LeaseClosed, syncproto.LeaseReleased, "later"} {
		l.State = state
		require.False(t, lease.Honours(l, &good))
	}
}

// Whatever gates, organisers and operators do in whatever order, what is taken is
// the tickets and the leases, and never more than the quota.
func TestLeasesAndSalesNeverExceedTheQuota(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := lease.Account{Quota: rapid.IntRange(1, 30).Draw(t, "quota")}
		tickets, next := map[syncproto.TicketNo]bool{}, syncproto.TicketNo(1)
		var books []*lease.Book
		pick := func() *lease.Book {
			if len(books) == 0 {
				return nil
			}
			return rapid.SampledFrom(books).Draw(t, "lease")
		}
		t.Repeat(map[string]func(*rapid.T){
			"import": func(t *rapid.T) {
				n := rapid.IntRange(1, 5).Draw(t, "tickets")
				if a.Take(n) {
					for range n {
						tickets[next] = true
						next++
					}
				}
			},
			"cancel": func(t *rapid.T) {
				for n := range tickets {
					delete(tickets, n)
					a.Give(1)
					break
				}
			},
			"lease": func(t *rapid.T) {
				n := a.Grant(rapid.IntRange(1, 9).Draw(t, "asked"), 0)
				if n > 0 && a.Take(n) {
					b := book(next, n)
					b.ID = uuid.UUID{byte(len(books))}
					books, next = append(books, b), next+syncproto.TicketNo(n)
				}
			},
			"sell": func(t *rapid.T) {
				b, n := pick(), syncproto.TicketNo(rapid.Uint32Range(1, uint32(next)+3).Draw(t, "number"))
				if b != nil && b.Sell(device, entry(b, syncproto.KindSale, n), tickets[n]) == syncproto.OutcomeSold {
					tickets[n] = true
				}
			},
			"return": func(t *rapid.T) {
				if b := pick(); b != nil {
					a.Give(b.Return(device, entry(b, syncproto.KindReturn, syncproto.TicketNo(rapid.Uint32Range(1, uint32(next)+3).Draw(t, "from")))))
				}
			},
			"release": func(*rapid.T) {
				if b := pick(); b != nil {
					a.Give(b.Release())
				}
			},
			"": func(t *rapid.T) {
				sum := len(tickets)
				for _, b := range books {
					require.GreaterOrEqual(t, b.Outstanding(), 0)
					sum += b.Outstanding()
				}
				require.Equal(t, a.Used, sum)
				require.LessOrEqual(t, a.Used, a.Quota)
			},
		})
	})
}
