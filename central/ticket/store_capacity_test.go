package ticket_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"gatehouse/central/pg"
	"gatehouse/central/ticket"
	"gatehouse/migrations"
	"gatehouse/syncproto"
)

// limit gives a type a quota.
func (b *bundle) limit(t *testing.T, typ syncproto.TypeNo, quota int) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), `UPDATE capacity SET quota = $3 WHERE event_id = $1 AND type_no = $2`, b.event.No, typ, quota)
	require.NoError(t, err)
}

// used is what is taken of a type.
func (b *bundle) used(t *testing.T, typ syncproto.TypeNo) (n int) {
	t.Helper()
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT used FROM capacity WHERE event_id = $1 AND type_no = $2`, b.event.No, typ).Scan(&n))
	return n
}

const (
	day  = syncproto.TypeNo(1)
	crew = syncproto.TypeNo(2)
)

func TestAnImportBeyondTheQuotaChangesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.limit(t, day, 3)
	b.mustLoad(t, "reference,ticket_type,status\nA,day,paid\nB,day,unpaid\nC,day,cancelled\n", false)
	require.Equal(t, 2, b.used(t, day), "what is not paid has its place; what is cancelled has none")
	b.outbox(t)
	_, err := b.load(t, "reference,ticket_type\nD,day\nE,day\nF,crew\n", false)
	require.EqualError(t, err, `ticket type "day" has a quota of 3, of which 2 are taken, and this needs 2 more; nothing was changed`)
	var full *ticket.FullError
	require.ErrorAs(t, err, &full)
	require.Equal(t, []int{2, 0}, []int{b.used(t, day), b.used(t, crew)})
	require.Empty(t, b.outbox(t), "gates hear of nothing")
	b.mustLoad(t, "reference,ticket_type\nD,day\nF,crew\n", false)
	require.Equal(t, []int{3, 1}, []int{b.used(t, day), b.used(t, crew)})
}

func TestWhatIsWithdrawnIsFreeAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.limit(t, day, 2)
	b.mustLoad(t, "reference,ticket_type\nA,day\nB,day\n", false)
	for range 2 {
		require.NoError(t, b.Revoke(t.Context(), b.event.No, "A", "lost"))
		require.Equal(t, 1, b.used(t, day), "a revocation frees its place once")
	}
	b.mustLoad(t, "reference,ticket_type,status\nB,day,cancelled\n", true)
	require.Zero(t, b.used(t, day))
	b.mustLoad(t, "reference,ticket_type\nC,day\nD,day\n", false)
	_, err := b.load(t, "reference,ticket_type,status\nB,day,paid\n", true)
	require.ErrorContains(t, err, "of which 2 are taken, and this needs 1 more", "a cancellation is lifted only while there is a place")
	b.mustLoad(t, "reference,ticket_type,status\nC,crew,paid\n", true)
	require.Equal(t, []int{1, 1}, []int{b.used(t, day), b.used(t, crew)}, "another type is another place")
	b.mustLoad(t, "reference,ticket_type,status\nB,day,paid\nD,day,cancelled\nE,day,paid\n", true)
	require.Equal(t, 2, b.used(t, day), "what one file gives back it can take")
	b.mustLoad(t, "reference,ticket_type\nA,day\n", true)
	require.Equal(t, 2, b.used(t, day), "no import lifts a revocation, so none takes its place")
}

// What was sold before there were quotas counts from the first moment, and the way
// back leaves the tickets as they were.
func TestTicketsOfBeforeCount(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.mustLoad(t, "reference,ticket_type,status\nA,day,paid\nB,day,unpaid\nC,day,cancelled\nD,crew,paid\n", false)
	text, err := fs.ReadFile(migrations.Central(), "00004_walkup.sql")
	require.NoError(t, err)
	up, down, ok := strings.Cut(string(text), "-- +goose Down")
	require.True(t, ok)
	for _, sql := range []string{down, up} {
		_, err = b.pool.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	require.Equal(t, []int{2, 1}, []int{b.used(t, day), b.used(t, crew)})
	require.Equal(t, "paid", b.stored(t, "A").Status)
}

// The constraint stands behind the statements.
func TestTheDatabaseItselfKeepsTheQuota(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.limit(t, day, 2)
	_, err := b.pool.Exec(t.Context(), `UPDATE capacity SET used = 3 WHERE event_id = $1 AND type_no = $2`, b.event.No, day)
	require.Equal(t, "capacity_within_quota", pg.Constraint(err))
	_, err = b.pool.Exec(t.Context(), `UPDATE capacity SET used = -1 WHERE event_id = $1 AND type_no = $2`, b.event.No, day)
	require.Equal(t, pg.CheckViolation, pg.Code(err))
}

// A ticket that a gate sold is one like any other, but for its code, which central
// cannot make.
func TestASoldTicketIsATicket(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.load(t, "reference,ticket_type\nwalkup-7,day\nA,day\n", false)
	require.ErrorContains(t, err, "are for tickets that gates sell")
	b.mustLoad(t, "reference,ticket_type\nA,day\n", false)
	var device uuid.UUID
	require.NoError(t, b.pool.QueryRow(t.Context(), `
		INSERT INTO gate (device_id, event_id, name, public_key, box_key, enrolled_at)
		VALUES (gen_random_uuid(), $1, 'North', sha256('a'), sha256('b'), now())
		RETURNING device_id`, b.event.No).Scan(&device))
	code := "AIAAAAAAAMAAAAAHAABAA2CO4GAAAAAAAD6BNOINESOMKH7K3JQAPBZBXISFSAEVPFFEZL76LWHTJPBFIFFOVR5QVR65HO6V3GM3PUX5P5HZ3EVMCXITIZIWIC7ANXJ4CWTMCFQM"
	hash := b.hash.Sum([]byte(code))
	require.NoError(t, pg.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
		return ticket.InsertSold(t.Context(), tx, b.event.No, b.event.Stream, []ticket.Sold{{Number: 7, Type: day, Hash: hash, By: device, At: b.now}})
	}))
	s := b.stored(t, "walkup-7")
	require.Equal(t, []any{syncproto.TicketNo(7), "paid", hash[:], syncproto.TicketID(b.event.Stream, 7)}, []any{s.Number, s.Status, s.Hash, s.ID})

	_, err = b.Code(t.Context(), b.event.No, "walkup-7")
	require.ErrorContains(t, err, "has not told its code yet")
	details := syncproto.SaleDetails{Event: b.event.No, Ticket: 7, Name: "Ada", Email: "ada@example.org", Code: code}
	forged := details
	forged.Code = code[:135] + "A"
	require.ErrorIs(t, b.Name(t.Context(), b.event.No, forged), ticket.ErrNotSold)
	imported := details
	imported.Ticket = 1
	require.ErrorIs(t, b.Name(t.Context(), b.event.No, imported), ticket.ErrNotSold)
	missing := details
	missing.Ticket = 99
	require.ErrorIs(t, b.Name(t.Context(), b.event.No, missing), ticket.ErrNotYet)
	require.NoError(t, b.Name(t.Context(), b.event.No, details))
	got, err := b.Code(t.Context(), b.event.No, "walkup-7")
	require.NoError(t, err)
	require.Equal(t, code, got)

	b.mustLoad(t, "reference,ticket_type,name\nwalkup-7,day,Ada King\n", true)
	require.NoError(t, b.Name(t.Context(), b.event.No, details), "told again")
	require.Equal(t, "Ada King", b.stored(t, "walkup-7").Name, "what the organiser wrote stands")
	newer, err := b.Reissue(t.Context(), b.event.No, "walkup-7")
	require.NoError(t, err)
	require.NotEqual(t, code, newer)
	got, err = b.Code(t.Context(), b.event.No, "walkup-7")
	require.NoError(t, err)
	require.Equal(t, newer, got, "a new code is central's own")
	require.Equal(t, 1, b.stored(t, "walkup-7").Issue)
}
