package finding_test

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"gatehouse/central/checkin"
	"gatehouse/central/finding"
	"gatehouse/central/fleet"
	"gatehouse/central/pgtest"
	"gatehouse/central/programme"
	"gatehouse/central/roster"
	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
	"gatehouse/syncproto/wire"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const eventFile = `
name: Fair
timezone: UTC
zones: [main]
ticket_types:
  - {key: single}
`

// bundle is an event with tickets 1 to 100, and what makes findings of what gates
// do. Nothing runs in the background.
type bundle struct {
	*finding.Service
	t       testing.TB
	pool    *pgxpool.Pool
	events  *programme.Service
	fleet   *fleet.Service
	checkin *checkin.Service
	event   programme.Event
	now     int64 // Unix ms
}

func setup(t testing.TB) *bundle {
	t.Helper()
	b := &bundle{t: t, pool: pgtest.New(t), now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC).UnixMilli()}
	var err error
	b.events, err = programme.New(programme.Config{Pool: b.pool, CreateStream: roster.CreateStream})
	require.NoError(t, err)
	keys, err := fleet.NewKeys(fleet.KeysConfig{Pool: b.pool})
	require.NoError(t, err)
	require.NoError(t, keys.Prepare(t.Context()))
	b.fleet, err = fleet.New(fleet.Config{Pool: b.pool, Events: b.events, Keys: keys, Watermark: checkin.Newest})
	require.NoError(t, err)
	b.checkin, err = checkin.New(checkin.Config{
		Pool: b.pool, Rules: b.events.Rules, Quarantine: b.fleet.Quarantine, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	b.Service, err = finding.New(finding.Config{Pool: b.pool, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	spec, err := programme.Parse(strings.NewReader(eventFile))
	require.NoError(t, err)
	b.event, err = b.events.Create(t.Context(), spec)
	require.NoError(t, err)
	b.exec(`
		INSERT INTO ticket (event_id, number, id, type_no, code_type, reference, status, status_at, key_id, needs_roster, code_hash)
		SELECT $1, i, gen_random_uuid(), 1, 1, 'R' || i, 'paid', $2, 1, false, decode(md5(i::text), 'hex')
		FROM generate_series(1, 100) i`, b.event.No, time.UnixMilli(b.now-3_600_000))
	return b
}

func (b *bundle) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.pool.Exec(b.t.Context(), sql, args...)
	require.NoError(b.t, err)
}

// gate is an enrolled gate with the journal that it writes.
type gate struct {
	*syncprototest.Chain
	b    *bundle
	name string
}

func (b *bundle) gate(name string) *gate {
	b.t.Helper()
	token, err := b.fleet.NewToken(b.t.Context(), b.event.No, name, time.Minute)
	require.NoError(b.t, err)
	key := syncprototest.Key(name + uuid.NewString())
	_, box, err := syncproto.NewBoxKey()
	require.NoError(b.t, err)
	reply, err := b.fleet.Enrol(b.t.Context(), syncproto.EnrolRequest{
		Token: token.Secret, DeviceKey: key.Public().(ed25519.PublicKey), BoxKey: box,
	})
	require.NoError(b.t, err)
	g := &gate{b: b, name: name}
	g.Chain = syncprototest.NewChain(reply.Device, key, b.event.No, syncprototest.Incarnation(b.now, uuid.NewString()), syncproto.Position{}, b.now)
	return g
}

// admit adds an admission with all that a finding tells of one.
func (g *gate) admit(no syncproto.TicketNo, ms int64) syncproto.Entry {
	return g.Add(syncproto.Entry{
		Kind: syncproto.KindAdmit, Reason: syncproto.ReasonAdmitted, Ticket: no, Lane: g.name + "-1", Zone: "main",
		Direction: syncproto.In, By: "staff-" + g.name, OffsetMS: 7, ErrMS: 3,
	}, ms)
}

func (g *gate) push() {
	g.b.t.Helper()
	req := g.All()
	require.NoError(g.b.t, wire.VerifyPush(&req, g.Key.Public().(ed25519.PublicKey)))
	_, err := g.b.checkin.Push(g.b.t.Context(), g.Device, req)
	require.NoError(g.b.t, err)
}

// settle seals, judges and looks until nothing is left to do.
func (b *bundle) settle() {
	b.t.Helper()
	for range 3 {
		_, err := roster.Seal(b.t.Context(), b.pool, b.event.Stream)
		require.NoError(b.t, err)
		require.NoError(b.t, b.checkin.Follow(b.t.Context()))
		require.NoError(b.t, b.Follow(b.t.Context()))
	}
}

func (b *bundle) list() finding.List {
	b.t.Helper()
	l, err := b.List(b.t.Context(), b.event.No, 0)
	require.NoError(b.t, err)
	return l
}

// only is the one finding that there is.
func (b *bundle) only() finding.Finding {
	b.t.Helper()
	l := b.list()
	require.Len(b.t, l.Findings, 1)
	return l.Findings[0]
}

func (b *bundle) count(sql string, args ...any) (n int) {
	b.t.Helper()
	require.NoError(b.t, b.pool.QueryRow(b.t.Context(), sql, args...).Scan(&n))
	return n
}

func TestDoubleAdmissionKeepsEvidenceOfBothSides(t *testing.T) {
	t.Parallel()
	b := setup(t)
	north, south := b.gate("North"), b.gate("South")
	first, second := north.admit(5, b.now), south.admit(5, b.now+60_000)
	south.push()
	b.settle()
	require.Empty(t, b.list().Findings, "one admission is no finding")
	north.push()
	b.settle()

	f := b.only()
	require.Equal(t, syncproto.FindingDouble, f.Kind)
	require.Equal(t, syncproto.DetailDuplicate, f.Detail)
	require.Equal(t, syncproto.FindingOpen, f.State)
	require.EqualValues(t, 5, *f.Ticket)
	require.Equal(t, syncproto.TicketID(b.event.Stream, 5), *f.TicketID)
	require.Equal(t, "R5", *f.Reference)
	require.EqualValues(t, 1, f.Count)
	require.Equal(t, "gate North let it in, and gate South again 1m0s later", f.Evidence)
	at := func(ms int64) *time.Time { t := time.UnixMilli(ms).UTC(); return &t }
	require.Equal(t, []finding.Side{
		{
			Gate: "North", Device: north.Device, Incarnation: &first.Incarnation, Seq: &first.Seq, Lane: "North-1", Zone: "main",
			Direction: syncproto.In, By: "staff-North", At: at(b.now), OffsetMS: 7, ErrMS: 3,
		},
		{
			Gate: "South", Device: south.Device, Incarnation: &second.Incarnation, Seq: &second.Seq, Lane: "South-1", Zone: "main",
			Direction: syncproto.In, By: "staff-South", At: at(b.now + 60_000), OffsetMS: 7, ErrMS: 3,
		},
	}, f.Sides)
	require.Equal(t, *at(b.now + 7), f.FirstAt)
	require.Equal(t, *at(b.now + 60_007), f.LastAt)
	require.Len(t, f.Steps, 1)
}

func TestConcurrentAdmissionsAreTold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	north, south := b.gate("North"), b.gate("South")
	north.admit(5, b.now)
	south.admit(5, b.now+4)
	north.push()
	south.push()
	b.settle()
	require.Equal(t, syncproto.DetailConcurrent, b.only().Detail)
}

// Whatever comes again, and however many copies of central look at once, a cause
// has one row, and the stream hears of it once.
func TestOneCauseHasOneRow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	north, south := b.gate("North"), b.gate("South")
	for no := syncproto.TicketNo(1); no <= 20; no++ {
		north.admit(no, b.now)
		south.admit(no, b.now+60_000)
	}
	north.push()
	south.push()
	_, err := roster.Seal(t.Context(), b.pool, b.event.Stream)
	require.NoError(t, err)
	var copies sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		copies.Go(func() { errs[i] = b.Follow(context.WithoutCancel(t.Context())) })
	}
	copies.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Equal(t, 20, b.list().Open)
	b.settle()
	told := b.count(`SELECT count(*) FROM sync_log WHERE kind = 6`)
	require.Equal(t, 20, told)

	north.push()
	south.push()
	n, err := b.checkin.Rebuild(t.Context(), b.event.No)
	require.NoError(t, err)
	require.Zero(t, n)
	b.settle()
	b.exec(`UPDATE finding_follow SET seq = 0`) // as after a crash that forgot all
	b.settle()
	require.Equal(t, 20, b.count(`SELECT count(*) FROM finding`))
	require.Equal(t, 20, b.count(`SELECT count(*) FROM finding_step`))
	require.Equal(t, told, b.count(`SELECT count(*) FROM sync_log WHERE kind = 6`), "nothing is told again")
}

