package wire_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
	"gatehouse/syncproto/syncprototest"
	"gatehouse/syncproto/wire"
)

// noon is the time in these tests, Unix milliseconds.
const noon = 1_760_000_000_000

func atNoon() time.Time { return time.UnixMilli(noon) }

// rig is a server half over a central in memory, with one gate enrolled.
type rig struct {
	memory *syncprototest.Memory
	rules  syncproto.Rules
	server *wire.Server
	key    ed25519.PrivateKey
	reply  syncproto.EnrolReply
	client *wire.Client
}

// newRig makes a rig. change, if not nil, changes the server's configuration.
func newRig(t testing.TB, change func(*wire.ServerConfig)) *rig {
	t.Helper()
	m, err := syncprototest.NewMemory(syncprototest.MemoryConfig{Name: "wire", Now: atNoon, Rand: rand.Reader})
	require.NoError(t, err)
	rules, err := m.CreateEvent(syncprototest.Rules("Wire"))
	require.NoError(t, err)
	cfg := wire.ServerConfig{Service: m.Service(), Now: atNoon, Logger: slog.New(slog.DiscardHandler)}
	r := &rig{memory: m, rules: rules, key: syncprototest.Key("gate")}
	r.enrol(t, cfg)
	if change != nil {
		change(&cfg)
	}
	r.server, err = wire.NewServer(cfg)
	require.NoError(t, err)
	r.client = r.newClient(t, nil)
	return r
}

func (r *rig) enrol(t testing.TB, cfg wire.ServerConfig) {
	t.Helper()
	s, err := wire.NewServer(cfg)
	require.NoError(t, err)
	token, err := r.memory.NewToken(r.rules.Event, "Gate", time.Hour)
	require.NoError(t, err)
	_, box, err := syncproto.NewBoxKey()
	require.NoError(t, err)
	c, err := wire.NewClient(wire.ClientConfig{Do: syncprototest.DoerOf(s), Key: r.key, Now: atNoon, Rand: rand.Reader})
	require.NoError(t, err)
	r.reply, err = c.Enrol(t.Context(), syncproto.EnrolRequest{
		Token: token.Secret, DeviceKey: r.key.Public().(ed25519.PublicKey), BoxKey: box,
	}, token.Root)
	require.NoError(t, err)
}

// newClient is the gate's half. change, if not nil, changes its configuration.
func (r *rig) newClient(t testing.TB, change func(*wire.ClientConfig)) *wire.Client {
	t.Helper()
	cfg := wire.ClientConfig{
		Do: syncprototest.DoerOf(r.server), Device: r.reply.Device, Key: r.key, Central: r.reply.Trust.Central,
		Trust: func() *syncproto.TrustBundle { return &r.reply.Trust }, Now: atNoon, Rand: rand.Reader,
	}
	if change != nil {
		change(&cfg)
	}
	c, err := wire.NewClient(cfg)
	require.NoError(t, err)
	return c
}

// through is a Doer that changes what comes back.
func (r *rig) through(change func(*wire.Response) *wire.Response) wire.Doer {
	return func(ctx context.Context, req *wire.Request) (*wire.Response, error) {
		return change(r.server.Serve(ctx, req)), nil
	}
}

// chain begins a journal of the rig's gate.
func (r *rig) chain() *syncprototest.Chain {
	return syncprototest.NewChain(r.reply.Device, r.key, r.rules.Event, syncprototest.Incarnation(noon, "wire"), syncproto.Position{}, noon)
}

// online signs as the rig's central.
func online() wire.Signer {
	return wire.Signer{Central: syncprototest.Trust("wire").Central, Key: 1, Private: syncprototest.Key("online wire")}
}

// zeros are the nonces of requests that must be the same each time.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

var _ io.Reader = zeros{}
