package agenda_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"gatehouse/central/agenda"
	"gatehouse/central/pgtest"
	"gatehouse/central/programme"
	"gatehouse/central/roster"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// bundle is a service, an account and an event of as many sessions as an agenda takes and
// one more. It is the audit.
type bundle struct {
	*agenda.Service
	pool     *pgxpool.Pool
	account  uuid.UUID
	sessions []int64

	mu   sync.Mutex
	told []string
	fail error
}

// Record implements agenda.Audit.
func (b *bundle) Record(_ context.Context, _ pgx.Tx, action, _, id string, _ syncproto.EventNo, _, _ any) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail == nil {
		b.told = append(b.told, action+" "+id)
	}
	return b.fail
}

func begin(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{pool: pgtest.New(t)}
	var err error
	b.Service, err = agenda.New(agenda.Config{Pool: b.pool, Audit: b})
	require.NoError(t, err)
	people, err := staff.New(staff.Config{Pool: b.pool})
	require.NoError(t, err)
	require.NoError(t, people.Prepare(t.Context()))
	a, err := people.Accounts.Create(t.Context(), staff.CommandLine(), staff.NewAccount{Email: "ada@example.com", Name: "Ada", Role: staff.Attendee, Password: "correct horse battery staple"})
	require.NoError(t, err)
	b.account = a.ID
	prog, err := programme.New(programme.Config{Pool: b.pool, CreateStream: roster.CreateStream})
	require.NoError(t, err)
	event, err := prog.CreateDraft(t.Context(), programme.EventInput{Name: "Fair", Timezone: "UTC"})
	require.NoError(t, err)
	rows, err := b.pool.Query(t.Context(), `
		INSERT INTO session (event_id, firm, title, starts_at, ends_at)
		SELECT $1, false, 'Talk ' || n, '2026-07-01', '2026-07-02' FROM generate_series(0, $2) n
		RETURNING id`, int64(event.No), agenda.SessionsMax)
	require.NoError(t, err)
	b.sessions, err = pgx.CollectRows(rows, pgx.RowTo[int64])
	require.NoError(t, err)
	return b
}

func TestAnAgendaIsBounded(t *testing.T) {
	t.Parallel()
	b := begin(t)
	for _, id := range b.sessions[:agenda.SessionsMax] {
		require.NoError(t, b.Add(t.Context(), b.account, 1, id))
	}
	last := b.sessions[agenda.SessionsMax]
	require.ErrorIs(t, b.Add(t.Context(), b.account, 1, last), agenda.ErrFull)
	require.NoError(t, b.Add(t.Context(), b.account, 1, b.sessions[0]), "it is in it already")
	require.NoError(t, b.Remove(t.Context(), b.account, 1, b.sessions[0]))
	require.NoError(t, b.Add(t.Context(), b.account, 1, last))
	got, err := b.Sessions(t.Context(), b.account)
	require.NoError(t, err)
	require.Equal(t, b.sessions[1:], got)
}

func TestTheSameChoiceAtOnceIsOneChoice(t *testing.T) {
	t.Parallel()
	b := begin(t)
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			if err := b.Add(t.Context(), b.account, 1, b.sessions[0]); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	got, err := b.Sessions(t.Context(), b.account)
	require.NoError(t, err)
	require.Equal(t, b.sessions[:1], got)
	require.Equal(t, []string{fmt.Sprint("agenda.add ", b.sessions[0])}, b.told)
}

func TestWhatIsNotThereIsNotChosen(t *testing.T) {
	t.Parallel()
	b := begin(t)
	require.ErrorIs(t, b.Add(t.Context(), b.account, 1, 1<<40), agenda.ErrNoSession)
	_, err := b.ByLink(t.Context(), "")
	require.ErrorIs(t, err, agenda.ErrNoLink)
}

func TestWithoutItsRowInTheAuditNothingIsChanged(t *testing.T) {
	t.Parallel()
	b := begin(t)
	b.fail = errors.New("the audit log is full")
	require.ErrorIs(t, b.Add(t.Context(), b.account, 1, b.sessions[0]), b.fail)
	_, err := b.NewLink(t.Context(), b.account)
	require.ErrorIs(t, err, b.fail)
	got, err := b.Sessions(t.Context(), b.account)
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestALinkIsStoredNowhere(t *testing.T) {
	t.Parallel()
	b := begin(t)
	link, err := b.NewLink(t.Context(), b.account)
	require.NoError(t, err)
	require.Len(t, link, 32)
	who, err := b.ByLink(t.Context(), link)
	require.NoError(t, err)
	require.Equal(t, b.account, who)
	var stored string
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT agenda::text FROM agenda`).Scan(&stored))
	require.NotContains(t, stored, link)
}
