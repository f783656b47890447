package screen

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/gate/engine"
	"gatehouse/gate/node"
	"gatehouse/syncproto"
)

// stream reads server-sent events as a browser does.
type stream struct {
	code   int
	header http.Header
	in     *bufio.Reader
	close  func()
	last   string // id of the last answer
}

type sseEvent struct{ name, id, data, comment string }

func (b *bench) open(t *testing.T, path, lastID string) *stream {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+path, nil)
	require.NoError(t, err)
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := b.client.Do(req)
	require.NoError(t, err)
	hangUp := func() { _ = resp.Body.Close() }
	t.Cleanup(hangUp)
	return &stream{code: resp.StatusCode, header: resp.Header, in: bufio.NewReader(resp.Body), close: hangUp}
}

// next reads one event or comment; an error is the end of the stream.
func (s *stream) next() (sseEvent, error) {
	var e sseEvent
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return e, err
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "\n":
			return e, nil
		case field == "":
			e.comment = value
		case field == "event":
			e.name = value
		case field == "id":
			e.id, s.last = value, value
		case field == "data":
			e.data = value
		}
	}
}

// find reads on until an event of that name.
func (s *stream) find(t *testing.T, name string, into any) {
	t.Helper()
	for {
		e, err := s.next()
		require.NoError(t, err)
		if e.name == name {
			require.NoError(t, json.Unmarshal([]byte(e.data), into))
			return
		}
	}
}

func (s *stream) answer(t *testing.T) answer {
	t.Helper()
	var a answer
	s.find(t, "answer", &a)
	return a
}

func (s *stream) panel(t *testing.T) panel {
	t.Helper()
	var p panel
	s.find(t, "panel", &p)
	return p
}

// ended reads to the end of the stream.
func (s *stream) ended() {
	for {
		if _, err := s.next(); err != nil {
			return
		}
	}
}

func TestStreamCarriesAnswersAndTheGatesState(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	s := b.open(t, "/lane/N1/stream", "")
	require.Equal(t, "text/event-stream", s.header.Get("Content-Type"))
	require.Equal(t, "no-store", s.header.Get("Cache-Control"))
	require.Equal(t, "no", s.header.Get("X-Accel-Buffering"))
	p := s.panel(t)
	require.True(t, p.Online)
	require.Equal(t, "0", p.Admitted)
	require.Contains(t, b.get(t, "/lane/N1").body, `data-boot="`+p.Boot+`"`, "or the page would load itself again for ever")

	b.gate.set(func(st *node.Status) { st.Counts.Admitted, st.Online = 1, false })
	b.Show("N2", scan(node.Exit, syncproto.ReasonExited)) // another lane's
	b.Show("N1", scan(node.Admit, syncproto.ReasonAdmitted))
	a := s.answer(t)
	require.Equal(t, stateAdmit, a.State)
	require.Equal(t, int64(1500), a.HoldMS)
	p = s.panel(t)
	require.Equal(t, "1", p.Admitted, "the count comes with the answer")
	require.False(t, p.Online)
}

func TestStreamOutlivesTheServersWriteTimeout(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.PanelEvery = 20 * time.Millisecond })
	s := b.open(t, "/lane/N1/stream", "")
	for range 30 { // 600 ms, three times the server's limit
		s.panel(t)
	}
	b.Show("N1", scan(node.Admit, syncproto.ReasonAdmitted))
	require.Equal(t, stateAdmit, s.answer(t).State)
}

func TestStreamBeats(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.Heartbeat, c.PanelEvery = 5*time.Millisecond, time.Hour })
	s := b.open(t, "/lane/N1/stream", "")
	s.panel(t)
	for range 3 {
		e, err := s.next()
		require.NoError(t, err)
		require.Equal(t, sseEvent{comment: "beat"}, e)
	}
}

func TestAPageThatWasAwayGetsWhatItMissed(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	show := func(reason syncproto.Reason) { b.Show("N1", scan(node.Deny, reason)) }
	s := b.open(t, "/lane/N1/stream", "")
	show(syncproto.ReasonUnpaid)
	s.answer(t)
	seen := s.last
	s.close()

	show(syncproto.ReasonCancelled)
	show(syncproto.ReasonRevoked)
	b.clock.advance(7 * time.Second)
	s = b.open(t, "/lane/N1/stream", seen)
	first, second := s.answer(t), s.answer(t)
	require.Equal(t, syncproto.ReasonCancelled.Sentence(), first.Sentence)
	require.Equal(t, syncproto.ReasonRevoked.Sentence(), second.Sentence)
	require.Equal(t, int64(7000), second.AgeMS, "so that an old admission does not turn the page green")
	s.close()

	s = b.open(t, "/lane/N1/stream", s.last)
	e, err := s.next() // retry only
	require.NoError(t, err)
	require.Empty(t, e.name)
	e, err = s.next()
	require.NoError(t, err)
	require.Equal(t, "panel", e.name, "nothing was missed")
	s.close()

	for _, unknown := range []string{"", "00000000-1", "garbage", "-", b.boot + "-x"} {
		s = b.open(t, "/lane/N1/stream", unknown)
		require.Equal(t, syncproto.ReasonRevoked.Sentence(), s.answer(t).Sentence, "only the newest for %q", unknown)
		s.close()
	}
}

