package lane_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/gate/engine"
	"gatehouse/gate/lane"
	"gatehouse/gate/node"
	"gatehouse/hardware"
	"gatehouse/syncproto"
)

func TestParseSpec(t *testing.T) {
	s, err := lane.ParseSpec("name=N1,zone=main,direction=in,scanner=serial:/dev/ttyACM0?baud=9600&term=cr,lf")
	require.NoError(t, err)
	require.Equal(t, lane.Spec{
		LaneConfig: node.LaneConfig{Name: "N1", Zone: "main", Direction: syncproto.In},
		Scanner:    "serial:/dev/ttyACM0?baud=9600&term=cr,lf",
	}, s, "a comma in the scanner's URL stays with it")
	s, err = lane.ParseSpec("scanner=serial:/dev/a,direction=out,zone=vip area,name=X1")
	require.NoError(t, err)
	require.Equal(t, syncproto.Out, s.Direction)
	for name, text := range map[string]string{
		"empty": "", "no scanner": "name=N1,zone=main,direction=in", "no name": "zone=main,direction=in,scanner=x:y",
		"direction": "name=N1,zone=main,direction=up,scanner=x:y", "twice": "name=N1,name=N2,zone=main,direction=in,scanner=x:y",
		"unknown key": "lane=N1,zone=main,direction=in,scanner=x:y", "unknown key behind": "name=N1,dir=in,zone=main,direction=in,scanner=x:y",
		"slash": "name=N/1,zone=main,direction=in,scanner=x:y", "empty value": "name=,zone=main,direction=in,scanner=x:y",
	} {
		_, err := lane.ParseSpec(text)
		require.Error(t, err, name)
	}
}

func result() engine.Result {
	return engine.Result{
		Decision: node.Decision{Decision: node.Admit, Reason: syncproto.ReasonAdmitted, Code: syncproto.CodeHash{1}, Ticket: 7},
		TicketID: uuid.MustParse("01890000-0000-7000-8000-000000000001"), Lane: "N1",
		At: time.Date(2026, 7, 10, 12, 0, 0, 5e6, time.FixedZone("", 7200)), Decide: 4 * time.Microsecond, Durable: 1500 * time.Microsecond,
	}
}

func TestDecisionLogLine(t *testing.T) {
	var out bytes.Buffer
	log, err := lane.OpenLog("-", &out)
	require.NoError(t, err)
	require.NoError(t, log.Write(result()))
	require.JSONEq(t, `{"at":"2026-07-10T10:00:00.005Z","lane":"N1","code_hash":"AQAAAAAAAAAAAAAAAAAAAA","decision":"admit","reason":"admitted",
		"ticket_id":"01890000-0000-7000-8000-000000000001","decide_us":4,"durable_us":1500}`, out.String())
	require.NoError(t, log.Close())
	out.Reset()
	r := result()
	r.TicketID, r.Ticket, r.Decision.Decision, r.Reason = uuid.Nil, 0, node.Deny, syncproto.ReasonMalformed
	require.NoError(t, log.Write(r))
	require.Contains(t, out.String(), `"ticket_id":null`)
}

func TestATornLastLineIsEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "decisions.ndjson")
	require.NoError(t, os.WriteFile(path, []byte("{\"lane\":\"N1\"}\n{\"lane\":\"N"), 0o600))
	for range 2 { // opening again adds nothing
		log, err := lane.OpenLog(path, nil)
		require.NoError(t, err)
		require.NoError(t, log.Close())
	}
	log, err := lane.OpenLog(path, nil)
	require.NoError(t, err)
	require.NoError(t, log.Write(result()))
	require.NoError(t, log.Close())
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	rows := bytes.Split(bytes.TrimSuffix(b, []byte("\n")), []byte("\n"))
	require.Len(t, rows, 3)
	require.False(t, json.Valid(rows[1]), "the torn line stands alone")
	require.True(t, json.Valid(rows[2]))
}

// oneWrite fails the test when a line comes in more than one write.
type oneWrite struct {
	t  *testing.T
	mu sync.Mutex
	n  int
}

func (w *oneWrite) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
	require.True(w.t, json.Valid(b) && b[len(b)-1] == '\n')
	return len(b), nil
}

func TestLinesOfSeveralLanesDoNotMix(t *testing.T) {
	w := &oneWrite{t: t}
	log, err := lane.OpenLog("-", w)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if err := log.Write(result()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, 400, w.n)
}

// scripted hands over reads and then waits.
type scripted struct {
	reads []string
	gone  error
}

func (s *scripted) Run(ctx context.Context, out chan<- hardware.Read) error {
	for _, r := range s.reads {
		out <- hardware.Read{Raw: []byte(r), At: time.Unix(1, 0)}
	}
	if s.gone != nil {
		return s.gone
	}
	<-ctx.Done()
	return nil
}

func (s *scripted) Status() hardware.Status { return hardware.Status{State: hardware.StateUp} }

// echo answers with the text it was given.
type echo struct{ seen []string }

func (e *echo) Scan(_ context.Context, index int, text []byte, _ time.Time) engine.Result {
	e.seen = append(e.seen, string(text))
	return engine.Result{Decision: node.Decision{Decision: node.Admit, Ticket: syncproto.TicketNo(index)}}
}

func TestReadsAreAnsweredInOrder(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	gate, shown := &echo{}, 0
	l := lane.New(lane.Config{Name: "N1", Index: 3, Gate: gate, Scan: &scripted{reads: []string{"a", "b", "c"}}, Show: func(r engine.Result) {
		require.Equal(t, "N1", r.Lane)
		require.Equal(t, syncproto.TicketNo(3), r.Ticket)
		if shown++; shown == 3 {
			cancel()
		}
	}})
	require.NoError(t, l.Run(ctx))
	require.Equal(t, []string{"a", "b", "c"}, gate.seen)
	require.Equal(t, hardware.StateUp, l.Status().State)
}

func TestALaneEndsWithItsDriver(t *testing.T) {
	gone := errors.New("driver gave up")
	l := lane.New(lane.Config{Name: "N1", Gate: &echo{}, Scan: &scripted{gone: gone}, Show: func(engine.Result) {}})
	require.ErrorIs(t, l.Run(t.Context()), gone)
}
