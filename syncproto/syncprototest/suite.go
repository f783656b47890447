package syncprototest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// Central is a central under test: the way in that gates have, and what else is
// done at a central. A hook fails its test when it cannot do what it is for.
type Central struct {
	// Do carries requests to central.
	Do wire.Doer
	// Now is central's clock.
	Now func() time.Time
	// CreateEvent makes an event of rules and gives them back with number and
	// stream.
	CreateEvent func(t testing.TB, rules syncproto.Rules) syncproto.Rules
	// AddTickets makes n paid tickets and gives their numbers.
	AddTickets func(t testing.TB, event syncproto.EventNo, typ syncproto.TypeNo, n int) []syncproto.TicketNo
	// SetStatus changes a ticket's status as of now.
	SetStatus func(t testing.TB, event syncproto.EventNo, no syncproto.TicketNo, s syncproto.Status)
	// NewToken makes an enrolment token; it has expired where valid is negative. A
	// central whose gates must have different names adds to name what it needs.
	NewToken func(t testing.TB, event syncproto.EventNo, name string, valid time.Duration) syncproto.EnrolToken
	// RevokeDevice revokes a gate after its last stored entry.
	RevokeDevice func(t testing.TB, device uuid.UUID)
	// Release takes a gate out of quarantine.
	Release func(t testing.TB, device uuid.UUID)
	// SetQuota limits a ticket type of an event.
	SetQuota func(t testing.TB, event syncproto.EventNo, typ syncproto.TypeNo, quota int)
	// TryTickets makes n paid tickets, or none, and then says why.
	TryTickets func(t testing.TB, event syncproto.EventNo, typ syncproto.TypeNo, n int) error
	// Used is how many places of a type are taken.
	Used func(t testing.TB, event syncproto.EventNo, typ syncproto.TypeNo) int
	// ReleaseLease takes back what is not sold of the lease of a lost gate.
	ReleaseLease func(t testing.TB, event syncproto.EventNo, id uuid.UUID)
	// Holder is the name of the holder of a ticket; empty where central has none.
	Holder func(t testing.TB, event syncproto.EventNo, no syncproto.TicketNo) string
	// NewEpoch says that central was restored from a backup.
	NewEpoch func(t testing.TB)
	// Trim seals what there is and forgets the event's log up to its head.
	Trim func(t testing.TB, event syncproto.EventNo)
	// Attendance counts an event's check-ins.
	Attendance func(t testing.TB, event syncproto.EventNo) Attendance
	// Quarantined is how many pushes were kept because they could not be read.
	Quarantined func(t testing.TB) int
	// StallPush makes pushes hang until release is called; stuck waits until one
	// does. Nil where that cannot be arranged; the test of it is skipped.
	StallPush func(t testing.TB) (stuck func(context.Context), release func())
}

// suiteTimeout ends a test in which central hangs.
const suiteTimeout = time.Minute

// Run holds a central to the protocol. newCentral is called once or more by each
// test, from several goroutines at once; the centrals that it makes must not share
// tokens, devices or epoch, unless they are one central.
func Run(t *testing.T, newCentral func(t *testing.T) Central) {
	for _, group := range []struct {
		name  string
		tests []suiteTest
	}{
		{"enrol", enrolTests()},
		{"auth", authTests()},
		{"hello", helloTests()},
		{"snapshot", snapshotTests()},
		{"changes", changesTests()},
		{"digest", digestTests()},
		{"push", pushTests()},
		{"refused push", refusedPushTests()},
		{"outcome", outcomeTests()},
		{"walk-up", walkUpTests()},
	} {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			for _, test := range group.tests {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					ctx, cancel := context.WithTimeout(t.Context(), suiteTimeout)
					defer cancel()
					s := &suite{t: t, ctx: ctx, newCentral: newCentral, central: newCentral(t)}
					s.rules = s.central.CreateEvent(t, Rules(test.name))
					test.run(s)
				})
			}
		})
	}
}

type suiteTest struct {
	name string
	run  func(*suite)
}

// suite is one test: a central with one event.
type suite struct {
	t          *testing.T
	ctx        context.Context
	newCentral func(t *testing.T) Central
	central    Central
	rules      syncproto.Rules
}

// gate is a gate as central sees it.
type gate struct {
	s       *suite
	key     ed25519.PrivateKey
	box     []byte
	reply   syncproto.EnrolReply
	client  *wire.Client
	ratchet string
	started int64
	signed  int64 // when the last raw request was
	names   int
}

// newKey is a device key of its own.
func (s *suite) newKey() ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(s.t, err)
	return key
}

// client is the gate's half for key, with a clock that is off by some time.
func (s *suite) client(do wire.Doer, key ed25519.PrivateKey, r syncproto.EnrolReply, off time.Duration) *wire.Client {
	c, err := wire.NewClient(wire.ClientConfig{
		Do: do, Device: r.Device, Key: key, Central: r.Trust.Central, Rand: rand.Reader,
		Trust: func() *syncproto.TrustBundle { return &r.Trust },
		Now:   func() time.Time { return s.central.Now().Add(off) },
	})
	require.NoError(s.t, err)
	return c
}

