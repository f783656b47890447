package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAFigureIsMetWhenEveryBoundHolds(t *testing.T) {
	t.Parallel()
	both := reach{ratioMax: 5, valueMax: 5}
	for name, c := range map[string]struct {
		f    figure
		want string
	}{
		"no reach":                {newFigure("x", 1, "s", reach{}), ""},
		"within both":             {newFigure("x", 4, "s", both).beside(1, ""), "met"},
		"ratio too high":          {newFigure("x", 4, "s", both).beside(0.5, ""), "missed"},
		"value too high":          {newFigure("x", 6, "s", both).beside(3, ""), "missed"},
		"ratio was not measured":  {newFigure("x", 4, "s", both), "missed"},
		"rate is high enough":     {newFigure("x", 20_000, "/s", reach{valueMin: 20_000}), "met"},
		"rate is not high enough": {newFigure("x", 19_999, "/s", reach{valueMin: 20_000}), "missed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, c.f.verdict())
		})
	}
}

func TestJSONHoldsFiveKeysAndNullWithoutALimit(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal([]figure{newFigure("a", 3, "s", reach{}).beside(2, "work"), newFigure("b", 1, "ms", reach{})})
	require.NoError(t, err)
	require.JSONEq(t, `[{"name":"a","value":3,"unit":"s","limit":2,"ratio":1.5},{"name":"b","value":1,"unit":"ms","limit":null,"ratio":null}]`, string(b))
}

func TestTheTableSaysWhatAFigureIsHeldAgainst(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, printTable(&out, []figure{
		newFigure("drain", 4.5678, "s", reach{ratioMax: 5, valueMax: 5}).beside(1.25, "one INSERT"),
		newFigure("revoke", 1234.5, "ms", reach{}),
	}))
	rows := strings.Split(out.String(), "\n")
	require.Equal(t, "drain 4.57 s 1.25 3.65 ≤ 5 × limit, ≤ 5 s met one INSERT", strings.Join(strings.Fields(rows[1]), " "))
	require.Equal(t, "revoke 1235 ms – –", strings.Join(strings.Fields(rows[2]), " "))
}

func TestProbesAreCalledOnceForEachIndex(t *testing.T) {
	t.Parallel()
	var seen [2][]int
	probes := make([]*probe, 2)
	for p := range probes {
		probes[p] = &probe{call: func(i int) { seen[p] = append(seen[p], i) }}
	}
	const n = 10 * 2 * batchSize
	sampleTogether(n, probes...)
	for p := range probes {
		require.Len(t, seen[p], n)
		for i, got := range seen[p] {
			require.Equal(t, i, got)
		}
		require.Len(t, probes[p].batches, 10)
		require.Len(t, probes[p].single, n/2)
	}
}

func TestPercentiles(t *testing.T) {
	t.Parallel()
	var s samples
	require.Zero(t, s.at(0.5))
	for i := range 101 {
		s = append(s, time.Duration(100-i))
	}
	require.Equal(t, time.Duration(50), s.at(0.5))
	require.Equal(t, time.Duration(99), s.at(0.99))
}
