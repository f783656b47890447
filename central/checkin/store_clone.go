package checkin

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/syncproto"
)

// goesOnElsewhere tells a copied box: it reports whether new entries up to last
// come from a line of the device that its current incarnation does not follow.
//
// One box that was restarted, restored or rebuilt leaves a line where it left it.
// What it may still push of earlier incarnations lies on the way from its current
// one back to the first, up to the entry that the next one names as its parent.
// Entries beside or beyond that are made by another box with the same key. So are
// entries beyond the last place where any genesis left an incarnation, also of the
// current one: a box that was restarted leaves nothing behind. A genesis that
// follows a damaged journal does not count here: it names the last entry that could
// be read, and what stood behind may come back to its gate from a peer.
//
// The current incarnation is that of the last hello. Nobody is accused while the
// ways are not known: its genesis may not be here yet, and a central that was set
// back knows an older hello than the gate's and lacks incarnations in between.
func goesOnElsewhere(ctx context.Context, tx pgx.Tx, device uuid.UUID, last syncproto.Ref) (bool, error) {
	var known, follows, ahead, meets bool
	var until, left *int64
	err := tx.QueryRow(ctx, `
		WITH RECURSIVE here AS (
			SELECT incarnation FROM gate WHERE device_id = $1
		), way AS ( -- from the current incarnation back
			SELECT j.incarnation, j.parent_incarnation, j.parent_seq
			FROM here
			JOIN journal_stream j USING (incarnation)
			UNION -- and not UNION ALL: a forged genesis could name itself
			SELECT j.incarnation, j.parent_incarnation, j.parent_seq
			FROM way w
			JOIN journal_stream j ON j.incarnation = w.parent_incarnation
		), line AS ( -- from the pushed one back
			SELECT j.incarnation, j.parent_incarnation
			FROM journal_stream j
			WHERE j.incarnation = $2
			UNION
			SELECT j.incarnation, j.parent_incarnation
			FROM line l
			JOIN journal_stream j ON j.incarnation = l.parent_incarnation
		), salvaged AS ( -- those that follow a damaged journal, and cannot say where it ended
			SELECT j.incarnation
			FROM journal_stream j
			JOIN checkin_entry g ON g.incarnation = j.incarnation AND g.seq = 1
			WHERE j.parent_incarnation = $2 AND g.body::jsonb ->> 'note' = $3
		)
		SELECT EXISTS (SELECT FROM way),
		       EXISTS (SELECT FROM way WHERE incarnation = $2),
		       EXISTS (SELECT FROM line JOIN here USING (incarnation)),
		       EXISTS (SELECT FROM line WHERE parent_incarnation IS NULL OR parent_incarnation IN (SELECT incarnation FROM way)),
		       (SELECT max(parent_seq) FROM way WHERE parent_incarnation = $2 AND incarnation NOT IN (SELECT incarnation FROM salvaged)),
		       (SELECT max(parent_seq) FROM journal_stream WHERE device_id = $1 AND parent_incarnation = $2
		                                                     AND incarnation NOT IN (SELECT incarnation FROM salvaged))`,
		device, last.Incarnation, syncproto.NoteSalvaged,
	).Scan(&known, &follows, &ahead, &meets, &until, &left)
	if err != nil {
		return false, fmt.Errorf("follow incarnations: %w", err)
	}
	switch {
	case left != nil && int64(last.Seq) > *left:
		return true, nil
	case !known || ahead: // ahead: the pushed one is the current one, or later than it
		return false, nil
	case follows:
		return until != nil && int64(last.Seq) > *until, nil
	}
	return meets, nil
}
