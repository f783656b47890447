package registration_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/central/registration"
)

// benchCallers are as many as ask at once for what everybody wants.
const benchCallers = 64

// hammer has callers do the same thing for n times in all, and reports how often a
// second that was.
func hammer(b *testing.B, do func() error) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(b.N))
	began := time.Now()
	var wg sync.WaitGroup
	for range benchCallers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := do(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "/s")
}

// The floor: the bare statement that takes a place, each in a transaction of its own.
func BenchmarkTakeAPlaceAlone(b *testing.B) {
	w := setup(b)
	_, err := w.pool.Exec(b.Context(), `CREATE TABLE bare (used integer NOT NULL) WITH (fillfactor = 10)`)
	require.NoError(b, err)
	_, err = w.pool.Exec(b.Context(), `INSERT INTO bare VALUES (0)`)
	require.NoError(b, err)
	b.ResetTimer()
	hammer(b, func() error {
		_, err := w.pool.Exec(b.Context(), `UPDATE bare SET used = used + 1 WHERE used < 1000000000`)
		return err
	})
}

// A registration: an order, a ticket with its signed code, the audit's row, the gates'
// news, and the place.
func BenchmarkRegisterForOneHotType(b *testing.B) {
	w := setup(b)
	copies := []*registration.Service{w.copyOfCentral(), w.copyOfCentral()}
	var turn atomic.Int64
	b.ResetTimer()
	hammer(b, func() error {
		_, err := copies[turn.Add(1)%2].Register(b.Context(), w.wants("lawn"))
		return err
	})
}
