package replica_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/gate/replica"
	"gatehouse/syncproto"
)

func holderRec(no, rev int, box string) syncproto.Record {
	rec := syncproto.Record{Kind: syncproto.RecordHolder, Holder: &syncproto.HolderRecord{No: syncproto.TicketNo(no), Rev: int64(rev)}}
	if box != "" {
		rec.Holder.Box = []byte(box)
	}
	return rec
}

func vaultRec(rev int) syncproto.Record {
	return syncproto.Record{Kind: syncproto.RecordVault, Vault: &syncproto.VaultRecord{Rev: int64(rev), Wrap: &syncproto.VaultWrap{KDF: "argon2id", Salt: []byte{1}, Box: []byte{2}}}}
}

func boxOf(t *testing.T, r *replica.Replica, no int) (string, bool) {
	t.Helper()
	h, ok, err := r.Holder(t.Context(), syncproto.TicketNo(no))
	require.NoError(t, err)
	return string(h.Box), ok
}

// Holders come with pages and with a snapshot of their own, in any order: the newest
// revision of each stands, and an erased one stays erased.
func TestTheNewestHolderStands(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "replica.db")
	r := open(t, path)
	held, err := r.AnyHolder(t.Context())
	require.NoError(t, err)
	require.False(t, held)
	require.NoError(t, r.Apply(t.Context(), page(0, 4, ticket(1, 1), holderRec(1, 2, "new"), holderRec(2, 3, ""), vaultRec(2))))
	require.NoError(t, r.AddHolders(t.Context(), []syncproto.Record{vaultRec(1), holderRec(1, 1, "old"), holderRec(2, 2, "erased since"), holderRec(3, 1, "third")}))
	whole, err := r.HoldersWhole(t.Context())
	require.NoError(t, err)
	require.False(t, whole)
	require.NoError(t, r.SetHoldersWhole(t.Context(), 4))
	require.NoError(t, r.SetHoldersWhole(t.Context(), 5))
	require.NoError(t, r.Close())

	r = open(t, path)
	whole, err = r.HoldersWhole(t.Context())
	require.NoError(t, err)
	require.True(t, whole)
	held, err = r.AnyHolder(t.Context())
	require.NoError(t, err)
	require.True(t, held)
	box, ok := boxOf(t, r, 1)
	require.True(t, ok)
	require.Equal(t, "new", box)
	_, ok = boxOf(t, r, 2)
	require.False(t, ok, "nobody is on it")
	_, ok = boxOf(t, r, 9)
	require.False(t, ok)
	rec, ok, err := r.Vault(t.Context())
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, vaultRec(2), rec)

	got, err := state(t.Context(), r)
	require.NoError(t, err)
	require.Len(t, got, 2, "a lane waits for the ticket and the vault record, not for holders")
}

func TestHoldersAreReadInSlices(t *testing.T) {
	t.Parallel()
	r := open(t, filepath.Join(t.TempDir(), "replica.db"))
	var recs []syncproto.Record
	for i := range replica.HoldersMax + 3 {
		recs = append(recs, holderRec(2*i+1, 1, "box"))
	}
	require.NoError(t, r.AddHolders(t.Context(), recs))
	first, err := r.Holders(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, first, replica.HoldersMax)
	rest, err := r.Holders(t.Context(), first[len(first)-1].No)
	require.NoError(t, err)
	require.Len(t, rest, 3)
	require.Equal(t, *recs[len(recs)-1].Holder, rest[2])
	none, err := r.Holders(t.Context(), rest[2].No)
	require.NoError(t, err)
	require.Empty(t, none)
}

// Among holders nothing else may come: a chunk that brings a ticket is refused whole.
func TestHostileHoldersAreRefused(t *testing.T) {
	t.Parallel()
	r := open(t, filepath.Join(t.TempDir(), "replica.db"))
	for name, rec := range map[string]syncproto.Record{
		"ticket": ticket(1, 1), "unknown": {Kind: "weather"}, "no ticket": holderRec(0, 1, "box"), "negative rev": holderRec(1, -1, "box"),
		"nothing": {Kind: syncproto.RecordHolder},
	} {
		require.ErrorIs(t, r.AddHolders(t.Context(), []syncproto.Record{holderRec(7, 1, "box"), rec}), replica.ErrRecord, name)
	}
	held, err := r.AnyHolder(t.Context())
	require.NoError(t, err)
	require.False(t, held)
}

// A new file begins without holders, and knows that they are missing.
func TestANewFileWantsItsHolders(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "replica.db")
	old := open(t, path)
	require.NoError(t, old.AddHolders(t.Context(), []syncproto.Record{holderRec(1, 1, "box")}))
	require.NoError(t, old.SetHoldersWhole(t.Context(), 1))
	b, err := replica.NewBuild(t.Context(), path)
	require.NoError(t, err)
	rec := ticket(1, 1)
	require.NoError(t, b.Add(&rec))
	require.NoError(t, old.Close())
	require.NoError(t, b.Commit(t.Context(), replica.Position{Stream: stream, Seq: 9, Cursor: "c9"}))
	r := open(t, path)
	whole, err := r.HoldersWhole(t.Context())
	require.NoError(t, err)
	require.False(t, whole)
	_, ok := boxOf(t, r, 1)
	require.False(t, ok)
}
