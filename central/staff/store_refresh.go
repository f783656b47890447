package staff

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
)

// RefreshGrace is how long a refresh token that was used up can be shown again because
// the answer to it was lost. It gets the same answer then: the refresh token that it
// was turned into, as long as that one is unused, and no second one. So a client whose
// network dropped an answer goes on, two requests of one client at once both do, and a
// thief gets nothing that the owner has not got as well: whichever of the two comes
// second with it, after this time, ends the family.
const RefreshGrace = 10 * time.Second

// Tokens are what a program signs its requests with.
type Tokens struct {
	Principal      Principal
	Access         string    // a JWT, for the Authorization header
	AccessExpires  time.Time // then Refresh gives another one
	Refresh        string    // good once, apart from RefreshGrace
	RefreshExpires time.Time // unless it is used before
}

// Tokens signs somebody in and gives tokens. Errors are those of [SignIns.Browser].
func (s *SignIns) Tokens(ctx context.Context, c Credentials) (Tokens, error) {
	a, err := s.enter(ctx, c, true)
	if err != nil {
		return Tokens{}, err
	}
	secret, err := newSecret(s.cfg.Rand)
	if err != nil {
		return Tokens{}, err
	}
	var t Tokens
	err = pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		p, ends, err := s.begin(ctx, tx, a, c.From, nil)
		if err != nil {
			return err
		}
		t = Tokens{Principal: p, Refresh: secretText(secret), RefreshExpires: refreshUntil(p.Role, s.cfg.Now(), ends)}
		return insertRefresh(ctx, tx, p.SignIn, hashSecret(secret), nil, s.cfg.Now(), t.RefreshExpires)
	})
	if err != nil {
		return Tokens{}, fmt.Errorf("begin sign-in: %w", err)
	}
	return s.withAccess(ctx, t)
}

// withAccess adds an access token.
func (s *SignIns) withAccess(ctx context.Context, t Tokens) (Tokens, error) {
	key, err := s.tokens.signer(ctx)
	if err != nil {
		return Tokens{}, err
	}
	t.Access, t.AccessExpires, err = key.sign(t.Principal.ID, t.Principal.SignIn, s.cfg.Now())
	if err != nil {
		return Tokens{}, err
	}
	return t, nil
}

// refreshUntil is how long a refresh token waits to be used.
func refreshUntil(role Role, now, ends time.Time) time.Time {
	idle, _ := stay(role)
	if until := now.Add(idle); until.Before(ends) {
		return until
	}
	return ends
}

