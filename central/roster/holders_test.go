package roster_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/central/programme"
	"gatehouse/central/roster"
	"gatehouse/syncproto"
	"gatehouse/syncproto/holder"
	"gatehouse/syncproto/wire"
)

// oneVault has one key for all events.
type oneVault struct{ rev int64 }

func vaultKey() []byte { return bytes.Repeat([]byte{5}, holder.KeyBytes) }

func (v oneVault) Key(context.Context, syncproto.EventNo) ([]byte, error) { return vaultKey(), nil }

func (v oneVault) Record(context.Context, syncproto.EventNo) (syncproto.VaultRecord, error) {
	return syncproto.VaultRecord{Rev: v.rev}, nil
}

// setupHolders is setup with a vault.
func setupHolders(t *testing.T) *bundle {
	t.Helper()
	b := setup(t)
	events, err := programme.New(programme.Config{Pool: b.pool, CreateStream: roster.CreateStream})
	require.NoError(t, err)
	b.roster, err = roster.New(roster.Config{
		Pool: b.pool, Rules: events.Rules, Vault: oneVault{rev: 4},
		Trust: func(context.Context) (syncproto.TrustBundle, error) {
			return syncproto.TrustBundle{Root: make([]byte, 32)}, nil
		},
	})
	require.NoError(t, err)
	return b
}

func (b *bundle) name(number int, name, email, notes string) {
	b.t.Helper()
	b.exec(`UPDATE ticket SET holder_name = $3, holder_email = $4, notes = $5 WHERE event_id = $1 AND number = $2`,
		b.event.No, number, name, email, notes)
}

func (b *bundle) open1(h *syncproto.HolderRecord) holder.Holder {
	b.t.Helper()
	c, err := holder.New(vaultKey(), b.event.Stream)
	require.NoError(b.t, err)
	out, err := c.Open(h.No, h.Rev, h.Box)
	require.NoError(b.t, err)
	return out
}

// holdersOf lists the holders of a page by ticket.
func holdersOf(p syncproto.Page) map[syncproto.TicketNo]*syncproto.HolderRecord {
	out := map[syncproto.TicketNo]*syncproto.HolderRecord{}
	for _, rec := range p.Records {
		if rec.Holder != nil {
			out[rec.Holder.No] = rec.Holder
		}
	}
	return out
}

// snapshotOfHolders reads the part of a snapshot that has the holders.
func (b *bundle) snapshotOfHolders(seq int64) (m syncproto.Manifest, records []syncproto.Record, raw string) {
	b.t.Helper()
	m, err := b.roster.Holders(b.t.Context(), b.event.Stream, seq)
	require.NoError(b.t, err)
	for _, c := range m.Chunks {
		body, err := b.roster.Blob(b.t.Context(), m.Stream, c.Hash)
		require.NoError(b.t, err)
		require.NoError(b.t, wire.DecodeChunk(body, c, func(rec *syncproto.Record) error {
			records = append(records, *rec)
			line, err := wire.AppendRecord(nil, rec)
			raw += string(line)
			return err
		}))
	}
	return m, records, raw
}

func TestHoldersAreToldSealedAfterTheirTickets(t *testing.T) {
	t.Parallel()
	b := setupHolders(t)
	start := b.manifest().Cursor
	b.exec(`
		INSERT INTO ticket (event_id, number, id, type_no, code_type, reference, status, status_at, key_id, needs_roster, code_hash, holder_name, holder_email, notes)
		SELECT $1, i, gen_random_uuid(), 1, 1, 'R' || i, 'paid', $2, 1, false, decode(md5(i::text), 'hex'),
		  CASE WHEN i <= 3 THEN 'Zebulon ' || i ELSE '' END, '', CASE WHEN i = 4 THEN 'wheelchair' ELSE '' END
		FROM generate_series(1, 5) i`, b.event.No, b.now)
	b.seal()
	p := b.page(start)
	require.Len(t, p.Records, 9, "five tickets, and the four that name somebody or have a note")
	for i, rec := range p.Records {
		require.Equal(t, i < 5, rec.Ticket != nil, "record %d", i)
	}
	told := holdersOf(p)
	require.Equal(t, holder.Holder{Reference: "R2", Name: "Zebulon 2"}, b.open1(told[2]))
	require.Equal(t, holder.Holder{Reference: "R4", Notes: "wheelchair"}, b.open1(told[4]))
	line, err := wire.AppendRecord(nil, &p.Records[5])
	require.NoError(t, err)
	require.NotContains(t, strings.ToLower(string(line)), "zebulon")
}