// enrolRequest asks for an identity for key.
func (s *suite) enrolRequest(token syncproto.EnrolToken, key ed25519.PrivateKey) (req syncproto.EnrolRequest, box []byte) {
	box, boxPub, err := syncproto.NewBoxKey()
	require.NoError(s.t, err)
	return syncproto.EnrolRequest{Token: token.Secret, DeviceKey: public(key), BoxKey: boxPub, App: "suite"}, box
}

// newGate enrols a gate at the event of the test.
func (s *suite) newGate() *gate { return s.gateOf(s.rules.Event) }

// gateOf enrols a gate at an event.
func (s *suite) gateOf(event syncproto.EventNo) *gate {
	token := s.central.NewToken(s.t, event, "Gate", time.Hour)
	g := &gate{s: s, key: s.newKey(), started: s.central.Now().UnixMilli()}
	var req syncproto.EnrolRequest
	req, g.box = s.enrolRequest(token, g.key)
	var err error
	g.reply, err = s.client(s.central.Do, g.key, syncproto.EnrolReply{}, 0).Enrol(s.ctx, req, token.Root)
	require.NoError(s.t, err)
	g.client = s.client(s.central.Do, g.key, g.reply, 0)
	return g
}

// chain begins an incarnation of the gate's journal, later than those before.
func (g *gate) chain(parent syncproto.Position) *Chain {
	g.names++
	inc := Incarnation(g.started+int64(g.names), g.reply.Device.String()+strconv.Itoa(g.names))
	return NewChain(g.reply.Device, g.key, g.reply.Event, inc, parent, g.started)
}

// hello says hello for an incarnation with the value of the last reply.
func (g *gate) hello(inc uuid.UUID) syncproto.HelloReply {
	reply := g.helloWith(inc, g.ratchet)
	g.ratchet = reply.Ratchet
	return reply
}

func (g *gate) helloWith(inc uuid.UUID, ratchet string) syncproto.HelloReply {
	reply, err := g.client.Hello(g.s.ctx, g.helloRequest(inc, ratchet))
	require.NoError(g.s.t, err)
	return reply
}

func (g *gate) helloRequest(inc uuid.UUID, ratchet string) syncproto.HelloRequest {
	return syncproto.HelloRequest{
		Schema: syncproto.SchemaLevel, Incarnation: inc, Ratchet: ratchet, ClockMS: g.s.central.Now().UnixMilli(), App: "suite",
	}
}

// push sends and must be acknowledged up to the end of req.
func (g *gate) push(req syncproto.PushRequest) {
	g.s.t.Helper()
	reply, err := g.client.Push(g.s.ctx, req)
	require.NoError(g.s.t, err)
	last := req.Entries[len(req.Entries)-1]
	require.Equal(g.s.t, syncproto.Position{Ref: last.Ref(), Hash: last.Hash}, reply.Acked)
}

// acked is central's watermark of an incarnation; the zero position where it has
// none.
func (g *gate) acked(inc uuid.UUID) syncproto.Position {
	for _, p := range g.hello(inc).Acked {
		if p.Incarnation == inc {
			return p
		}
	}
	return syncproto.Position{}
}

// raw signs and sends a request that the client would not write, and gives what
// the client would make of the answer.
func (g *gate) raw(method, target string, body []byte, header http.Header) error {
	req := &wire.Request{Method: method, Target: target, Header: header.Clone(), Body: body}
	if req.Header == nil {
		req.Header = http.Header{}
	}
	if req.Header.Get(wire.HeaderProto) == "" {
		req.Header.Set(wire.HeaderProto, strconv.Itoa(syncproto.ProtoMax))
	}
	g.signed = max(g.signed+1, g.s.central.Now().UnixMilli()) // a hello is later than the last
	_, err := wire.SignRequest(req, g.key, g.reply.Trust.Central, g.reply.Device, g.signed, rand.Reader)
	require.NoError(g.s.t, err)
	resp, err := g.s.central.Do(g.s.ctx, req)
	require.NoError(g.s.t, err)
	return refusalIn(g.s.t, resp)
}

// code requires err to be a refusal with one of codes.
func (s *suite) code(err error, codes ...syncproto.Code) {
	s.t.Helper()
	_ = s.refusal(err, codes...)
}

// refusal is the refusal that err must be, with one of codes.
func (s *suite) refusal(err error, codes ...syncproto.Code) *syncproto.Error {
	s.t.Helper()
	refusal := syncproto.AsError(err)
	require.NotNil(s.t, refusal, "not a refusal: %v", err)
	require.Contains(s.t, codes, refusal.Code, "%v", err)
	require.NotEmpty(s.t, refusal.Message, "a refusal says what is the matter")
	return refusal
}
