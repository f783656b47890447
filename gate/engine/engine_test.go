package engine_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/gate/engine"
	"gatehouse/gate/journal"
	"gatehouse/gate/node"
	"gatehouse/syncproto"
	"gatehouse/syncproto/credential"
)

const lanes = 4

type bundle struct {
	journal *journal.Journal
	engine  *engine.Engine
	hasher  *credential.Hasher
	ticket  ed25519.PrivateKey
	mu      sync.Mutex
	acted   []node.Output
	sent    []node.PeerSend
}

// setup makes an engine over a real journal, with tickets 1 to n on the roster.
func setup(t *testing.T, n int) *bundle { return setupWith(t, n, func(*node.Config, *node.Loaded) {}) }

// setupWith lets the test change what the node is made of.
func setupWith(t *testing.T, n int, change func(*node.Config, *node.Loaded)) *bundle {
	seed := sha256.Sum256([]byte("key"))
	b := &bundle{ticket: ed25519.NewKeyFromSeed(seed[:]), hasher: credential.NewHasher([]byte("k"))}
	device, stream := uuid.New(), uuid.New()
	var err error
	b.journal, err = journal.Open(t.Context(), journal.Config{
		Path: filepath.Join(t.TempDir(), "journal.db"), Device: device, Key: b.ticket, Now: time.Now,
		NewID: func() uuid.UUID { return uuid.Must(uuid.NewV7()) },
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.journal.Close()) })
	cfg := node.Config{
		Device: device, Event: 1, Stream: stream, HashKey: []byte("k"), Incarnation: b.journal.Incarnation(), Guard: -1,
		NextSeq: b.journal.Last().Seq + 1, Last: b.journal.LastT(), Jitter: func() float64 { return 0 },
	}
	for i := range lanes {
		cfg.Lanes = append(cfg.Lanes, node.LaneConfig{Name: fmt.Sprint("N", i), Zone: "main", Direction: syncproto.In})
	}
	loaded := node.Loaded{Rules: &syncproto.Rules{
		Event: 1, Timezone: "UTC", Admits: true, Zones: []syncproto.Zone{{Name: "main"}},
		Types: []syncproto.TicketType{{No: 1, Key: "day", Zones: []string{"main"}, EntriesTotal: 1, Reentry: syncproto.ReentryNone}},
	}}
	for no := 1; no <= n; no++ {
		loaded.Roster.Put(&syncproto.Ticket{
			No: syncproto.TicketNo(no), Rev: 1, Type: 1, Status: syncproto.StatusPaid, Code: b.hasher.Sum(b.code(t, no)),
		})
	}
	change(&cfg, &loaded)
	mind, err := node.New(cfg)
	require.NoError(t, err)
	mind.Restore(time.Now(), loaded)
	b.engine, err = engine.New(engine.Config{Node: mind, Journal: b.journal, Stream: stream, Now: time.Now, Act: b.act, Send: b.send})
	require.NoError(t, err)
	return b
}

func (b *bundle) act(out node.Output) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acted = append(b.acted, out)
}

func (b *bundle) send(msgs []node.PeerSend) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = append(b.sent, msgs...)
}

func (b *bundle) code(t *testing.T, no int) []byte {
	text, err := credential.Sign(b.ticket, credential.Fields{Key: 1, Event: 1, Ticket: syncproto.TicketNo(no), Type: 1})
	require.NoError(t, err)
	return []byte(text)
}

func TestAnAdmissionIsDurableWhenItIsAnswered(t *testing.T) {
	b := setup(t, 1)
	r := b.engine.Scan(t.Context(), 0, b.code(t, 1), time.Now())
	require.Equal(t, node.Admit, r.Decision.Decision)
	require.GreaterOrEqual(t, r.Durable, r.Decide)
	require.NotEqual(t, uuid.Nil, r.TicketID)
	require.Equal(t, uint64(2), b.journal.Last().Seq, "genesis and admission are on disk")
	r = b.engine.Scan(t.Context(), 0, []byte("garbage"), time.Now())
	require.Equal(t, syncproto.ReasonMalformed, r.Reason)
	require.Equal(t, r.Decide, r.Durable, "nothing had to be written")
}

