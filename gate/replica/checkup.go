package replica

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"gatehouse/syncproto"
)

// SaveCheck keeps how a comparison with central ended.
func (r compared) SaveCheck(ctx context.Context, s syncproto.CheckState) error {
	body, err := json.Marshal(s)
	if err == nil {
		_, err = r.db.ExecContext(ctx, `
			INSERT OR REPLACE INTO checkup (id, state, sum)
			VALUES (1, ?, ?)`, string(body), checksum(body))
	}
	if err != nil {
		return fmt.Errorf("keep result of the comparison with central: %w", err)
	}
	return nil
}

// Check is what SaveCheck kept; zero where there is nothing, or nothing readable,
// because a gate can do without it.
func (r compared) Check(ctx context.Context) (syncproto.CheckState, error) {
	var body string
	var sum int64
	err := r.db.QueryRowContext(ctx, `SELECT state, sum FROM checkup WHERE id = 1`).Scan(&body, &sum)
	if errors.Is(err, sql.ErrNoRows) {
		return syncproto.CheckState{}, nil
	}
	if err != nil {
		return syncproto.CheckState{}, fmt.Errorf("read result of the last comparison with central: %w", scanned(err))
	}
	var s syncproto.CheckState
	if sum != checksum([]byte(body)) || json.Unmarshal([]byte(body), &s) != nil {
		return syncproto.CheckState{}, nil
	}
	return s, nil
}