func insertRefresh(ctx context.Context, tx pgx.Tx, family uuid.UUID, hash, previous []byte, now, expires time.Time) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO refresh_token (hash, sign_in_id, created_at, expires_at, previous)
		VALUES ($1, $2, $3, $4, $5)`, hash, family, now, expires, previous)
	if err != nil {
		return fmt.Errorf("store refresh token: %w", err)
	}
	return nil
}

// Refresh turns a refresh token into new tokens. [ErrToken] says that it is not good;
// one that was used before, see [RefreshGrace], has its family ended with that.
func (s *SignIns) Refresh(ctx context.Context, refresh string, from Origin) (Tokens, error) {
	secret, err := parseSecret(refresh)
	if err != nil {
		return Tokens{}, err
	}
	var out Tokens
	var stolen bool
	err = pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) (err error) {
		out, stolen, err = s.turn(ctx, tx, secret, from.clean())
		return err
	})
	if err != nil {
		return Tokens{}, fmt.Errorf("refresh: %w", err)
	}
	if stolen {
		s.states.forget()
		return Tokens{}, ErrToken
	}
	out.Principal.Origin = from
	return s.withAccess(ctx, out)
}

// refreshRow is a refresh token as stored.
type refreshRow struct {
	hash, nonce, previous []byte
	family                uuid.UUID
	expires               time.Time
	used                  *time.Time
}

// turn uses a refresh token up. stolen means that it ended the family, which is to be
// committed.
func (s *SignIns) turn(ctx context.Context, tx pgx.Tx, secret []byte, from Origin) (out Tokens, stolen bool, err error) {
	r := refreshRow{hash: hashSecret(secret)}
	err = tx.QueryRow(ctx, `
		SELECT sign_in_id, expires_at, used_at, nonce, previous
		FROM refresh_token
		WHERE hash = $1
		FOR UPDATE`, r.hash).Scan(&r.family, &r.expires, &r.used, &r.nonce, &r.previous)
	if errors.Is(err, pgx.ErrNoRows) {
		return Tokens{}, false, ErrToken
	}
	if err != nil {
		return Tokens{}, false, fmt.Errorf("read refresh token: %w", err)
	}
	now := s.cfg.Now()
	if r.used != nil && now.Sub(*r.used).Abs() > RefreshGrace {
		return Tokens{}, true, s.endFamily(ctx, tx, r.family, from)
	}
	id, _, ends, a, err := openSignIn(ctx, tx, now, `s.id = $1`, r.family)
	if err != nil {
		return Tokens{}, false, err
	}
	out = Tokens{Principal: a.principal(id, from), RefreshExpires: refreshUntil(a.Role, now, ends)}
	if r.used == nil {
		out.Refresh, err = s.rotate(ctx, tx, r, secret, now, out.RefreshExpires)
		if err != nil {
			return Tokens{}, false, err
		}
		return out, false, see(ctx, tx, id, now, from)
	}
	// Within the grace. Once the next token was used, the client has had the answer, and
	// whoever asks again is confused or a thief: he gets nothing, and the client goes on.
	if r.nonce == nil {
		return Tokens{}, false, ErrToken
	}
	out.Refresh = secretText(nextRefresh(secret, r.nonce))
	return out, false, nil
}

// rotate makes the next token of a family.
func (s *SignIns) rotate(ctx context.Context, tx pgx.Tx, r refreshRow, secret []byte, now, expires time.Time) (string, error) {
	if !now.Before(r.expires) {
		return "", ErrToken
	}
	nonce, err := newSecret(s.cfg.Rand)
	if err != nil {
		return "", err
	}
	_, err = tx.Exec(ctx, `
		UPDATE refresh_token
		SET used_at = CASE WHEN hash = $1 THEN $3 ELSE used_at END, nonce = CASE WHEN hash = $1 THEN $4::bytea END
		WHERE hash IN ($1, $2)`, r.hash, r.previous, now, nonce)
	if err != nil {
		return "", fmt.Errorf("use refresh token: %w", err)
	}
	next := nextRefresh(secret, nonce)
	return secretText(next), insertRefresh(ctx, tx, r.family, hashSecret(next), r.hash, now, expires)
}

// endFamily ends the sign-in of which a used token was shown again.
func (s *SignIns) endFamily(ctx context.Context, tx pgx.Tx, family uuid.UUID, from Origin) error {
	tag, err := tx.Exec(ctx, `
		UPDATE sign_in
		SET ended_at = $2, end_reason = 'a used refresh token was shown again'
		WHERE id = $1 AND ended_at IS NULL`, family, s.cfg.Now())
	if err != nil {
		return fmt.Errorf("end sign-in: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return nil // it was over
	}
	by := central()
	by.Origin = from
	return s.audit.Write(ctx, tx, Entry{By: by, Action: "sign_in.reuse", SubjectKind: "sign_in", SubjectID: family.String()})
}

// SignOut ends the sign-in that a refresh token is of, used or not, for a program whose
// access token has expired. [ErrToken] says that there is none.
func (s *SignIns) SignOut(ctx context.Context, refresh string, from Origin) error {
	secret, err := parseSecret(refresh)
	if err != nil {
		return err
	}
	return s.inTx(ctx, func(tx pgx.Tx) error {
		var family, account uuid.UUID
		err := tx.QueryRow(ctx, `
			UPDATE sign_in
			SET ended_at = $2, end_reason = 'signed out'
			WHERE id = (SELECT sign_in_id FROM refresh_token WHERE hash = $1) AND ended_at IS NULL
			RETURNING id, account_id`, hashSecret(secret), s.cfg.Now()).Scan(&family, &account)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrToken
		}
		if err != nil {
			return fmt.Errorf("end sign-in: %w", err)
		}
		by := Principal{Kind: KindAccount, ID: account, SignIn: family, Origin: from}
		return s.audit.Write(ctx, tx, Entry{By: by, Action: "sign_in.end", SubjectKind: "sign_in", SubjectID: family.String()})
	})
}

// ByAccess is who an access token is of, or [ErrToken]. What it may do is what its
// account may do now, or did up to StateAgeMax ago.
func (s *SignIns) ByAccess(ctx context.Context, access string, from Origin) (Principal, error) {
	now := s.cfg.Now()
	account, signIn, err := parseAccess(access, now, func(id int64) (tokenKey, error) { return s.tokens.find(ctx, id) })
	if err != nil {
		return Principal{}, err
	}
	p, gen, ok := s.states.get(signIn, now)
	if !ok {
		_, _, _, a, err := openSignIn(ctx, s.cfg.Pool, now, `s.cookie_hash IS NULL AND s.id = $1`, signIn)
		if err != nil {
			return Principal{}, err
		}
		p = a.principal(signIn, Origin{})
		s.states.put(signIn, gen, p, now)
	}
	if p.ID != account {
		return Principal{}, ErrToken
	}
	p.Origin = from
	return p, nil
}
