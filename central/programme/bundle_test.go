package programme_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"gatehouse/central/pgtest"
	"gatehouse/central/programme"
	"gatehouse/central/roster"
	"gatehouse/syncproto"
)

// bundle is a programme with the change log and an audit.
type bundle struct {
	*programme.Service
	pool *pgxpool.Pool

	mu    sync.Mutex
	audit []told // of what was written, and perhaps rolled back
	fail  error  // what the audit says
}

func begin(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{pool: pgtest.New(t)}
	var err error
	b.Service, err = programme.New(programme.Config{
		Pool: b.pool, CreateStream: roster.CreateStream, DropStream: roster.DropStream,
		Audit: b,
	})
	require.NoError(t, err)
	return b
}

// told is a write that the audit was told of.
type told struct {
	Action, Kind, ID string
	Event            syncproto.EventNo
	Before, After    json.RawMessage // nil for what was not there
}

// Record implements programme.Audit.
func (b *bundle) Record(_ context.Context, _ pgx.Tx, action, kind, id string, event syncproto.EventNo, before, after any) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := told{Action: action, Kind: kind, ID: id, Event: event}
	for _, side := range []struct {
		value any
		out   *json.RawMessage
	}{{before, &e.Before}, {after, &e.After}} {
		if side.value == nil {
			continue
		}
		body, err := json.Marshal(side.value)
		if err != nil {
			return err
		}
		*side.out = body
	}
	b.audit = append(b.audit, e)
	return b.fail
}

// actions are what the audit was told since the last call.
func (b *bundle) actions() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := []string{}
	for _, e := range b.audit {
		out = append(out, e.Action+" "+e.ID)
	}
	b.audit = nil
	return out
}

func (b *bundle) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func value[T any](t *testing.T, b *bundle, sql string, args ...any) (v T) {
	t.Helper()
	require.NoError(t, b.pool.QueryRow(t.Context(), sql, args...).Scan(&v))
	return v
}

// told seals what the stream of an event was told and says how often it was of rules.
func (b *bundle) told(t *testing.T, e programme.Event) int {
	t.Helper()
	n := value[int](t, b, `SELECT count(*) FROM sync_outbox WHERE stream_id = $1 AND kind = 2`, e.Stream)
	_, err := roster.Seal(t.Context(), b.pool, e.Stream)
	require.NoError(t, err)
	return n
}

func when(t *testing.T, text string) programme.When {
	t.Helper()
	w, err := programme.ParseWhen(text)
	require.NoError(t, err)
	return w
}

func draft(name string) programme.EventInput {
	return programme.EventInput{Name: name, Timezone: "Europe/Berlin"}
}

func (b *bundle) draft(t *testing.T, name string) programme.Event {
	t.Helper()
	e, err := b.CreateDraft(t.Context(), draft(name))
	require.NoError(t, err)
	return e
}

// ticket makes one ticket of the type of an event, as package ticket would.
func (b *bundle) ticket(t *testing.T, event syncproto.EventNo, typ syncproto.TypeNo, number int) {
	t.Helper()
	b.exec(t, `
		INSERT INTO ticket (event_id, number, id, type_no, reference, status, status_at, key_id, code_type, needs_roster, code_hash)
		VALUES ($1, $2, gen_random_uuid(), $3, $2::int::text, 'paid', now(), 1, $3, false, '\x00112233445566778899aabbccddeeff')`,
		event, number, int16(typ))
	b.exec(t, `UPDATE capacity SET used = used + 1 WHERE event_id = $1 AND type_no = $2`, event, int16(typ))
}

func problems(t *testing.T, err error) []string {
	t.Helper()
	var wrong *programme.InvalidError
	require.ErrorAs(t, err, &wrong)
	out := []string{}
	for _, p := range wrong.Problems {
		out = append(out, p.Field+" "+p.What)
	}
	return out
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(20 * time.Second):
		require.FailNow(t, "nothing came")
		panic("unreachable")
	}
}
