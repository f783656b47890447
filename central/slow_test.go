package central

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// dribble connects, sends what head says, and then a byte at a time until central has had
// enough; it says what came back.
func dribble(t *testing.T, url, head string) string {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(conn, head)
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for range ticker.C {
			if _, err := io.WriteString(conn, "x"); err != nil {
				return
			}
		}
	})
	answer, err := io.ReadAll(bufio.NewReader(conn))
	if err != nil {
		require.NotErrorIs(t, err, net.ErrClosed)
	}
	require.NoError(t, conn.Close())
	wg.Wait()
	return string(answer)
}

// Clients that never come to an end hold a connection for a while and nobody up.
func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	s := serve(t, func(cfg *ServeConfig) {
		cfg.Timeouts = Timeouts{Header: 200 * time.Millisecond, Body: 400 * time.Millisecond, Answer: time.Second, Idle: time.Second}
	})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			head := "GET / HTTP/1.1\r\nX-Slow: "
			if i%2 == 0 {
				head = fmt.Sprintf("POST /api/v1/attendees/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{", 1<<16)
			}
			if answer := dribble(t, s.url, head); strings.HasPrefix(answer, "HTTP/1.1 2") {
				t.Errorf("half a request was answered: %s", answer)
			}
		})
	}
	status, _ := s.get(t, "/api/v1/events")
	require.Equal(t, http.StatusOK, status, "others are served meanwhile")
	wg.Wait()
}
