package checkin

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// Attendance is what central counts of an event, as of one moment.
type Attendance struct {
	Tickets           int `json:"tickets"`
	Admitted          int `json:"admitted"` // distinct tickets ever admitted
	Inside            int `json:"inside"`   // now inside the perimeter
	Denied            int `json:"denied"`   // journalled denials
	Duplicates        int `json:"duplicates"`
	DuplicatesRefused int `json:"duplicates_refused"` // denials of used tickets
	// DoubleAdmissions are admissions that the fold calls duplicate or concurrent.
	DoubleAdmissions int                       `json:"double_admissions"`
	DeniedByReason   map[syncproto.Reason]int  `json:"denied_by_reason"`
	ByGate           map[string]GateAttendance `json:"by_gate"`
}

// GateAttendance is the part of one gate. Gates of one name, such as a box and
// its replacement, are one.
type GateAttendance struct {
	Admitted          int    `json:"admitted"` // admit entries
	Exited            int    `json:"exited"`
	Denied            int    `json:"denied"`
	DuplicatesRefused int    `json:"duplicates_refused"`
	DoubleAdmissions  int    `json:"double_admissions"`
	JournalRows       int64  `json:"journal_rows"` // entries that central holds
	AckedSeq          uint64 `json:"acked_seq"`    // watermark of its newest journal
	// Unsent is how many entries the gate holds that central has not, as its last
	// heartbeat said; nil where that is not known: it has sent entries since then,
	// or at the same moment, or has been started again.
	Unsent *int64 `json:"unsent"`
	// Quarantined: central keeps what the gate adds as not trusted until an operator
	// decides.
	Quarantined bool `json:"quarantined"`
	// Check is how the gate's last comparison of its roster with central's ended, as
	// its heartbeat said; empty before the first. DivergedAt is when one last found a
	// difference; nil: never.
	Check      syncproto.CheckResult `json:"check"`
	DivergedAt *time.Time            `json:"diverged_at"`
	LastSeen   *time.Time            `json:"last_seen"` // nil: never
}

// crossing is how close a heartbeat and a push must come for the two to have
// crossed on the line, so that the heartbeat tells of entries that the push brought.
const crossing = 2 * time.Second

// Attendance counts an event. A gate is in it from its enrolment on.
func (s *Service) Attendance(ctx context.Context, event syncproto.EventNo) (Attendance, error) {
	out := Attendance{DeniedByReason: map[syncproto.Reason]int{}, ByGate: map[string]GateAttendance{}}
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pg.InTxWith(ctx, s.cfg.Pool, options, func(tx pgx.Tx) error {
		if err := countTickets(ctx, tx, event, &out); err != nil {
			return err
		}
		if err := listGates(ctx, tx, event, &out); err != nil {
			return err
		}
		return countEntries(ctx, tx, event, &out)
	})
	if err != nil {
		return Attendance{}, fmt.Errorf("count attendance: %w", err)
	}
	out.Duplicates = out.DuplicatesRefused + out.DoubleAdmissions
	return out, nil
}

func countTickets(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, out *Attendance) error {
	return tx.QueryRow(ctx, `
		SELECT (SELECT count(*) FROM ticket WHERE event_id = $1),
		       count(*) FILTER (WHERE admissions > 0), count(*) FILTER (WHERE inside)
		FROM ticket_state
		WHERE event_id = $1`, event).Scan(&out.Tickets, &out.Admitted, &out.Inside)
}

// listGates makes the row of each gate. Of gates of one name, the one that was
// enrolled last says how it is; any of them that is in quarantine is shown.
func listGates(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, out *Attendance) error {
	rows, err := tx.Query(ctx, `
		SELECT g.name, g.last_seen_at, g.health, g.quarantined_at IS NOT NULL AND g.revoked_at IS NULL, coalesce(j.acked_seq, 0), g.incarnation,
		       g.heartbeat_at IS NOT NULL AND NOT EXISTS (
		         SELECT FROM journal_stream
		         WHERE device_id = g.device_id AND pushed_at > g.heartbeat_at - $2::interval)
		FROM gate g
		LEFT JOIN LATERAL (
		  SELECT acked_seq FROM journal_stream
		  WHERE device_id = g.device_id
		  ORDER BY incarnation = g.incarnation DESC NULLS LAST, opened_at DESC, incarnation DESC
		  LIMIT 1) j ON true
		WHERE g.event_id = $1
		ORDER BY g.enrolled_at`, event, crossing)
	if err != nil {
		return err
	}
	var name string
	var seen *time.Time
	var health []byte
	var quarantined, fresh bool
	var acked int64
	var incarnation *uuid.UUID
	err = forEach(rows, []any{&name, &seen, &health, &quarantined, &acked, &incarnation, &fresh}, func() error {
		var beat syncproto.HeartbeatRequest
		if err := json.Unmarshal(health, &beat); err != nil {
			return fmt.Errorf("stored heartbeat of gate %q: %w", name, err)
		}
		gate := GateAttendance{AckedSeq: uint64(acked), LastSeen: seen, Quarantined: quarantined || out.ByGate[name].Quarantined}
		if fresh && (incarnation == nil || beat.Incarnation == *incarnation) {
			gate.Unsent = &beat.Unsent
		}
		if c := beat.Check; c != nil {
			gate.Check = c.Result
			if c.DivergedMS != 0 {
				at := time.UnixMilli(c.DivergedMS).UTC()
				gate.DivergedAt = &at
			}
		}
		out.ByGate[name] = gate
		return nil
	})
	return err
}

// countEntries counts by gate, kind, reason and verdict.
func countEntries(ctx context.Context, tx pgx.Tx, event syncproto.EventNo, out *Attendance) error {
	rows, err := tx.Query(ctx, `
		SELECT g.name, c.kind, c.reason, c.outcome IN ('duplicate', 'concurrent'), count(*)
		FROM checkin_entry c
		JOIN gate g ON g.device_id = c.device_id
		WHERE c.event_id = $1
		GROUP BY 1, 2, 3, 4`, event)
	if err != nil {
		return err
	}
	var name string
	var kind syncproto.Kind
	var reason syncproto.Reason
	var double bool
	var n int
	err = forEach(rows, []any{&name, &kind, &reason, &double, &n}, func() error {
		gate := out.ByGate[name]
		gate.count(kind, reason, double, n)
		out.ByGate[name] = gate
		out.count(kind, reason, double, n)
		return nil
	})
	return err
}

func (g *GateAttendance) count(kind syncproto.Kind, reason syncproto.Reason, double bool, n int) {
	g.JournalRows += int64(n)
	if double {
		g.DoubleAdmissions += n
	}
	switch kind {
	case syncproto.KindAdmit:
		g.Admitted += n
	case syncproto.KindExit:
		g.Exited += n
	case syncproto.KindDeny:
		g.Denied += n
		if reason == syncproto.ReasonDuplicate {
			g.DuplicatesRefused += n
		}
	}
}

func (a *Attendance) count(kind syncproto.Kind, reason syncproto.Reason, double bool, n int) {
	if double {
		a.DoubleAdmissions += n
	}
	if kind != syncproto.KindDeny {
		return
	}
	a.Denied += n
	a.DeniedByReason[reason] += n
	if reason == syncproto.ReasonDuplicate {
		a.DuplicatesRefused += n
	}
}