// The log may be trimmed past the place where somebody stood: then everything is
// looked at.
func TestTrimmedLogLosesNoFinding(t *testing.T) {
	t.Parallel()
	b := setup(t)
	north, south := b.gate("North"), b.gate("South")
	north.admit(5, b.now)
	south.admit(5, b.now+60_000)
	north.Add(syncproto.Entry{Kind: syncproto.KindAdmit, Ticket: 6, Zone: "main", ErrMS: 60_000}, b.now+1)
	north.push()
	south.push()
	_, err := roster.Seal(t.Context(), b.pool, b.event.Stream)
	require.NoError(t, err)
	b.exec(`UPDATE sync_stream SET min_seq = head + 1`)
	b.exec(`DELETE FROM sync_log`)
	require.NoError(t, b.Follow(t.Context()))
	require.Equal(t, 2, b.list().Open)
	require.NoError(t, b.Follow(t.Context()))
	require.Equal(t, 2, b.count(`SELECT count(*) FROM finding`))
}

// An older entry that arrives late moves the verdict. What was found is not
// deleted: it is closed by central, and the row of the new cause is there.
func TestVerdictThatMovesIsToldTruthfully(t *testing.T) {
	t.Parallel()
	b := setup(t)
	north, south, west := b.gate("North"), b.gate("South"), b.gate("West")
	middle := south.admit(5, b.now+60_000)
	late := west.admit(5, b.now+120_000)
	south.push()
	west.push()
	b.settle()
	before := b.only()
	require.Equal(t, late.Seq, *before.Sides[1].Seq)
	require.Equal(t, "South", before.Sides[0].Gate)

	early := north.admit(5, b.now)
	north.push()
	b.settle()
	l := b.list()
	require.Len(t, l.Findings, 2)
	require.Equal(t, 2, l.Open)
	moved := l.Findings[0]
	require.Equal(t, []string{"North", "South"}, []string{moved.Sides[0].Gate, moved.Sides[1].Gate}, "what was the first repeats one now")
	require.Equal(t, early.Seq, *moved.Sides[0].Seq)
	require.Equal(t, before, l.Findings[1])

	// The earliest is taken back, then the middle one: nothing was double.
	north.Add(syncproto.Entry{Kind: syncproto.KindUndo, Ticket: 5, Of: early.Ref(), By: "s"}, b.now+130_000)
	south.Add(syncproto.Entry{Kind: syncproto.KindUndo, Ticket: 5, Of: middle.Ref(), By: "s"}, b.now+130_000)
	north.push()
	south.push()
	b.settle()
	l = b.list()
	require.Equal(t, 2, l.Closed)
	require.Len(t, l.Findings, 2, "nothing is deleted")
	for _, f := range l.Findings {
		require.NotNil(t, f.Moot)
		require.Empty(t, f.By, "central closed it")
		require.Contains(t, f.Note, "judged otherwise")
		require.Len(t, f.Sides, 2, "the evidence stays")
		require.Len(t, f.Steps, 2)
	}
}

