package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const someSummary = `{"metrics": {
  "dropped_iterations{phase:load}": {"values": {"count": 2}},
  "iterations{phase:load}": {"values": {"count": 90}},
  "unexpected{phase:load}": {"values": {"count": 3}},
  "answered{phase:load}": {"values": {"count": 100}},
  "answered{phase:load,class:event}": {"values": {"count": 40}},
  "answered{phase:warm}": {"values": {"count": 7}},
  "http_req_duration{phase:load}": {"values": {"med": 1, "p(90)": 2.5, "p(99)": 60, "max": 70}},
  "http_req_duration{phase:load,class:event}": {"values": {"med": 0.5, "p(90)": 1, "p(99)": 2, "max": 3}}
}}`

func TestWhatK6FoundIsReadWithoutTheWarmUp(t *testing.T) {
	t.Parallel()
	a, err := readSummary([]byte(someSummary))
	require.NoError(t, err)
	require.Equal(t, class{Name: "all", Count: 100, P50: 1, P90: 2.5, P99: 60, Max: 70}, a.All)
	require.Equal(t, class{Name: "event", Count: 40, P50: 0.5, P90: 1, P99: 2, Max: 3}, a.Classes[1])
	require.Equal(t, 3, a.Errors)
	require.Equal(t, 2, a.Dropped)
	require.Equal(t, 90, a.made)
	for _, bad := range []string{"", "{}", `{"metrics": {}}`} {
		_, err := readSummary([]byte(bad))
		require.Error(t, err)
	}
}

func TestTheTableSaysWhatWasMissed(t *testing.T) {
	t.Parallel()
	a, err := readSummary([]byte(someSummary))
	require.NoError(t, err)
	f := figures{Machine: "here", Rate: 10, Seconds: 10, Answers: a, Streams: 5, StreamBytes: 2048}
	f.fill(&usage{parts: []*part{{name: "central", cpu: 5, most: 3 << 20}}, took: 10 * time.Second, busy: 20}, exchanges{seconds: 1, count: 100, statements: 300})
	var out bytes.Buffer
	require.NoError(t, f.print(&out))
	require.Regexp(t, `requests answered +10 /s +≥ 10 /s +met`, out.String())
	require.Regexp(t, `errors +3 +0 +missed`, out.String())
	require.Regexp(t, `mean +10\.000 ms +≤ 5 ms +missed`, out.String())
	require.Regexp(t, `central: processors, memory +0\.50, 3 MiB`, out.String())
	require.Regexp(t, `no part of the test: processors +1\.50`, out.String())
	require.True(t, f.failed())
	f.Answers.Errors = 0
	require.False(t, f.failed(), "a figure that misses its aim is no failure")
	f.StreamsLost = 1
	require.True(t, f.failed())
	file := filepath.Join(t.TempDir(), "figures.json")
	require.NoError(t, f.write(file))
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(b), `"rate_wanted": 10`)
}

func TestAProcessIsSeenToUseMemory(t *testing.T) {
	t.Parallel()
	me := part{pids: only(os.Getpid())}
	require.Positive(t, me.memory())
	require.GreaterOrEqual(t, me.seconds(), 0.0)
	require.Contains(t, below(os.Getppid())(), os.Getpid())
	gone := part{pids: only(-1)}
	require.Zero(t, gone.memory())
	require.Zero(t, gone.seconds())
}