func TestReplayHoldsARingOnly(t *testing.T) {
	t.Parallel()
	var b board
	for range ringMax + 10 {
		b.add(answer{})
	}
	for after, want := range map[uint64]int{0: ringMax, 5: ringMax, ringMax + 9: 1, ringMax + 10: 0, 1 << 60: 0} {
		_, missed := b.watch(after, true)
		require.Len(t, missed, want, "after %d", after)
	}
	_, missed := b.watch(ringMax+8, true)
	require.Equal(t, []uint64{ringMax + 9, ringMax + 10}, []uint64{missed[0].seq, missed[1].seq})
	_, missed = new(board).watch(0, true)
	require.Empty(t, missed)
	_, missed = new(board).watch(0, false)
	require.Empty(t, missed)
}

// deaf opens a stream and never reads it.
func (b *bench) deaf(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(2048))
	_, err = fmt.Fprintf(conn, "GET /lane/N1/stream HTTP/1.1\r\nHost: gate\r\n\r\n")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return b.Clients() == 1 }, 5*time.Second, time.Millisecond)
	return conn
}

// large is an answer that soon fills the buffers of a connection.
func large() engine.Result {
	r := scan(node.Deny, syncproto.ReasonDuplicate)
	r.Of = node.Use{At: start, Gate: strings.Repeat("g", 32<<10)}
	return r
}

func TestAPageThatDoesNotReadIsCutOffAndNobodyWaits(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	slow := b.deaf(t)
	quick := b.open(t, "/lane/N1/stream", "")
	quick.panel(t)
	board := &b.lanes["N1"].board
	cut := func() int {
		board.mu.Lock()
		defer board.mu.Unlock()
		return board.cut
	}
	for n := 0; cut() == 0; n++ {
		require.Less(t, n, 10000, "the slow page was never cut off")
		b.Show("N1", large())
		require.Equal(t, stateRefuse, quick.answer(t).State, "the other page gets every answer")
	}
	require.NoError(t, slow.Close())
	require.Eventually(t, func() bool { return b.Clients() == 1 }, 5*time.Second, time.Millisecond)
	b.Show("N1", scan(node.Admit, syncproto.ReasonAdmitted))
	require.Equal(t, stateAdmit, quick.answer(t).State)
}

func TestAWriteToADeafPageEnds(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.WriteWait = 20 * time.Millisecond })
	b.deaf(t)
	require.Eventually(t, func() bool {
		b.Show("N1", large())
		return b.Clients() == 0
	}, 10*time.Second, time.Millisecond)
}

func TestAQueueThatIsFullIsClosed(t *testing.T) {
	t.Parallel()
	var b board
	stuck, _ := b.watch(0, false)
	for range queueMax {
		b.add(answer{})
	}
	require.Zero(t, b.cut)
	b.add(answer{})
	require.Equal(t, 1, b.cut)
	got := 0
	for range stuck.queue {
		got++
	}
	require.Equal(t, queueMax, got)
	b.add(answer{}) // goes to nobody, and does not touch the closed queue
	b.leave(stuck)
}

func TestTooManyPages(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.ClientsMax = 2 })
	one, two := b.open(t, "/lane/N1/stream", ""), b.open(t, "/lane/N2/stream", "")
	one.panel(t)
	two.panel(t)
	three := b.open(t, "/lane/N1/stream", "")
	require.Equal(t, http.StatusServiceUnavailable, three.code)
	require.NotEmpty(t, three.header.Get("Retry-After"))
	one.close()
	require.Eventually(t, func() bool { return b.Clients() == 1 }, 5*time.Second, time.Millisecond)
	require.Equal(t, http.StatusOK, b.open(t, "/lane/N1/stream", "").code)
}

func TestAStreamEndsAfterItsLife(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.StreamLife = 20 * time.Millisecond })
	s := b.open(t, "/lane/N1/stream", "")
	s.panel(t)
	s.ended()
	require.Eventually(t, func() bool { return b.Clients() == 0 }, 5*time.Second, time.Millisecond)
}

func TestCloseEndsEveryStream(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	s := b.open(t, "/lane/N1/stream", "")
	s.panel(t)
	b.Close()
	b.Close()
	s.ended()
	b.open(t, "/lane/N1/stream", "").ended()
}