// A cause that goes and comes back opens the finding that central closed, and
// leaves alone the one that somebody has decided on.
func TestACauseThatComesBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	north, south := b.gate("North"), b.gate("South")
	for _, no := range []syncproto.TicketNo{1, 2} {
		north.admit(no, b.now)
		south.admit(no, b.now+60_000)
	}
	north.push()
	south.push()
	b.settle()
	decided := b.list().Findings[0]
	_, err := b.Close(t.Context(), decided.ID, "Ada", "twins")
	require.NoError(t, err)
	total := func(n any) {
		b.exec(`UPDATE ticket_type SET entries_total = $1`, n)
		b.exec(`UPDATE event SET name = name`)
		b.settle()
	}
	total(2)
	require.Equal(t, 2, b.list().Closed)
	total(1)
	l := b.list()
	require.Equal(t, 1, l.Open)
	require.Equal(t, "its cause is back", l.Findings[0].Note)
	require.Nil(t, l.Findings[0].Moot)
	require.Equal(t, decided.ID, l.Findings[1].ID)
	require.Equal(t, "Ada", l.Findings[1].By)
	require.Nil(t, l.Findings[1].Moot)
}

func TestAdmissionAfterRevocation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.gate("North")
	before, after := g.admit(1, b.now), g.admit(2, b.now+120_000)
	g.push()
	b.exec(`UPDATE ticket SET status = 'revoked', status_at = $2, status_reason = 'Ada lost it' WHERE event_id = $1 AND number <= 2`,
		b.event.No, time.UnixMilli(b.now+60_000))
	b.settle()
	f := b.only()
	require.Equal(t, syncproto.FindingRevoked, f.Kind)
	require.Equal(t, after.Seq, *f.Sides[0].Seq)
	require.NotEqual(t, before.Seq, *f.Sides[0].Seq)
	require.Contains(t, f.Evidence, "revoked at 2026-06-01T12:01:00.000Z")
	require.NotContains(t, f.Evidence, "Ada")
}

