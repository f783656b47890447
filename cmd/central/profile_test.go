package main

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProfilesAreServedWhereTheyAreSaidToBe(t *testing.T) {
	t.Parallel()
	reader, writer := io.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := profiles("127.0.0.1:0", writer)(ctx); err != nil {
			t.Error(err)
		}
	})
	line := make([]byte, 200)
	n, err := reader.Read(line)
	require.NoError(t, err)
	url, ok := strings.CutPrefix(strings.TrimSpace(string(line[:n])), "central pprof ")
	require.True(t, ok)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"goroutine?debug=1", http.NoBody)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Contains(t, string(body), "goroutine profile:")
	stop()
	wg.Wait()
}
