package gateapi_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/central/gateapi"
	"gatehouse/syncproto"
	"gatehouse/syncproto/holder"
	"gatehouse/syncproto/syncprototest"
	"gatehouse/syncproto/wire"
)

// A gate gets what it opens names with, and the names; a copy of one, once it is
// found out, gets the key no more.
func TestHoldersReachAGateSealed(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	rules := b.createEvent(t, syncprototest.Rules("Named"))
	b.addTickets(t, rules.Event, syncprototest.TypeSingle, 3)
	b.exec(`UPDATE ticket SET holder_name = 'Zebulon' WHERE event_id = $1 AND number = 2`, rules.Event)
	client, reply := b.gate(rules.Event)
	began := time.Now().UnixMilli()
	hello := func(name string) syncproto.HelloReply {
		out, err := client.Hello(t.Context(), syncproto.HelloRequest{
			ProtoMin: 1, ProtoMax: 1, Incarnation: syncprototest.Incarnation(began, name),
		})
		require.NoError(t, err)
		return out
	}
	require.NotEmpty(t, hello("a").VaultKey)

	m, err := wire.Holders(t.Context(), client, reply.Stream, 0)
	require.NoError(t, err)
	var found []syncproto.HolderRecord
	for _, c := range m.Chunks {
		body, err := client.Blob(t.Context(), c.Hash)
		require.NoError(t, err)
		require.NoError(t, wire.DecodeChunk(body, c, func(rec *syncproto.Record) error {
			if rec.Holder != nil {
				found = append(found, *rec.Holder)
			}
			return nil
		}))
	}
	require.Len(t, found, 1)
	key, err := b.vault.Key(t.Context(), rules.Event)
	require.NoError(t, err)
	cipher, err := holder.New(key, reply.Stream)
	require.NoError(t, err)
	who, err := cipher.Open(found[0].No, found[0].Rev, found[0].Box)
	require.NoError(t, err)
	require.Equal(t, holder.Holder{Reference: "R-2", Name: "Zebulon"}, who)

	other := b.createEvent(t, syncprototest.Rules("Other"))
	_, err = wire.Holders(t.Context(), client, other.Stream, 0)
	require.Equal(t, syncproto.CodeForbidden, syncproto.AsError(err).Code)

	hello("b")
	copied := hello("a") // an incarnation that comes back
	require.True(t, copied.Quarantined)
	require.Empty(t, copied.VaultKey)
}

func TestWithoutAVaultAGateGetsNoKey(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *gateapi.Config) { cfg.Vault = nil })
	client, _ := b.gate(b.createEvent(t, syncprototest.Rules("Plain")).Event)
	reply, err := client.Hello(t.Context(), syncproto.HelloRequest{
		ProtoMin: 1, ProtoMax: 1, Incarnation: syncprototest.Incarnation(time.Now().UnixMilli(), "x"),
	})
	require.NoError(t, err)
	require.Empty(t, reply.VaultKey)
}
