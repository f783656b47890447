package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/central/pgtest"
)

func TestAProgrammeGoesFromOneCentralToAnother(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	one, two := []string{"--database-url", url}, []string{"--database-url", pgtest.Empty(t)}
	with := func(w []string, args ...string) []string { return append(args, w...) }
	festival := filepath.Join("..", "..", "central", "programme", "testdata", "festival.json")
	want, err := os.ReadFile(festival)
	require.NoError(t, err)

	require.Equal(t, "1\n", must(t, with(one, "event", "create", file(t, "e.yaml", eventFile))...))
	require.Equal(t, "2\n", must(t, with(one, "event", "import", festival)...))
	printed := must(t, with(one, "event", "export", "--event", "2")...)
	require.JSONEq(t, string(want), printed)
	require.Equal(t, "1\n", must(t, with(two, "event", "import", file(t, "e.json", printed))...))
	require.Equal(t, printed, must(t, with(two, "event", "export", "--event", "1")...))

	table := must(t, with(one, "event", "list")...)
	require.Equal(t, "EVENT  STATUS     STARTS                 ENDS                   VENUE     NAME\n"+
		"2      draft      2026-07-01 10:00 CEST  2026-07-03 23:30 CEST  Airfield  Summer Festival\n"+
		"1      published  -                      -                      -         Fair\n", table)
	var lines []map[string]any
	require.NoError(t, json.Unmarshal([]byte(must(t, with(one, "event", "list", "--json")...)), &lines))
	require.Equal(t, map[string]any{"event": 1.0, "name": "Fair", "status": "published", "timezone": "UTC"}, lines[1])

	require.Empty(t, must(t, with(one, "event", "status", "--event", "2", "published")...))
	require.Empty(t, must(t, with(one, "event", "status", "--event", "2", "live")...))
	require.Contains(t, must(t, with(one, "event", "list")...), "2      live ")

	var actions []string
	require.NoError(t, pgtest.Pool(t, url).QueryRow(t.Context(), `
		SELECT array_agg(action || ' ' || subject_id ORDER BY id) FROM audit_log
		WHERE actor_kind = 'command_line' AND subject_kind = 'event' AND after IS NOT NULL`).Scan(&actions))
	require.Equal(t, []string{"event.create 1", "event.create 2", "event.step 2", "event.step 2"}, actions)

	bad := file(t, "bad.json", strings.Replace(printed, `"timezone": "Europe/Berlin"`, `"timezone": "Berlin"`, 1))
	for args, want := range map[string]string{
		"event status --event 2 draft": "the event is live and cannot become draft; it can become completed",
		"event status --event 2 live":  "the event is live already",
		"event status --event 7 live":  "there is no such event",
		"event export --event 7":       "there is no such event",
		"event import " + bad:          "must be an IANA time zone such as Europe/Berlin, not \"Berlin\"",
		"event import /nowhere.json":   "no such file",
	} {
		r := run(t, with(one, strings.Fields(args)...)...)
		require.Equal(t, exitFailure, r.code, args)
		require.Contains(t, r.err, want, args)
		require.Empty(t, r.out, args)
	}
	for _, args := range []string{"event status --event 2 open", "event status --event 2", "event status live", "event export", "event list x"} {
		require.Equal(t, exitMisuse, run(t, with(one, strings.Fields(args)...)...).code, args)
	}
}
