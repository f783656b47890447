package replay_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/central/pgtest"
	"gatehouse/central/replay"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

type desk struct {
	*replay.Service
	now time.Time
	did atomic.Int32
}

func begin(t *testing.T) *desk {
	t.Helper()
	d := &desk{now: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)}
	var err error
	d.Service, err = replay.New(replay.Config{Pool: pgtest.New(t), Now: func() time.Time { return d.now }})
	require.NoError(t, err)
	return d
}

func request(content string) replay.Request {
	return replay.Request{Who: "ada", What: "createEvent", Key: "k1", Content: []byte(content)}
}

func (d *desk) do(status int) func(context.Context) (replay.Answer, error) {
	return func(context.Context) (replay.Answer, error) {
		n := d.did.Add(1)
		return replay.Answer{Status: status, ETag: `"1"`, Body: []byte{'0' + byte(n)}}, nil
	}
}

func TestARequestIsDoneOnce(t *testing.T) {
	t.Parallel()
	d := begin(t)
	first, err := d.Once(t.Context(), request("a"), d.do(201))
	require.NoError(t, err)
	again, err := d.Once(t.Context(), request("a"), d.do(500))
	require.NoError(t, err)
	require.Equal(t, first, again)
	_, err = d.Once(t.Context(), request("b"), d.do(201))
	require.ErrorIs(t, err, replay.ErrReused)
	require.EqualValues(t, 1, d.did.Load())
	for _, other := range []replay.Request{{Who: "eve", What: "createEvent", Key: "k1"}, {Who: "ada", What: "register", Key: "k1"}, {Who: "ada", What: "createEvent", Key: "k2"}} {
		_, err = d.Once(t.Context(), other, d.do(201))
		require.NoError(t, err)
	}
	require.EqualValues(t, 4, d.did.Load())
	d.now = d.now.Add(replay.Kept + time.Second)
	later, err := d.Once(t.Context(), request("c"), d.do(201))
	require.NoError(t, err, "after a day the key is a new one")
	require.NotEqual(t, first, later)
}

func TestAFaultIsNotRemembered(t *testing.T) {
	t.Parallel()
	d := begin(t)
	fault := errors.New("the database is away")
	_, err := d.Once(t.Context(), request("a"), func(context.Context) (replay.Answer, error) { return replay.Answer{}, fault })
	require.ErrorIs(t, err, fault)
	a, err := d.Once(t.Context(), request("a"), d.do(503))
	require.NoError(t, err)
	require.Equal(t, 503, a.Status)
	a, err = d.Once(t.Context(), request("a"), d.do(409))
	require.NoError(t, err)
	require.Equal(t, 409, a.Status)
	a, err = d.Once(t.Context(), request("a"), d.do(201))
	require.NoError(t, err)
	require.Equal(t, 409, a.Status, "a refusal is an answer")
}

// Of many at once one is done; the others hear its answer, or that it is under way.
func TestOfManyAtOnceOneIsDone(t *testing.T) {
	t.Parallel()
	d := begin(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			a, err := d.Once(t.Context(), request("a"), d.do(201))
			if err != nil && !errors.Is(err, replay.ErrUnderWay) || err == nil && string(a.Body) != "1" {
				t.Errorf("answer %q, %v", a.Body, err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, d.did.Load())
}

// A central that died in the middle leaves what nobody knows, and says so.
func TestWhatWasBrokenOffIsSaidToBe(t *testing.T) {
	t.Parallel()
	d := begin(t)
	require.Panics(t, func() {
		_, _ = d.Once(t.Context(), request("a"), func(context.Context) (replay.Answer, error) { panic("killed") })
	})
	_, err := d.Once(t.Context(), request("a"), d.do(201))
	require.ErrorIs(t, err, replay.ErrUnderWay)
	d.now = d.now.Add(replay.UnderWayMax)
	_, err = d.Once(t.Context(), request("a"), d.do(201))
	require.ErrorIs(t, err, replay.ErrBrokenOff)
	require.Zero(t, d.did.Load())
}

// The caller may hang up in the middle: what was done is remembered.
func TestACallerWhoHangsUpFindsTheAnswer(t *testing.T) {
	t.Parallel()
	d := begin(t)
	ctx, hangUp := context.WithCancel(t.Context())
	_, err := d.Once(ctx, request("a"), func(ctx context.Context) (replay.Answer, error) {
		hangUp()
		return d.do(201)(ctx)
	})
	require.NoError(t, err)
	a, err := d.Once(t.Context(), request("a"), d.do(201))
	require.NoError(t, err)
	require.Equal(t, "1", string(a.Body))
}

func TestAnAnswerThatIsTooLargeIsNotKept(t *testing.T) {
	t.Parallel()
	d := begin(t)
	a, err := d.Once(t.Context(), request("a"), func(context.Context) (replay.Answer, error) {
		return replay.Answer{Status: 200, Body: make([]byte, replay.BodyMax+1)}, nil
	})
	require.NoError(t, err)
	require.Len(t, a.Body, replay.BodyMax+1)
	_, err = d.Once(t.Context(), request("a"), d.do(201))
	require.ErrorIs(t, err, replay.ErrUnderWay)
}

// TestWhoHasTheDatabaseHasNoAnswers: some answers have a secret that is shown once.
func TestWhoHasTheDatabaseHasNoAnswers(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	s, err := replay.New(replay.Config{Pool: pool})
	require.NoError(t, err)
	secret := []byte(`{"key":"ghk_secret"}`)
	say := func(context.Context) (replay.Answer, error) { return replay.Answer{Status: 201, Body: secret}, nil }
	_, err = s.Once(t.Context(), request("a"), say)
	require.NoError(t, err)
	var body, keyHash []byte
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT body, key_hash FROM request_key`).Scan(&body, &keyHash))
	require.NotContains(t, string(body), "ghk_secret")
	require.NotContains(t, string(keyHash), "ghk_secret")
	again, err := s.Once(t.Context(), request("a"), say)
	require.NoError(t, err)
	require.Equal(t, secret, again.Body)
}

func TestAnAnswerThatWasChangedIsNotGiven(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	s, err := replay.New(replay.Config{Pool: pool})
	require.NoError(t, err)
	say := func(context.Context) (replay.Answer, error) {
		return replay.Answer{Status: 201, Body: []byte("{}")}, nil
	}
	_, err = s.Once(t.Context(), request("a"), say)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), `UPDATE request_key SET body = set_byte(body, 13, get_byte(body, 13) # 1)`)
	require.NoError(t, err)
	_, err = s.Once(t.Context(), request("a"), say)
	require.ErrorContains(t, err, "open answer")
}
