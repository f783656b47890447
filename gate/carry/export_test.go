package carry

import "context"

// LimitBytes makes the store full after n bytes.
func (s *Store) LimitBytes(n int64) { s.most = n }

// FlipBit damages the piece that begins with an entry, as a disk may.
func (s *Store) FlipBit(ctx context.Context, first, at int64, bit int) error {
	var body []byte
	if err := s.db.QueryRowContext(ctx, "SELECT body FROM piece WHERE first = ?", first).Scan(&body); err != nil {
		return err
	}
	body[at] ^= 1 << bit
	_, err := s.db.ExecContext(ctx, "UPDATE piece SET body = ? WHERE first = ?", body, first)
	return err
}
