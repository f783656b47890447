package staff

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
)

const (
	// keysAgeMax is how soon a key that was retired elsewhere is no longer taken.
	keysAgeMax = time.Minute
	// keysAgeMin is how often unknown key ids make central read the keys again.
	keysAgeMin = time.Second
)

// tokenKeys are the keys of access tokens, the same for all copies of central.
type tokenKeys struct {
	cfg  Config
	mu   sync.Mutex
	keys []tokenKey // the newest first
	read time.Time
}

// prepare makes the first key if there is none.
func (k *tokenKeys) prepare(ctx context.Context) error {
	err := pg.InTx(ctx, k.cfg.Pool, func(tx pgx.Tx) error {
		const have = `SELECT EXISTS (SELECT FROM token_key WHERE retired_at IS NULL)`
		var found bool
		if err := tx.QueryRow(ctx, have).Scan(&found); err != nil || found {
			return err
		}
		// Of two processes at once the second waits here, and then finds it made.
		if _, err := tx.Exec(ctx, `LOCK TABLE token_key IN EXCLUSIVE MODE`); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, have).Scan(&found); err != nil || found {
			return err
		}
		secret, err := newSecret(k.cfg.Rand)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			INSERT INTO token_key (secret, created_at)
			VALUES ($1, $2)`, secret, k.cfg.Now())
		return err
	})
	if err != nil {
		return fmt.Errorf("prepare token key: %w", err)
	}
	return nil
}

// signer is the key that signs now.
func (k *tokenKeys) signer(ctx context.Context) (tokenKey, error) {
	keys, err := k.all(ctx, keysAgeMax)
	if err != nil {
		return tokenKey{}, err
	}
	if len(keys) == 0 {
		return tokenKey{}, errors.New("this database has no token key yet: run `central serve` once, which makes it")
	}
	return keys[0], nil
}

// find returns a key by its id; [ErrToken] for one that there is not, or not any more.
func (k *tokenKeys) find(ctx context.Context, id int64) (tokenKey, error) {
	for _, age := range []time.Duration{keysAgeMax, keysAgeMin} {
		keys, err := k.all(ctx, age)
		if err != nil {
			return tokenKey{}, err
		}
		for _, key := range keys {
			if key.id == id {
				return key, nil
			}
		}
	}
	return tokenKey{}, ErrToken
}

// all is what the database has, at most age old.
func (k *tokenKeys) all(ctx context.Context, age time.Duration) ([]tokenKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.cfg.Now()
	if len(k.keys) > 0 && now.Sub(k.read).Abs() < age {
		return k.keys, nil
	}
	rows, err := k.cfg.Pool.Query(ctx, `
		SELECT kid, secret
		FROM token_key
		WHERE retired_at IS NULL
		ORDER BY kid DESC`)
	if err != nil {
		return nil, fmt.Errorf("read token keys: %w", err)
	}
	keys, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (key tokenKey, err error) {
		err = row.Scan(&key.id, &key.secret)
		return key, err
	})
	if err != nil {
		return nil, fmt.Errorf("read token keys: %w", err)
	}
	k.keys, k.read = keys, now
	return keys, nil
}
