package staff

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
	"gatehouse/syncproto"
)

// Limits of API keys.
const (
	APIKeyTTL    = 90 * 24 * time.Hour // where nothing else is asked for
	APIKeyTTLMax = 366 * 24 * time.Hour
	APIKeysMax   = 100 // that one account, or the command line, has in force
)

// APIKeys are the keys of programs.
type APIKeys struct{ *parts }

// NewAPIKey describes a key to make.
type NewAPIKey struct {
	Name string // what it is for. Required.
	Role Role   // not attendee, and no more than its maker's. Required.
	// Event is the only event that the key is good for. 0: every event, which only an
	// admin can give.
	Event syncproto.EventNo
	// TTL is how long it is good for, APIKeyTTLMax at most. Defaults to APIKeyTTL.
	TTL time.Duration
}

// APIKey is a key as it is listed. Its zero times have not come.
type APIKey struct {
	ID         uuid.UUID         `json:"id"`
	Name       string            `json:"name"`
	Role       Role              `json:"role"`
	Event      syncproto.EventNo `json:"event,omitempty"` // 0: every event
	CreatedBy  uuid.UUID         `json:"created_by,omitzero"`
	CreatedAt  time.Time         `json:"created_at"`
	ExpiresAt  time.Time         `json:"expires_at"`
	LastUsedAt time.Time         `json:"last_used_at,omitzero"` // a minute late at most
	RevokedAt  time.Time         `json:"revoked_at,omitzero"`
}

// Issue makes a key and returns it with its text, which is shown once. [ErrForbidden]
// says that the maker may not give that much away, [ErrTooMany] that it has APIKeysMax.
func (s *APIKeys) Issue(ctx context.Context, by Principal, n NewAPIKey) (APIKey, string, error) {
	if n.TTL == 0 {
		n.TTL = APIKeyTTL
	}
	name, err := checkName(n.Name)
	switch {
	case err != nil:
		return APIKey{}, "", err
	case name == "":
		return APIKey{}, "", badInput("name", "say what the key is for")
	case n.TTL < 0 || n.TTL > APIKeyTTLMax:
		return APIKey{}, "", badInput("expires", "a key is good for %d days at most", APIKeyTTLMax/(24*time.Hour))
	case !n.Role.Known() || n.Role == Attendee:
		return APIKey{}, "", badInput("role", "%q is none of admin, organiser, supervisor, gate_staff", n.Role)
	case !canGive(by, n.Role, n.Event):
		return APIKey{}, "", ErrForbidden
	case n.Event > math.MaxInt32:
		return APIKey{}, "", ErrNoEvent
	}
	secret, err := newSecret(s.cfg.Rand)
	if err != nil {
		return APIKey{}, "", err
	}
	id, err := s.newID()
	if err != nil {
		return APIKey{}, "", fmt.Errorf("key id: %w", err)
	}
	now := s.cfg.Now()
	k := APIKey{ID: id, Name: name, Role: n.Role, Event: n.Event, CreatedAt: now.UTC(), ExpiresAt: now.Add(n.TTL).UTC()}
	if by.Kind == KindAccount {
		k.CreatedBy = by.ID
	}
	if err := s.inTx(ctx, func(tx pgx.Tx) error { return s.insert(ctx, tx, by, k, hashSecret(secret)) }); err != nil {
		return APIKey{}, "", fmt.Errorf("issue API key: %w", err)
	}
	return k, formatAPIKey(id, secret), nil
}

func (s *APIKeys) insert(ctx context.Context, tx pgx.Tx, by Principal, k APIKey, hash []byte) error {
	if k.CreatedBy != uuid.Nil {
		// Those who make keys for one account at once are counted one after the other.
		if _, err := lockAccount(ctx, tx, k.CreatedBy); err != nil {
			return err
		}
	}
	tag, err := tx.Exec(ctx, `
		INSERT INTO api_key (id, hash, name, role, event_id, created_by, created_at, expires_at)
		SELECT $1, $2, $3, $4, $5::int, $6, $7::timestamptz, $8
		WHERE (SELECT count(*) FROM api_key WHERE created_by IS NOT DISTINCT FROM $6 AND revoked_at IS NULL AND expires_at > $7) < $9`,
		k.ID, hash, k.Name, k.Role, pg.OrNull(int64(k.Event)), pg.OrNull(k.CreatedBy), k.CreatedAt, k.ExpiresAt, APIKeysMax)
	if err != nil {
		return pg.MapViolation(err, map[string]error{"api_key_event_id_fkey": ErrNoEvent})
	}
	if tag.RowsAffected() == 0 {
		return ErrTooMany
	}
	return s.audit.Write(ctx, tx, Entry{
		By: by, Action: "api_key.issue", SubjectKind: "api_key", SubjectID: k.ID.String(), Event: k.Event,
		After: map[string]any{"name": k.Name, "role": k.Role, "expires_at": k.ExpiresAt},
	})
}

const apiKeyColumns = `k.id, k.name, k.role, k.event_id, k.created_by, k.created_at, k.expires_at, k.last_used_at, k.revoked_at`

// apiKeyRow is where apiKeyColumns are scanned to.
type apiKeyRow struct {
	k             APIKey
	event         *int64
	by            *uuid.UUID
	used, revoked *time.Time
}

