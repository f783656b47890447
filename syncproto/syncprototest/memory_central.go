package syncprototest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// MemoryCentral is m as the suite sees it, reached through do. stall is
// Central.StallPush; it may be nil.
func MemoryCentral(m *Memory, do wire.Doer, stall func(testing.TB) (stuck func(context.Context), release func())) Central {
	return Central{
		StallPush: stall,
		Do:        do,
		Now:       m.cfg.Now,
		CreateEvent: func(t testing.TB, rules syncproto.Rules) syncproto.Rules {
			out, err := m.CreateEvent(rules)
			require.NoError(t, err)
			return out
		},
		AddTickets: func(t testing.TB, event syncproto.EventNo, typ syncproto.TypeNo, n int) []syncproto.TicketNo {
			tx, err := m.Begin(event)
			require.NoError(t, err)
			numbers := tx.Add(typ, n)
			require.NoError(t, tx.Commit())
			return numbers
		},
		SetStatus: func(t testing.TB, event syncproto.EventNo, no syncproto.TicketNo, s syncproto.Status) {
			tx, err := m.Begin(event)
			require.NoError(t, err)
			tx.SetStatus(no, s)
			require.NoError(t, tx.Commit())
		},
		NewToken: func(t testing.TB, event syncproto.EventNo, name string, valid time.Duration) syncproto.EnrolToken {
			token, err := m.NewToken(event, name, valid)
			require.NoError(t, err)
			return token
		},
		RevokeDevice: func(t testing.TB, device uuid.UUID) { require.NoError(t, m.RevokeDevice(device)) },
		Release:      func(t testing.TB, device uuid.UUID) { require.NoError(t, release(m, device)) },
		SetQuota: func(t testing.TB, event syncproto.EventNo, typ syncproto.TypeNo, quota int) {
			shopOf(t, m, event).SetQuota(typ, quota)
		},
		TryTickets: func(_ testing.TB, event syncproto.EventNo, typ syncproto.TypeNo, n int) error {
			tx, err := m.Begin(event)
			if err != nil {
				return err
			}
			tx.Add(typ, n)
			return tx.Commit()
		},
		Used: func(t testing.TB, event syncproto.EventNo, typ syncproto.TypeNo) int {
			return shopOf(t, m, event).Account(typ).Used
		},
		ReleaseLease: func(t testing.TB, event syncproto.EventNo, id uuid.UUID) {
			require.NoError(t, shopOf(t, m, event).Release(id))
		},
		Holder: func(t testing.TB, event syncproto.EventNo, no syncproto.TicketNo) string {
			return shopOf(t, m, event).Holder(no).Name
		},
		NewEpoch:    func(t testing.TB) { require.NoError(t, m.NewEpoch()) },
		Trim:        func(t testing.TB, event syncproto.EventNo) { require.NoError(t, m.Trim(event)) },
		Attendance:  func(_ testing.TB, event syncproto.EventNo) Attendance { return m.Attendance(event) },
		Quarantined: func(testing.TB) int { return len(m.Quarantined()) },
	}
}

func shopOf(t testing.TB, m *Memory, event syncproto.EventNo) Shop {
	s, err := m.Shop(event)
	require.NoError(t, err)
	return s
}

// release ends a device's quarantine. What it added meanwhile counts.
func release(m *Memory, id uuid.UUID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.devices[id]
	if d == nil || d.record.Revoked {
		return fmt.Errorf("device %s does not exist or is revoked", id)
	}
	d.quarantined = false
	var told []subject
	for _, inc := range slices.SortedFunc(maps.Keys(m.chains), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }) {
		c := m.chains[inc]
		for _, e := range c.entries {
			if c.device == d && e.Untrusted {
				e.Untrusted = false
				if e.Kind == syncproto.KindSale || e.Kind == syncproto.KindReturn {
					told = append(told, d.event.trade(e)...)
				}
				told = append(told, subject{kind: syncproto.RecordEntry, id: c.inc, no: e.Seq})
				told = append(told, d.event.fold(e.Ticket)...)
			}
		}
	}
	return m.tellLocked(d.event, told...)
}
