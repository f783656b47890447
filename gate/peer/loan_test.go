package peer_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/gate/peer"
	"gatehouse/syncproto"
)

// shelf has bodies by the position that a fetch asks for.
type shelf map[int64][]byte

func (s shelf) Fetch(f syncproto.Fetch) ([]byte, error) {
	if body, ok := s[f.After]; ok {
		return body, nil
	}
	return nil, errNone
}

func TestAPeerLendsWhatItHas(t *testing.T) {
	t.Parallel()
	large, small, none := int64(1), int64(2), int64(3)
	body := bytes.Repeat([]byte("0123456789"), syncproto.PieceBytesMax/3)
	a := newSite(t, "A", func(cfg *peer.Config) { cfg.Shelf = shelf{large: body, small: nil} })
	b := newSite(t, "B", nil, a.member(a.addr()))
	a.know(b.member())
	a.run()
	b.run()
	b.untilUp(a.device, 1)
	got, err := b.mesh.Fetch(t.Context(), a.device, syncproto.Fetch{After: large})
	require.NoError(t, err)
	require.Equal(t, body, got)
	got, err = b.mesh.Fetch(t.Context(), a.device, syncproto.Fetch{After: small})
	require.NoError(t, err)
	require.Empty(t, got)
	_, err = b.mesh.Fetch(t.Context(), a.device, syncproto.Fetch{After: none})
	require.ErrorContains(t, err, "does not have it")
	_, err = b.mesh.Fetch(t.Context(), uuid.New(), syncproto.Fetch{After: large})
	require.ErrorContains(t, err, "not connected")
	require.Zero(t, b.downs(a.device))
}

// broken is a shelf that has a mistake.
type broken struct{}

func (broken) Fetch(syncproto.Fetch) ([]byte, error) { panic("a mistake in the shelf") }

// What makes a loan panic costs the connection, which comes back, and not the gate.
func TestALoanThatPanicsCostsTheConnectionOnly(t *testing.T) {
	t.Parallel()
	a := newSite(t, "A", func(cfg *peer.Config) { cfg.Shelf = broken{} })
	b := newSite(t, "B", nil, a.member(a.addr()))
	a.know(b.member())
	a.run()
	b.run()
	b.untilUp(a.device, 1)
	_, err := b.mesh.Fetch(t.Context(), a.device, syncproto.Fetch{After: 1})
	require.Error(t, err)
	b.untilUp(a.device, 2)
}

// A peer that is asked and says nothing is waited for as long as the caller has
// time, or until it is gone; pieces that nobody asked it for are left out.
func TestALoanThatDoesNotCome(t *testing.T) {
	t.Parallel()
	bad, friend := newGate("bad"), newGate("friend")
	s := newSite(t, "A", nil, bad.member(), friend.member()).run()
	r, f := join(t, s, bad), join(t, s, friend)
	f.say(syncproto.PeerMessage{Piece: &syncproto.Piece{ID: 1, Data: []byte("x"), Last: true}}, syncproto.PeerMessage{Want: &syncproto.Want{First: 1}})
	until(t, "it was heard", func() bool { return len(s.said(friend.device)) == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	answers := make(chan error, 2)
	go func() {
		_, err := s.mesh.Fetch(ctx, bad.device, syncproto.Fetch{})
		answers <- err
		_, err = s.mesh.Fetch(context.Background(), bad.device, syncproto.Fetch{})
		answers <- err
	}()
	f.say(syncproto.PeerMessage{Piece: &syncproto.Piece{ID: 1, Data: []byte("x"), Last: true}}) // of another peer's loan
	cancel()
	require.ErrorIs(t, <-answers, context.Canceled)
	require.NoError(t, r.conn.Close())
	require.Error(t, <-answers)
	require.Zero(t, s.downs(friend.device))
}
