package ticket_test

import (
	"context"
	"crypto/ed25519"
	"encoding/csv"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"gatehouse/central/pgtest"
	"gatehouse/central/programme"
	"gatehouse/central/ticket"
	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// keys are ticket keys made from their id.
type keys struct{ current syncproto.KeyID }

func (k *keys) TicketKeys(context.Context) (syncproto.KeyID, map[syncproto.KeyID]ed25519.PrivateKey, error) {
	all := map[syncproto.KeyID]ed25519.PrivateKey{}
	for id := syncproto.KeyID(1); id <= k.current; id++ {
		all[id] = ed25519.NewKeyFromSeed([]byte(fmt.Sprintf("%032d", id)))
	}
	return k.current, all, nil
}

type bundle struct {
	*ticket.Service
	pool  *pgxpool.Pool
	event programme.Event
	keys  *keys
	hash  *credential.Hasher
	now   time.Time
}

const eventFile = `
name: Fair
timezone: UTC
ticket_types:
  - {key: day, valid_from: 2026-07-01T09:00, valid_until: 2026-07-02T02:00}
  - {key: crew}
`

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{pool: pgtest.New(t), keys: &keys{current: 1}, now: time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)}
	events, err := programme.New(programme.Config{
		Pool:         b.pool,
		CreateStream: func(context.Context, pgx.Tx, syncproto.EventNo, uuid.UUID) error { return nil },
	})
	require.NoError(t, err)
	spec, err := programme.Parse(strings.NewReader(eventFile))
	require.NoError(t, err)
	b.event, err = events.Create(t.Context(), spec)
	require.NoError(t, err)
	hashKey, err := events.HashKey(t.Context(), b.event.No)
	require.NoError(t, err)
	b.hash = credential.NewHasher(hashKey)
	b.Service, err = ticket.New(ticket.Config{Pool: b.pool, Programme: events, Keys: b.keys, Now: func() time.Time { return b.now }})
	require.NoError(t, err)
	b.outbox(t)
	return b
}

func (b *bundle) load(t *testing.T, file string, update bool) (ticket.Imported, error) {
	t.Helper()
	return b.Import(t.Context(), ticket.Import{Event: b.event.No, Source: strings.NewReader(file), Update: update})
}

func (b *bundle) mustLoad(t *testing.T, file string, update bool) ticket.Imported {
	t.Helper()
	done, err := b.load(t, file, update)
	require.NoError(t, err)
	return done
}

// stored is a ticket as the table has it.
type stored struct {
	Number               syncproto.TicketNo
	ID                   uuid.UUID
	Type                 int
	Name, Email, Notes   string
	Status, StatusReason string
	StatusAt             time.Time
	Issue                int
	NeedsRoster          bool
	Hash                 []byte
	Rev                  int64
}

func (b *bundle) stored(t *testing.T, reference string) stored {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `
		SELECT number, id, type_no, holder_name, holder_email, notes, status, status_reason, status_at, issue, needs_roster, code_hash, rev
		FROM ticket WHERE event_id = $1 AND reference = $2`, b.event.No, reference)
	require.NoError(t, err)
	s, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[stored])
	require.NoError(t, err)
	return s
}