func (r *apiKeyRow) fields() []any {
	return []any{&r.k.ID, &r.k.Name, &r.k.Role, &r.event, &r.by, &r.k.CreatedAt, &r.k.ExpiresAt, &r.used, &r.revoked}
}

func (r *apiKeyRow) key() APIKey {
	k := r.k
	k.Event, k.CreatedBy = syncproto.EventNo(pg.OrZero(r.event)), pg.OrZero(r.by)
	k.CreatedAt, k.ExpiresAt = k.CreatedAt.UTC(), k.ExpiresAt.UTC()
	k.LastUsedAt, k.RevokedAt = pg.OrZero(r.used).UTC(), pg.OrZero(r.revoked).UTC()
	return k
}

func scanAPIKey(row pgx.CollectableRow) (APIKey, error) {
	var r apiKeyRow
	err := row.Scan(r.fields()...)
	return r.key(), err
}

// List returns the keys that are in force and that somebody may make such of, the newest
// first: an admin sees all, an organiser those of the events he has.
func (s *APIKeys) List(ctx context.Context, by Principal) ([]APIKey, error) {
	if !by.MaySome(APIKeyWrite) {
		return nil, ErrForbidden
	}
	rows, err := s.cfg.Pool.Query(ctx, `
		SELECT `+apiKeyColumns+`
		FROM api_key k
		WHERE k.revoked_at IS NULL AND k.expires_at > $1
		ORDER BY k.id DESC`, s.cfg.Now())
	if err != nil {
		return nil, fmt.Errorf("list API keys: %w", err)
	}
	keys, err := pgx.CollectRows(rows, scanAPIKey)
	if err != nil {
		return nil, fmt.Errorf("list API keys: %w", err)
	}
	return slices.DeleteFunc(keys, func(k APIKey) bool { return !by.May(APIKeyWrite, k.Event) }), nil
}

// Revoke ends a key. It needs apikey.write for the key's event. [ErrToken] says that
// there is no such key in force.
func (s *APIKeys) Revoke(ctx context.Context, by Principal, id uuid.UUID) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		var r apiKeyRow
		err := tx.QueryRow(ctx, `
			SELECT `+apiKeyColumns+`
			FROM api_key k
			WHERE k.id = $1 AND k.revoked_at IS NULL
			FOR UPDATE`, id).Scan(r.fields()...)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrToken
		}
		if err != nil {
			return err
		}
		k := r.key()
		if !by.May(APIKeyWrite, k.Event) {
			return ErrForbidden
		}
		if _, err := tx.Exec(ctx, `UPDATE api_key SET revoked_at = $2 WHERE id = $1`, id, s.cfg.Now()); err != nil {
			return err
		}
		return s.audit.Write(ctx, tx, Entry{By: by, Action: "api_key.revoke", SubjectKind: "api_key", SubjectID: id.String(), Event: k.Event})
	})
	if err != nil {
		return fmt.Errorf("revoke API key: %w", err)
	}
	return nil
}

// ByAPIKey is who an API key is, or [ErrToken]. A key is worth at most what its maker
// may do at this moment: it stops when he is disabled, and when he loses its event.
func (s *APIKeys) ByAPIKey(ctx context.Context, text string, from Origin) (Principal, error) {
	id, secret, err := parseAPIKey(text)
	if err != nil {
		return Principal{}, err
	}
	now := s.cfg.Now()
	var r apiKeyRow
	var hash []byte
	err = s.cfg.Pool.QueryRow(ctx, `
		SELECT k.hash, `+apiKeyColumns+`
		FROM api_key k
		WHERE k.id = $1 AND k.revoked_at IS NULL AND k.expires_at > $2`, id, now).Scan(append([]any{&hash}, r.fields()...)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return Principal{}, ErrToken
	}
	if err != nil {
		return Principal{}, fmt.Errorf("read API key: %w", err)
	}
	if subtle.ConstantTimeCompare(hash, hashSecret(secret)) != 1 {
		return Principal{}, ErrToken
	}
	k := r.key()
	if err := s.checkMaker(ctx, k); err != nil {
		return Principal{}, err
	}
	if now.Sub(k.LastUsedAt) >= SeenEvery {
		_, err := s.cfg.Pool.Exec(ctx, `
			UPDATE api_key
			SET last_used_at = $2
			WHERE id = $1 AND coalesce(last_used_at < $2, true)`, id, now)
		if err != nil {
			return Principal{}, fmt.Errorf("write that an API key is in use: %w", err)
		}
	}
	p := keyPrincipal(k.Role, k.Event)
	p.ID, p.Name, p.Origin = k.ID, k.Name, from
	return p, nil
}

// checkMaker refuses a key that its maker could not make any more.
func (s *APIKeys) checkMaker(ctx context.Context, k APIKey) error {
	if k.CreatedBy == uuid.Nil {
		return nil // the command line's
	}
	maker, err := oneAccount(ctx, s.cfg.Pool, `a.id = $1`, k.CreatedBy)
	if err != nil {
		return err
	}
	if !maker.DisabledAt.IsZero() || !canGive(maker.principal(uuid.Nil, Origin{}), k.Role, k.Event) {
		return ErrToken
	}
	return nil
}