func TestPeopleNoteAndClose(t *testing.T) {
	t.Parallel()
	b := setup(t)
	north, south := b.gate("North"), b.gate("South")
	north.admit(5, b.now)
	south.admit(5, b.now+60_000)
	north.push()
	south.push()
	b.settle()
	id := b.only().ID
	for name, c := range map[string]struct {
		id       int64
		by, note string
		want     error
	}{
		"unknown": {id + 7, "Ada", "", finding.ErrNoFinding}, "nobody": {id, "  ", "", finding.ErrText},
		"long name": {id, strings.Repeat("a", finding.NameMax+1), "", finding.ErrText},
		"long note": {id, "Ada", strings.Repeat("a", finding.NoteMax+1), finding.ErrText}, "bytes": {id, "Ada\xff", "", finding.ErrText},
		"nul": {id, "Ada", "a\x00", finding.ErrText},
	} {
		_, err := b.Note(t.Context(), c.id, c.by, c.note)
		require.ErrorIs(t, err, c.want, name)
	}
	require.Equal(t, 1, b.list().Open, "nothing of that changed it")

	event, err := b.Note(t.Context(), id, " Ada ", "asked North")
	require.NoError(t, err)
	require.Equal(t, b.event.No, event)
	_, err = b.Close(t.Context(), id, strings.Repeat("b", finding.NameMax), strings.Repeat("n", finding.NoteMax))
	require.NoError(t, err)
	f := b.only()
	require.Equal(t, syncproto.FindingClosed, f.State)
	require.Len(t, f.Steps, 3)
	require.Equal(t, finding.Step{At: f.Steps[1].At, State: syncproto.FindingNoted, By: "Ada", Note: "asked North"}, f.Steps[1])
	n, err := b.Open(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
	_, err = b.Note(t.Context(), id, "Ada", "not over")
	require.NoError(t, err)
	require.Equal(t, 1, b.list().Noted, "noting takes a closed one up again")
	b.settle()
	require.Equal(t, 1, b.list().Noted, "looking again leaves what people said")
}

func TestListIsCutAndOrdered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	north, south := b.gate("North"), b.gate("South")
	for no := syncproto.TicketNo(1); no <= 4; no++ {
		north.admit(no, b.now)
		south.admit(no, b.now+60_000)
	}
	north.push()
	south.push()
	b.settle()
	newest := b.list().Findings[0].ID
	_, err := b.Note(t.Context(), newest, "Ada", "")
	require.NoError(t, err)
	_, err = b.Close(t.Context(), newest-1, "Ada", "")
	require.NoError(t, err)
	l, err := b.List(t.Context(), b.event.No, 3)
	require.NoError(t, err)
	require.Equal(t, []int{2, 1, 1}, []int{l.Open, l.Noted, l.Closed}, "all are counted")
	require.Len(t, l.Findings, 3)
	require.Equal(t, []int64{newest - 2, newest - 3, newest}, []int64{l.Findings[0].ID, l.Findings[1].ID, l.Findings[2].ID})
}
