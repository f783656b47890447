package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// A column of a table, and what it holds in every row, as text.
type column struct {
	name, kind string
	values     []*string
}

// insertSame reads back what the drain stored, whatever columns that has by now,
// and times one statement that stores it in a table of the same shape, with the
// same indexes.
func (v drainVenue) insertSame(ctx context.Context, inc uuid.UUID, last uint64) (time.Duration, error) {
	columns, err := v.columns(ctx)
	if err != nil {
		return 0, err
	}
	if err := v.fill(ctx, columns, inc); err != nil {
		return 0, err
	}
	if n := len(columns[0].values); n != int(last) {
		return 0, fmt.Errorf("central holds %d entries of %d", n, last)
	}
	if _, err := v.pool.Exec(ctx, `
		CREATE TABLE gatebench_entry (LIKE checkin_entry INCLUDING ALL)`); err != nil {
		return 0, fmt.Errorf("make a table to insert into: %w", err)
	}
	var names, arrays []string
	var args []any
	for i, c := range columns {
		names = append(names, pgx.Identifier{c.name}.Sanitize())
		arrays = append(arrays, fmt.Sprintf("$%d::text[]::%s[]", i+1, c.kind))
		args = append(args, c.values)
	}
	start := time.Now()
	_, err = v.pool.Exec(ctx, `
		INSERT INTO gatebench_entry (`+strings.Join(names, ", ")+`)
		SELECT *
		FROM unnest(`+strings.Join(arrays, ", ")+`)`, args...)
	took := time.Since(start)
	if err != nil {
		return 0, fmt.Errorf("insert the same rows: %w", err)
	}
	if _, err := v.pool.Exec(ctx, `DROP TABLE gatebench_entry`); err != nil {
		return 0, fmt.Errorf("drop the table again: %w", err)
	}
	return took, nil
}

// columns are those of checkin_entry that a statement can set.
func (v drainVenue) columns(ctx context.Context) ([]*column, error) {
	rows, err := v.pool.Query(ctx, `
		SELECT attname, format_type(atttypid, atttypmod)
		FROM pg_attribute
		WHERE attrelid = 'checkin_entry'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND attidentity = ''
		ORDER BY attnum`)
	if err != nil {
		return nil, fmt.Errorf("read the columns: %w", err)
	}
	columns, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*column, error) {
		var c column
		return &c, row.Scan(&c.name, &c.kind)
	})
	if err != nil {
		return nil, fmt.Errorf("read the columns: %w", err)
	}
	return columns, nil
}

// fill reads the entries of an incarnation.
func (v drainVenue) fill(ctx context.Context, columns []*column, inc uuid.UUID) error {
	var texts []string
	for _, c := range columns {
		texts = append(texts, pgx.Identifier{c.name}.Sanitize()+"::text")
	}
	rows, err := v.pool.Query(ctx, `
		SELECT `+strings.Join(texts, ", ")+`
		FROM checkin_entry
		WHERE incarnation = $1
		ORDER BY seq`, inc)
	if err != nil {
		return fmt.Errorf("read the entries: %w", err)
	}
	defer rows.Close()
	cells := make([]any, len(columns))
	for rows.Next() {
		for i, c := range columns {
			c.values = append(c.values, nil)
			cells[i] = &c.values[len(c.values)-1]
		}
		if err := rows.Scan(cells...); err != nil {
			return fmt.Errorf("read the entries: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the entries: %w", err)
	}
	return nil
}