func TestAHolderIsToldWhenTheHolderChanges(t *testing.T) {
	t.Parallel()
	b := setupHolders(t)
	b.tickets(1, 3)
	b.name(1, "Ada", "ada@example.org", "")
	b.seal()
	cursor := b.manifest().Cursor

	b.setStatus(1, "revoked")
	b.seal()
	p := b.page(cursor)
	require.Equal(t, []syncproto.TicketNo{1}, numbers(p))
	require.Empty(t, holdersOf(p), "a revocation is no reason to fetch a name")

	b.name(1, "Ada L.", "ada@example.org", "")
	b.seal()
	renamed := holdersOf(b.page(p.Next))[1]
	require.Equal(t, "Ada L.", b.open1(renamed).Name)
	b.name(1, "", "", "")
	b.seal()
	p = b.page(p.Next)
	erased := holdersOf(p)[1]
	require.Empty(t, erased.Box, "nobody is on the ticket any more")
	require.Greater(t, erased.Rev, renamed.Rev)

	b.exec(`INSERT INTO sync_outbox (stream_id, kind, entity, entity_no) VALUES ($1, $2, $1, 0)`, b.event.Stream, roster.KindVault)
	b.seal()
	last := b.page(p.Next)
	require.Equal(t, []syncproto.Record{{Kind: syncproto.RecordVault, Vault: &syncproto.VaultRecord{Rev: 4}}}, last.Records)
}

func TestSnapshotOfHoldersHasNoTicketAndNoName(t *testing.T) {
	t.Parallel()
	b := setupHolders(t)
	b.tickets(1, 10_000)
	b.exec(`UPDATE ticket SET holder_name = 'Quixote ' || number WHERE number % 2 = 0`)
	b.seal()
	m, records, raw := b.snapshotOfHolders(0)
	require.Len(t, records, 5001)
	require.Equal(t, syncproto.Record{Kind: syncproto.RecordVault, Vault: &syncproto.VaultRecord{Rev: 4}}, records[0])
	for i, rec := range records[1:] {
		require.Equal(t, syncproto.TicketNo(2*i+2), rec.Holder.No)
	}
	require.Equal(t, "Quixote 10000", b.open1(records[5000].Holder).Name)
	require.NotContains(t, raw, "Quixote")
	require.Len(t, m.Chunks, 3)

	tickets, kinds := b.load(b.manifest())
	require.Len(t, tickets, 10_000)
	require.Zero(t, kinds["holder"], "lanes do not wait for names")

	// One holder that changed in place changes one chunk.
	b.name(9_000, "Sancho", "", "")
	b.seal()
	again, _, _ := b.snapshotOfHolders(m.Seq + 1)
	require.Equal(t, m.Seq+2, again.Seq, "a ticket and its holder")
	same := 0
	for i := range m.Chunks {
		if m.Chunks[i] == again.Chunks[i] {
			same++
		}
	}
	require.Equal(t, 2, same)
}

func TestHoldersAreNotOlderThanTheGateThatAsks(t *testing.T) {
	t.Parallel()
	b := setupHolders(t)
	b.tickets(1, 5)
	b.name(1, "Ada", "", "")
	b.seal()
	first, _, _ := b.snapshotOfHolders(0)
	b.name(1, "Ben", "", "")
	b.seal()
	shared, _, _ := b.snapshotOfHolders(first.Seq)
	require.Equal(t, first, shared)
	_, records, _ := b.snapshotOfHolders(first.Seq + 1)
	require.Equal(t, "Ben", b.open1(records[1].Holder).Name)

	_, err := b.roster.Holders(t.Context(), b.event.Stream, first.Seq+100)
	require.Equal(t, syncproto.CodeResync, syncproto.AsError(err).Code)
	_, err = b.roster.Holders(t.Context(), uuid.New(), 0)
	require.Equal(t, syncproto.CodeNotFound, syncproto.AsError(err).Code)
}

// Snapshots of holders come and go by themselves, and keep no log from being trimmed.
func TestOldSnapshotsOfHoldersGo(t *testing.T) {
	t.Parallel()
	b := setupHolders(t)
	b.tickets(1, 5)
	b.seal()
	lanes := b.manifest()
	for i := range 4 {
		b.name(1, strings.Repeat("x", i+1), "", "")
		b.seal()
		m, _, _ := b.snapshotOfHolders(0)
		b.snapshotOfHolders(m.Seq)
		var head int64
		require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT head FROM sync_stream WHERE stream_id = $1`, b.event.Stream).Scan(&head))
		b.snapshotOfHolders(head)
	}
	var kept []int64
	rows, err := b.pool.Query(t.Context(), `SELECT part FROM roster_snapshot WHERE stream_id = $1 ORDER BY part`, b.event.Stream)
	require.NoError(t, err)
	for rows.Next() {
		var part int64
		require.NoError(t, rows.Scan(&part))
		kept = append(kept, part)
	}
	require.NoError(t, rows.Err())
	require.Equal(t, []int64{0, 1, 1}, kept)
	require.Equal(t, lanes, b.manifest())
}

func TestWithoutAVaultThereAreNoHolders(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tickets(1, 2)
	b.name(1, "Ada", "", "")
	b.seal()
	_, err := b.roster.Holders(t.Context(), b.event.Stream, 0)
	require.Equal(t, syncproto.CodeNotFound, syncproto.AsError(err).Code)
	p := b.page("")
	require.Empty(t, holdersOf(p))
	require.Equal(t, p.Head, p.To, "their numbers count")
}
