package syncprototest

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

func enrolTests() []suiteTest {
	return []suiteTest{
		{"a token makes a gate", enrolMakesGate},
		{"a lost reply is given again", enrolReplayed},
		{"a used token is refused to another box", enrolUsed},
		{"an expired token is refused", enrolExpired},
		{"a wrong token is refused", enrolWrong},
		{"a token of another central is refused", enrolOtherCentral},
		{"a key that the box does not hold is refused", enrolOtherKey},
		{"an enrolment without keys is malformed", enrolMalformed},
	}
}

func enrolMakesGate(s *suite) {
	g := s.newGate()
	require.NotZero(s.t, g.reply.Device)
	require.Contains(s.t, g.reply.Name, "Gate")
	require.Equal(s.t, s.rules.Event, g.reply.Event)
	require.Equal(s.t, s.rules.Stream, g.reply.Stream)
	require.NotNil(s.t, g.reply.Trust.Key(syncproto.PurposeTicket, 1), "a gate can check codes from the start")
	hashKey, err := syncproto.OpenSealed(g.box, syncproto.PurposeHashKey, g.reply.HashKey)
	require.NoError(s.t, err)
	require.Len(s.t, hashKey, 32)
	require.True(s.t, slices.ContainsFunc(g.reply.Gates, func(d syncproto.DeviceRecord) bool {
		return d.Device == g.reply.Device && d.Key.Equal(g.key.Public()) && d.EnrolledAt != 0
	}), "a gate can find its neighbours from the start")
	g.hello(g.chain(syncproto.Position{}).Incarnation)
}

func enrolReplayed(s *suite) {
	token := s.central.NewToken(s.t, s.rules.Event, "Gate", time.Hour)
	key := s.newKey()
	req, box := s.enrolRequest(token, key)
	c := s.client(s.central.Do, key, syncproto.EnrolReply{}, 0)
	first, err := c.Enrol(s.ctx, req, token.Root)
	require.NoError(s.t, err)
	again, err := c.Enrol(s.ctx, req, token.Root)
	require.NoError(s.t, err)
	one, err := syncproto.OpenSealed(box, syncproto.PurposeHashKey, first.HashKey)
	require.NoError(s.t, err)
	two, err := syncproto.OpenSealed(box, syncproto.PurposeHashKey, again.HashKey)
	require.NoError(s.t, err)
	require.Equal(s.t, one, two)
	first.HashKey, again.HashKey = nil, nil // sealing is randomised
	require.Equal(s.t, first, again)
}

func enrolUsed(s *suite) {
	token := s.central.NewToken(s.t, s.rules.Event, "Gate", time.Hour)
	for i, want := range []syncproto.Code{"", syncproto.CodeTokenUsed} {
		key := s.newKey()
		req, _ := s.enrolRequest(token, key)
		_, err := s.client(s.central.Do, key, syncproto.EnrolReply{}, 0).Enrol(s.ctx, req, token.Root)
		if i == 0 {
			require.NoError(s.t, err)
			continue
		}
		s.code(err, want)
	}
}

func enrolExpired(s *suite) {
	token := s.central.NewToken(s.t, s.rules.Event, "Gate", -time.Minute)
	s.code(s.tryEnrol(token, token.Root), syncproto.CodeTokenExpired)
}

func enrolWrong(s *suite) {
	token := s.central.NewToken(s.t, s.rules.Event, "Gate", time.Hour)
	wrong := token
	first := "A"
	if token.Secret[0] == 'A' {
		first = "B"
	}
	wrong.Secret = first + token.Secret[1:]
	s.code(s.tryEnrol(wrong, token.Root), syncproto.CodeTokenUnknown)
	wrong.Secret = ""
	s.code(s.tryEnrol(wrong, token.Root), syncproto.CodeTokenUnknown, syncproto.CodeMalformed)
}

func enrolOtherCentral(s *suite) {
	other := s.newCentral(s.t)
	rules := other.CreateEvent(s.t, Rules("Other"))
	token := other.NewToken(s.t, rules.Event, "Gate", time.Hour)
	s.code(s.tryEnrol(token, token.Root), syncproto.CodeTokenUnknown)

	mine := s.central.NewToken(s.t, s.rules.Event, "Gate", time.Hour)
	if mine.Root == token.Root {
		s.t.Skip("both are one central")
	}
	require.ErrorIs(s.t, s.tryEnrol(mine, token.Root), syncproto.ErrUntrusted,
		"a central without the root key of the token makes no gate")
}

func (s *suite) tryEnrol(token syncproto.EnrolToken, root syncproto.Hash) error {
	key := s.newKey()
	req, _ := s.enrolRequest(token, key)
	_, err := s.client(s.central.Do, key, syncproto.EnrolReply{}, 0).Enrol(s.ctx, req, root)
	return err
}

func enrolOtherKey(s *suite) {
	token := s.central.NewToken(s.t, s.rules.Event, "Gate", time.Hour)
	req, _ := s.enrolRequest(token, s.newKey())
	_, err := s.client(s.central.Do, s.newKey(), syncproto.EnrolReply{}, 0).Enrol(s.ctx, req, token.Root)
	s.code(err, syncproto.CodeSignature)
	require.NoError(s.t, s.tryEnrol(token, token.Root), "the token was not used up")
}

func enrolMalformed(s *suite) {
	g := s.newGate()
	for _, body := range []string{``, `{`, `[]`, `{}`, `{"token":"x","device_key":"AAAA","box_key":"AAAA"}`} {
		s.code(g.raw(http.MethodPost, wire.PathEnrol, []byte(body), nil), syncproto.CodeMalformed)
	}
	token := s.central.NewToken(s.t, s.rules.Event, "Gate", time.Hour)
	req, _ := s.enrolRequest(token, s.newKey())
	req.BoxKey = make([]byte, 32) // the all-zero point is no key (RFC 7748, 6.1)
	body, err := json.Marshal(req)
	require.NoError(s.t, err)
	require.Error(s.t, g.raw(http.MethodPost, wire.PathEnrol, body, nil))
}