func (b *bundle) count(t *testing.T) (n int) {
	t.Helper()
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM ticket`).Scan(&n))
	return n
}

// outbox is which ticket numbers the stream was told of since the last call.
func (b *bundle) outbox(t *testing.T) []int64 {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `
		WITH told AS (DELETE FROM sync_outbox WHERE stream_id = $1 RETURNING kind, entity_no)
		SELECT entity_no FROM told WHERE kind = 1`, b.event.Stream)
	require.NoError(t, err)
	numbers, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	require.NoError(t, err)
	return numbers
}

// requireCode checks a code against the table as a gate would.
func (b *bundle) requireCode(t *testing.T, reference, code string) credential.Code {
	t.Helper()
	s := b.stored(t, reference)
	parsed, err := credential.Parse([]byte(code))
	require.NoError(t, err)
	_, all, err := b.keys.TicketKeys(t.Context())
	require.NoError(t, err)
	require.True(t, parsed.Verify(all[parsed.Key].Public().(ed25519.PublicKey)))
	require.Equal(t, b.event.No, parsed.Event)
	require.Equal(t, s.Number, parsed.Ticket)
	sum := b.hash.Sum([]byte(code))
	require.Equal(t, s.Hash, sum[:])
	return parsed
}

func TestImportMakesTicketsWithCodes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	done := b.mustLoad(t, "reference,name,email,ticket_type,status,notes\n"+
		"A-1,Ann,ann@example.org,day,,front row\nA-2,Bob,,crew,unpaid,\nA-3,Cy,,crew,cancelled,\n", false)
	require.Equal(t, ticket.Imported{Added: 3}, done)
	require.ElementsMatch(t, []int64{1, 2, 3}, b.outbox(t))

	ann := b.stored(t, "A-1")
	require.Equal(t, syncproto.TicketID(b.event.Stream, ann.Number), ann.ID)
	require.Equal(t, []string{"Ann", "ann@example.org", "front row", "paid"}, []string{ann.Name, ann.Email, ann.Notes, ann.Status})
	code, err := b.Code(t.Context(), b.event.No, "A-1")
	require.NoError(t, err)
	parsed := b.requireCode(t, "A-1", code)
	require.False(t, parsed.NeedsRoster)
	require.Equal(t, time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC).Unix(), parsed.NotBefore)
	require.Equal(t, time.Date(2026, 7, 2, 2, 0, 0, 0, time.UTC).Unix(), parsed.NotAfter)
	for _, reference := range []string{"A-2", "A-3"} {
		code, err := b.Code(t.Context(), b.event.No, reference)
		require.NoError(t, err)
		parsed := b.requireCode(t, reference, code)
		require.True(t, parsed.NeedsRoster, "what is not paid is nothing without the roster")
		require.Zero(t, parsed.NotAfter)
	}
}

func TestImportIsAllOrNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.mustLoad(t, "reference,ticket_type\nA-1,day\n", false)
	b.outbox(t)
	for name, c := range map[string]struct {
		file string
		line int
		want string
	}{
		"bad row":      {"reference,ticket_type,status\nB-1,day,\nB-2,day,maybe\n", 3, `"maybe" is not`},
		"unknown type": {"reference,ticket_type\nB-1,day\nB-2,vip\n", 3, `ticket_type: the event has no type "vip"`},
		"exists":       {"reference,ticket_type\nB-1,day\nA-1,day\n", 3, "the reference exists; give --update to change it"},
		"twice":        {"reference,ticket_type\nB-1,day\nB-1,day\n", 3, "on line 2 already"},
	} {
		_, err := b.load(t, c.file, false)
		var bad *ticket.FileError
		require.ErrorAs(t, err, &bad, name)
		require.Len(t, bad.Rows, 1, name)
		require.Equal(t, c.line, bad.Rows[0].Line, name)
		require.Contains(t, bad.Rows[0].Reason, c.want, name)
	}
	require.Equal(t, 1, b.count(t))
	require.Empty(t, b.outbox(t))
	_, err := b.Import(t.Context(), ticket.Import{Event: 77, Source: strings.NewReader("reference,ticket_type\n")})
	require.ErrorIs(t, err, programme.ErrNoEvent)
}

func TestImportListsBadRowsOfAllKindsAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.mustLoad(t, "reference,ticket_type\nA-1,day\nA-2,day\nA-3,day\n", false)
	const file = "reference,ticket_type,status\nA-1,day,\nB-1,vip,\nB-2,day,maybe\nB-3,day\nA-2,vip,\nB-4,day,\nB-4,day,\nA-3,day,\n"
	_, err := b.load(t, file, false)
	const exists = "the reference exists; give --update to change it"
	require.EqualError(t, err, `7 bad rows, nothing was imported; correct the file and import it again:
  line 2: reference "A-1": `+exists+`
  line 3: reference "B-1": ticket_type: the event has no type "vip"
  line 4: reference "B-2": status: "maybe" is not paid, unpaid or cancelled
  line 5: it has 2 cells and the header has 3
  line 6: reference "A-2": ticket_type: the event has no type "vip"; `+exists+`
  line 8: reference "B-4": the reference is on line 7 already
  line 9: reference "A-3": `+exists)
	_, err = b.load(t, file, true)
	require.ErrorContains(t, err, "5 bad rows")
	require.Equal(t, 3, b.count(t))
}

func TestUpdateChangesOnlyGivenColumnsAndKeepsTheCode(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.mustLoad(t, "reference,name,email,ticket_type,status,notes\nA-1,Ann,a@x,day,unpaid,n1\nA-2,Bob,b@x,day,paid,n2\nA-3,Cy,c@x,day,paid,n3\n", false)
	before := b.stored(t, "A-1")
	code, err := b.Code(t.Context(), b.event.No, "A-1")
	require.NoError(t, err)
	b.outbox(t)
	b.now = b.now.Add(time.Hour)

	done := b.mustLoad(t, "status,ticket_type,reference,name\npaid,crew,A-1,Anna\n,day,A-2,Bob\n,day,A-9,New\n", true)
	require.Equal(t, ticket.Imported{Added: 1, Updated: 1, Unchanged: 1}, done)
	require.ElementsMatch(t, []int64{1, 4}, b.outbox(t), "what did not change is told to nobody")
	after := b.stored(t, "A-1")
	want := before
	want.Name, want.Type, want.Status, want.StatusAt, want.Rev = "Anna", 2, "paid", b.now, before.Rev+1
	after.StatusAt = after.StatusAt.UTC()
	require.Equal(t, want, after)
	again, err := b.Code(t.Context(), b.event.No, "A-1")
	require.NoError(t, err)
	require.Equal(t, code, again, "the code in the holder's hands goes on being valid")
	require.Equal(t, "n3", b.stored(t, "A-3").Notes, "rows that the file does not name stay")

	b.mustLoad(t, "reference,ticket_type,notes\nA-2,day,\n", true)
	require.Empty(t, b.stored(t, "A-2").Notes, "an empty cell of a given column empties the field")
	require.Equal(t, "paid", b.stored(t, "A-2").Status)
}

func TestNoImportLiftsARevocation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.mustLoad(t, "reference,ticket_type\nA-1,day\n", false)
	require.NoError(t, b.Revoke(t.Context(), b.event.No, "A-1", "charge back"))
	revoked := b.stored(t, "A-1")
	b.now = b.now.Add(time.Hour)
	b.mustLoad(t, "reference,ticket_type,status,name\nA-1,crew,paid,Ann\n", true)
	after := b.stored(t, "A-1")
	require.Equal(t, "revoked", after.Status)
	require.Equal(t, "charge back", after.StatusReason)
	require.Equal(t, revoked.StatusAt, after.StatusAt)
	require.Equal(t, "Ann", after.Name)
}

func TestRevokeIsFinalAndIdempotent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.mustLoad(t, "reference,ticket_type\nA-1,day\nA-2,day\n", false)
	b.outbox(t)
	require.ErrorContains(t, b.Revoke(t.Context(), b.event.No, "A-1", " "), "needs a reason")
	require.ErrorIs(t, b.Revoke(t.Context(), b.event.No, "A-7", "x"), ticket.ErrNoTicket)
	require.ErrorIs(t, b.Revoke(t.Context(), b.event.No+1, "A-1", "x"), ticket.ErrNoTicket)
	require.NoError(t, b.Revoke(t.Context(), b.event.No, "A-1", "lost"))
	first := b.stored(t, "A-1")
	require.Equal(t, []string{"revoked", "lost"}, []string{first.Status, first.StatusReason})
	require.True(t, first.StatusAt.Equal(b.now))
	require.Equal(t, []int64{1}, b.outbox(t))

	b.now = b.now.Add(time.Hour)
	require.NoError(t, b.Revoke(t.Context(), b.event.No, "A-1", "again"))
	require.Equal(t, first, b.stored(t, "A-1"))
	require.Empty(t, b.outbox(t))
	require.Equal(t, "paid", b.stored(t, "A-2").Status)
	_, err := b.Reissue(t.Context(), b.event.No, "A-1")
	require.ErrorContains(t, err, "is revoked")
}

func TestReissueReplacesTheCode(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.mustLoad(t, "reference,ticket_type,status\nA-1,day,unpaid\n", false)
	b.mustLoad(t, "reference,ticket_type,status\nA-1,crew,paid\n", true)
	old, err := b.Code(t.Context(), b.event.No, "A-1")
	require.NoError(t, err)
	b.keys.current = 2
	b.outbox(t)

	fresh, err := b.Reissue(t.Context(), b.event.No, "A-1")
	require.NoError(t, err)
	require.NotEqual(t, old, fresh)
	require.Equal(t, []int64{1}, b.outbox(t))
	parsed := b.requireCode(t, "A-1", fresh)
	require.Equal(t, credential.Fields{Key: 2, Event: b.event.No, Ticket: 1, Type: 2, Issue: 1}, parsed.Fields, "it signs what the ticket is worth now")
	again, err := b.Code(t.Context(), b.event.No, "A-1")
	require.NoError(t, err)
	require.Equal(t, fresh, again)
	_, err = b.Reissue(t.Context(), b.event.No, "A-7")
	require.ErrorIs(t, err, ticket.ErrNoTicket)

	_, err = b.pool.Exec(t.Context(), `UPDATE ticket SET issue = $1`, credential.IssueMax-1)
	require.NoError(t, err)
	_, err = b.Reissue(t.Context(), b.event.No, "A-1")
	require.NoError(t, err, "the last replacement fits")
	_, err = b.Reissue(t.Context(), b.event.No, "A-1")
	require.ErrorContains(t, err, "was replaced 127 times, which is the most")
}

func TestRotatedKeySignsNewCodesOnly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.mustLoad(t, "reference,ticket_type\nA-1,day\n", false)
	b.keys.current = 2
	b.mustLoad(t, "reference,ticket_type\nA-2,day\n", false)
	for reference, key := range map[string]syncproto.KeyID{"A-1": 1, "A-2": 2} {
		code, err := b.Code(t.Context(), b.event.No, reference)
		require.NoError(t, err)
		require.Equal(t, key, b.requireCode(t, reference, code).Key)
	}
	b.keys.current = 0
	_, err := b.Code(t.Context(), b.event.No, "A-1")
	require.ErrorContains(t, err, "its key 1 is missing")
}

func TestCodeThatGatesWereNotToldOfIsNotGivenOut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.mustLoad(t, "reference,ticket_type\nA-1,day\n", false)
	_, err := b.pool.Exec(t.Context(), `UPDATE ticket SET issue = 1`)
	require.NoError(t, err)
	_, err = b.Code(t.Context(), b.event.No, "A-1")
	require.ErrorContains(t, err, "does not match what is stored of it")
	require.Error(t, b.Codes(t.Context(), b.event.No, &strings.Builder{}))
}

func TestConcurrentImportsShareTheNumbers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const files, each = 6, 40
	var wg sync.WaitGroup
	for f := range files {
		wg.Go(func() {
			if _, err := b.load(t, sheet(fmt.Sprintf("F%d", f), each), false); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var n, distinct int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*), count(DISTINCT number) FROM ticket`).Scan(&n, &distinct))
	require.Equal(t, files*each, n)
	require.Equal(t, n, distinct)
}

func TestConcurrentImportsOfOneFileAddItOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var (
		wg   sync.WaitGroup
		errs = make([]error, 4)
	)
	for i := range errs {
		wg.Go(func() { _, errs[i] = b.load(t, sheet("A", 30), false) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		require.ErrorContains(t, err, "30 bad rows")
	}
	require.Equal(t, 1, won)
	require.Equal(t, 30, b.count(t))
}

// sheet is a CSV file of n tickets.
func sheet(prefix string, n int) string {
	var out strings.Builder
	out.WriteString("reference,name,email,ticket_type,status,notes\n")
	for i := range n {
		fmt.Fprintf(&out, "%s-%06d,Guest %d,guest%d@example.org,day,paid,\n", prefix, i, i, i)
	}
	return out.String()
}

func TestFiftyThousandTicketsInAndOut(t *testing.T) {
	if testing.Short() {
		t.Skip("imports 50,000 tickets")
	}
	b := setup(t)
	const n = 50_000
	var (
		mu   sync.Mutex
		most int
	)
	file := sheet("A", n)
	began := time.Now()
	done, err := b.Import(t.Context(), ticket.Import{Event: b.event.No, Source: strings.NewReader(file), Progress: func(done, total int) {
		mu.Lock()
		defer mu.Unlock()
		most = max(most, done*100/total)
	}})
	require.NoError(t, err)
	t.Logf("%d tickets imported in %s", n, time.Since(began))
	require.Equal(t, n, done.Added)
	require.Equal(t, 100, most)
	require.Len(t, b.outbox(t), n)

	began = time.Now()
	var out strings.Builder
	require.NoError(t, b.Codes(t.Context(), b.event.No, &out))
	t.Logf("%d codes exported in %s", n, time.Since(began))
	records, err := csv.NewReader(strings.NewReader(out.String())).ReadAll()
	require.NoError(t, err)
	require.Equal(t, []string{"reference", "ticket_id", "code"}, records[0])
	require.Len(t, records, n+1)
	codes := map[string]bool{}
	for i, r := range records[1:] {
		require.Equal(t, fmt.Sprintf("A-%06d", i), r[0])
		codes[r[2]] = true
	}
	require.Len(t, codes, n)
	b.requireCode(t, records[n][0], records[n][2])

	began = time.Now()
	done = b.mustLoad(t, strings.ReplaceAll(file, "Guest", "Visitor"), true)
	t.Logf("%d tickets updated in %s", n, time.Since(began))
	require.Equal(t, ticket.Imported{Updated: n}, done)
	require.Equal(t, ticket.Imported{Unchanged: n}, b.mustLoad(t, strings.ReplaceAll(file, "Guest", "Visitor"), true))
}
