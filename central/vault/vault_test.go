package vault_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/argon2"

	"gatehouse/central/pgtest"
	"gatehouse/central/programme"
	"gatehouse/central/roster"
	"gatehouse/central/vault"
	"gatehouse/syncproto"
	"gatehouse/syncproto/holder"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

type bundle struct {
	pool   *pgxpool.Pool
	events *programme.Service
	event  programme.Event
	vault  *vault.Service
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{pool: pgtest.New(t)}
	var err error
	b.events, err = programme.New(programme.Config{Pool: b.pool, CreateStream: roster.CreateStream})
	require.NoError(t, err)
	b.event = b.newEvent(t)
	b.vault, err = vault.New(vault.Config{Pool: b.pool, Stream: b.stream})
	require.NoError(t, err)
	return b
}

func (b *bundle) newEvent(t *testing.T) programme.Event {
	t.Helper()
	spec, err := programme.Parse(strings.NewReader("name: Fair\nticket_types: [{key: day}]\n"))
	require.NoError(t, err)
	e, err := b.events.Create(t.Context(), spec)
	require.NoError(t, err)
	return e
}

func (b *bundle) stream(ctx context.Context, no syncproto.EventNo) (uuid.UUID, error) {
	e, err := b.events.Event(ctx, no)
	return e.Stream, err
}

// unwrap opens a record as a gate does.
func (b *bundle) unwrap(t *testing.T, passphrase string) ([]byte, error) {
	t.Helper()
	rec, err := b.vault.Record(t.Context(), b.event.No)
	require.NoError(t, err)
	require.NotNil(t, rec.Wrap)
	w := rec.Wrap
	require.NoError(t, holder.CheckWrap(w))
	return holder.UnwrapKey(argon2.IDKey([]byte(passphrase), w.Salt, w.Time, w.MemoryKiB, w.Threads, holder.KeyBytes), b.event.Stream, w)
}

// However many processes of central ask first at once, an event has one key.
func TestAnEventHasOneKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	keys := make([][]byte, 16)
	var asking sync.WaitGroup
	for i := range keys {
		asking.Go(func() {
			var err error
			if keys[i], err = b.vault.Key(t.Context(), b.event.No); err != nil {
				t.Error(err)
			}
		})
	}
	asking.Wait()
	require.Len(t, keys[0], holder.KeyBytes)
	for _, k := range keys {
		require.Equal(t, keys[0], k)
	}
	other, err := b.vault.Key(t.Context(), b.newEvent(t).No)
	require.NoError(t, err)
	require.NotEqual(t, keys[0], other)
	_, err = b.vault.Key(t.Context(), 99)
	require.ErrorIs(t, err, programme.ErrNoEvent)
}

func TestAGateGetsTheKeySealedToItself(t *testing.T) {
	t.Parallel()
	b := setup(t)
	want, err := b.vault.Key(t.Context(), b.event.No)
	require.NoError(t, err)
	private, public, err := syncproto.NewBoxKey()
	require.NoError(t, err)
	sealed, err := b.vault.SealTo(t.Context(), b.event.No, public)
	require.NoError(t, err)
	require.NotContains(t, string(sealed), string(want))
	got, err := syncproto.OpenSealed(private, syncproto.PurposeVaultKey, sealed)
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, err = syncproto.OpenSealed(private, syncproto.PurposeHashKey, sealed)
	require.Error(t, err)
}

func TestThePassphraseOpensTheWrap(t *testing.T) {
	t.Parallel()
	b := setup(t)
	rec, err := b.vault.Record(t.Context(), b.event.No)
	require.NoError(t, err)
	require.Nil(t, rec.Wrap, "nobody set a passphrase")
	key, err := b.vault.Key(t.Context(), b.event.No)
	require.NoError(t, err)

	require.NoError(t, b.vault.SetPassphrase(t.Context(), b.event.No, "correct horse battery"))
	got, err := b.unwrap(t, "correct horse battery")
	require.NoError(t, err)
	require.Equal(t, key, got)
	_, err = b.unwrap(t, "correct horse batter")
	require.ErrorIs(t, err, holder.ErrPassphrase)

	require.NoError(t, b.vault.SetPassphrase(t.Context(), b.event.No, "another one altogether"))
	_, err = b.unwrap(t, "correct horse battery")
	require.ErrorIs(t, err, holder.ErrPassphrase, "it was replaced")
	next, err := b.vault.Record(t.Context(), b.event.No)
	require.NoError(t, err)
	require.Greater(t, next.Rev, rec.Rev)
	var told int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM sync_outbox WHERE stream_id = $1 AND kind = $2`,
		b.event.Stream, roster.KindVault).Scan(&told))
	require.Equal(t, 2, told)

	require.NoError(t, b.vault.ClearPassphrase(t.Context(), b.event.No))
	last, err := b.vault.Record(t.Context(), b.event.No)
	require.NoError(t, err)
	require.Nil(t, last.Wrap)
	require.Greater(t, last.Rev, next.Rev)
	again, err := b.vault.Key(t.Context(), b.event.No)
	require.NoError(t, err)
	require.Equal(t, key, again, "boxes that are out there still open")
}

func TestWeakPassphrasesAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, p := range []string{"", "elevenchars", "ääääääääää", strings.Repeat("x", vault.PassphraseMax+1), "two\nlines of text", "\xff\xfe\xfd not text at all"} {
		require.Error(t, b.vault.SetPassphrase(t.Context(), b.event.No, p), "%q", p)
	}
	rec, err := b.vault.Record(t.Context(), b.event.No)
	require.NoError(t, err)
	require.Nil(t, rec.Wrap)
	require.NoError(t, b.vault.SetPassphrase(t.Context(), b.event.No, "twelve chars"))
	require.ErrorIs(t, b.vault.SetPassphrase(t.Context(), 99, "correct horse battery"), programme.ErrNoEvent)
}

func TestGeneratedPassphrasesDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100 {
		p, err := vault.Generate(rand.Reader)
		require.NoError(t, err)
		require.Regexp(t, `^[0-9a-z]{4}(-[0-9a-z]{4}){3}$`, p)
		require.False(t, seen[p])
		seen[p] = true
	}
	_, err := vault.Generate(bytes.NewReader(nil))
	require.Error(t, err)
}