// Every ticket is presented at every lane at once: one green each, and what the
// journal holds is in the order of its numbers and times.
func TestLanesShareOneTruth(t *testing.T) {
	const tickets = 200
	b := setup(t, tickets)
	green := make([][]bool, lanes)
	var wg sync.WaitGroup
	for l := range lanes {
		green[l] = make([]bool, tickets+1)
		codes := make([][]byte, tickets+1)
		for no := 1; no <= tickets; no++ {
			codes[no] = b.code(t, no)
		}
		wg.Go(func() {
			for no := 1; no <= tickets; no++ {
				green[l][no] = b.engine.Scan(context.Background(), l, codes[no], time.Now()).Decision.Decision == node.Admit
			}
		})
	}
	wg.Wait()
	for no := 1; no <= tickets; no++ {
		count := 0
		for l := range lanes {
			if green[l][no] {
				count++
			}
		}
		require.Equal(t, 1, count, "ticket %d", no)
	}
	admitted := map[syncproto.TicketNo]bool{}
	require.NoError(t, b.journal.Entries(t.Context(), func(e *syncproto.Entry) error {
		if e.Kind == syncproto.KindAdmit {
			require.False(t, admitted[e.Ticket])
			admitted[e.Ticket] = true
		}
		return nil
	}))
	require.Len(t, admitted, tickets)
	require.Equal(t, int64(1+lanes*tickets), b.journal.Rows())
	_, err := b.journal.Verify(t.Context())
	require.NoError(t, err)
}

func TestAJournalThatFailsShowsNoGreen(t *testing.T) {
	b := setup(t, 2)
	require.NoError(t, b.journal.Close())
	r := b.engine.Scan(t.Context(), 0, b.code(t, 1), time.Now())
	require.Equal(t, node.Deny, r.Decision.Decision)
	require.Equal(t, syncproto.ReasonDeviceFault, r.Reason)
	select {
	case <-b.engine.Broken():
	default:
		require.Fail(t, "the engine does not say that it is broken")
	}
	require.ErrorIs(t, b.engine.Err(), journal.ErrClosed)
	require.True(t, b.engine.Status().Broken)
	require.Equal(t, syncproto.ReasonDeviceFault, b.engine.Scan(t.Context(), 1, b.code(t, 2), time.Now()).Reason)
}

// A bug in one step must neither hang the other lanes nor let them go on with a
// state that nobody vouches for.
func TestAPanicInAStepFailsClosed(t *testing.T) {
	b := setup(t, 1)
	r := b.engine.Scan(t.Context(), lanes+1, b.code(t, 1), time.Now()) // no such lane
	require.Equal(t, syncproto.ReasonDeviceFault, r.Reason)
	require.ErrorContains(t, b.engine.Err(), "panicked")
	select {
	case <-b.engine.Broken():
	default:
		require.Fail(t, "the engine does not say that it is broken")
	}
	require.Equal(t, syncproto.ReasonDeviceFault, b.engine.Scan(t.Context(), 0, b.code(t, 1), time.Now()).Reason)
	require.Equal(t, int64(1), b.journal.Rows(), "nothing but the genesis was written")
}

func TestVerifyTellsTheTicketAndLeavesNoTrace(t *testing.T) {
	b := setup(t, 1)
	r := b.engine.Verify("", "", b.code(t, 1))
	require.Equal(t, node.Admit, r.Decision.Decision)
	require.NotEqual(t, uuid.Nil, r.TicketID)
	require.Equal(t, int64(1), b.journal.Rows())
}

// The node asks for a hello at once, and for ticks while central is silent.
func TestRunTicks(t *testing.T) {
	b := setup(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.engine.Run(ctx) }()
	require.Eventually(t, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.acted) > 0 && len(b.acted[0].Calls) == 1
	}, 10*time.Second, time.Millisecond)
	b.engine.Feed(node.Answer{Call: node.Call{Kind: node.CallHello}, Err: context.DeadlineExceeded})
	require.Eventually(t, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		calls := 0
		for _, out := range b.acted {
			calls += len(out.Calls)
		}
		return calls == 2
	}, 10*time.Second, time.Millisecond, "the hello is tried again when its pause is over")
	cancel()
	require.NoError(t, <-ended)
}
