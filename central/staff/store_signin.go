package staff

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/central/pg"
)

// How long sign-ins last. Staff can do harm, so theirs end with a rest that is longer
// than a night between two shifts; attendees come back weeks later for their ticket.
const (
	StaffIdleMax    = 36 * time.Hour
	StaffStayMax    = 7 * 24 * time.Hour
	AttendeeIdleMax = 60 * 24 * time.Hour
	AttendeeStayMax = 365 * 24 * time.Hour
	// SignInsMax is how many sign-ins of one account are open; the oldest is ended for
	// another one.
	SignInsMax = 500
	// SeenEvery is how often it is written that a sign-in is in use.
	SeenEvery = time.Minute
)

// stay is how long sign-ins of a role last without being used, and at all.
func stay(role Role) (idle, most time.Duration) {
	if role == Attendee {
		return AttendeeIdleMax, AttendeeStayMax
	}
	return StaffIdleMax, StaffStayMax
}

// SignIns are the ways in for people: a browser has a cookie, a program has tokens.
type SignIns struct{ *parts }

// Browser is a sign-in as its browser gets it.
type Browser struct {
	Principal Principal
	Cookie    string    // its value; good for nothing but this sign-in
	Expires   time.Time // at the latest
}

// Browser signs somebody in and gives a cookie. Errors are [ErrSignIn], a
// [*LockedError], [ErrFactorRequired] and [ErrBusy], the same whether there is such an
// account or not.
func (s *SignIns) Browser(ctx context.Context, c Credentials) (Browser, error) {
	a, err := s.enter(ctx, c, true)
	if err != nil {
		return Browser{}, err
	}
	secret, err := newSecret(s.cfg.Rand)
	if err != nil {
		return Browser{}, err
	}
	var out Browser
	err = pg.InTx(ctx, s.cfg.Pool, func(tx pgx.Tx) error {
		p, expires, err := s.begin(ctx, tx, a, c.From, hashSecret(secret))
		out = Browser{Principal: p, Cookie: secretText(secret), Expires: expires}
		return err
	})
	if err != nil {
		return Browser{}, fmt.Errorf("begin sign-in: %w", err)
	}
	return out, nil
}

// begin makes the sign-in of an account that was let in. Without a cookie it is for
// tokens. The account must still be what let it in: a password that was changed, or an
// account that was disabled, while this was under way has ended all sign-ins but this.
func (s *SignIns) begin(ctx context.Context, tx pgx.Tx, a Account, from Origin, cookie []byte) (Principal, time.Time, error) {
	now, err := oneAccount(ctx, tx, `a.id = $1 FOR SHARE OF a`, a.ID)
	if errors.Is(err, ErrNoAccount) || err == nil && (now.password != a.password || !now.DisabledAt.IsZero()) {
		return Principal{}, time.Time{}, ErrSignIn
	}
	if err != nil {
		return Principal{}, time.Time{}, err
	}
	id, err := s.newID()
	if err != nil {
		return Principal{}, time.Time{}, fmt.Errorf("sign-in id: %w", err)
	}
	at, origin := s.cfg.Now(), from.clean()
	_, most := stay(now.Role)
	expires := at.Add(most)
	_, err = tx.Exec(ctx, `
		INSERT INTO sign_in (id, account_id, cookie_hash, created_at, seen_at, expires_at, address, user_agent)
		VALUES ($1, $2, $3, $4, $4, $5, $6, $7)`,
		id, a.ID, cookie, at, expires, pg.OrNull(origin.Address), origin.UserAgent)
	if err != nil {
		return Principal{}, time.Time{}, err
	}
	if err := endOldest(ctx, tx, a.ID, at); err != nil {
		return Principal{}, time.Time{}, err
	}
	p := now.principal(id, origin)
	way := "browser"
	if cookie == nil {
		way = "program"
	}
	return p, expires, s.audit.Write(ctx, tx, Entry{
		By: p, Action: "sign_in.begin", SubjectKind: "sign_in", SubjectID: id.String(), After: map[string]string{"way": way},
	})
}

// endOldest ends what an account has open beyond SignInsMax.
func endOldest(ctx context.Context, tx pgx.Tx, account uuid.UUID, now time.Time) error {
	_, err := tx.Exec(ctx, `
		UPDATE sign_in
		SET ended_at = $2, end_reason = 'too many'
		WHERE id IN (
			SELECT id
			FROM sign_in
			WHERE account_id = $1 AND ended_at IS NULL AND expires_at > $2
			ORDER BY created_at DESC, id DESC
			OFFSET $3)`, account, now, SignInsMax)
	return err
}

// signInRow is a sign-in with its account.
type signInRow struct {
	id                     uuid.UUID
	created, seen, expires time.Time
	accountRow
}

// openSignIn reads the sign-in of a condition with its account; [ErrToken] when it is
// over, or the account is disabled.
func openSignIn(ctx context.Context, db queryer, now time.Time, condition string, arg any) (id uuid.UUID, seen, expires time.Time, a Account, err error) {
	var r signInRow
	err = db.QueryRow(ctx, `
		SELECT s.id, s.created_at, s.seen_at, s.expires_at, `+accountColumns+`
		FROM sign_in s
		JOIN account a ON a.id = s.account_id
		WHERE s.ended_at IS NULL AND a.disabled_at IS NULL AND `+condition, arg).
		Scan(append([]any{&r.id, &r.created, &r.seen, &r.expires}, r.fields()...)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, time.Time{}, time.Time{}, Account{}, ErrToken
	}
	if err != nil {
		return uuid.Nil, time.Time{}, time.Time{}, Account{}, fmt.Errorf("read sign-in: %w", err)
	}
	a = r.account()
	idle, most := stay(a.Role)
	expires = until(r.created, r.expires, most)
	if !now.Before(expires) || now.Sub(r.seen) >= idle {
		return uuid.Nil, time.Time{}, time.Time{}, Account{}, ErrToken
	}
	return r.id, r.seen, expires, a, nil
}

// until is when a sign-in is over. One that began with a lesser role was to last longer
// than the role that its account has now allows.
func until(created, expires time.Time, most time.Duration) time.Time {
	if ends := created.Add(most); ends.Before(expires) {
		return ends
	}
	return expires
}

// ByCookie is who a browser's cookie is of, or [ErrToken].
func (s *SignIns) ByCookie(ctx context.Context, cookie string, from Origin) (Principal, error) {
	secret, err := parseSecret(cookie)
	if err != nil {
		return Principal{}, err
	}
	now := s.cfg.Now()
	id, seen, _, a, err := openSignIn(ctx, s.cfg.Pool, now, `s.cookie_hash = $1`, hashSecret(secret))
	if err != nil {
		return Principal{}, err
	}
	if now.Sub(seen) >= SeenEvery {
		if err := see(ctx, s.cfg.Pool, id, now, from.clean()); err != nil {
			return Principal{}, err
		}
	}
	return a.principal(id, from), nil
}

// see writes that a sign-in is in use, and from where.
func see(ctx context.Context, db queryer, id uuid.UUID, now time.Time, from Origin) error {
	_, err := db.Exec(ctx, `
		UPDATE sign_in
		SET seen_at = $2, address = $3, user_agent = $4
		WHERE id = $1 AND seen_at < $2`, id, now, pg.OrNull(from.Address), from.UserAgent)
	if err != nil {
		return fmt.Errorf("write that a sign-in is in use: %w", err)
	}
	return nil
}

// SignIn is a sign-in as its owner sees it.
type SignIn struct {
	ID        uuid.UUID `json:"id"`
	Browser   bool      `json:"browser"` // has a cookie; else tokens
	CreatedAt time.Time `json:"created_at"`
	SeenAt    time.Time `json:"seen_at"`
	ExpiresAt time.Time `json:"expires_at"`
	Address   string    `json:"address,omitempty"`
	UserAgent string    `json:"user_agent,omitempty"`
}

// List returns the open sign-ins of the account that acts, the one used last first.
func (s *SignIns) List(ctx context.Context, by Principal) ([]SignIn, error) {
	if by.Kind != KindAccount || !by.May(Self, 0) {
		return nil, ErrForbidden
	}
	return s.list(ctx, by)
}

func (s *SignIns) list(ctx context.Context, by Principal) ([]SignIn, error) {
	now := s.cfg.Now()
	idle, most := stay(by.Role)
	rows, err := s.cfg.Pool.Query(ctx, `
		SELECT id, cookie_hash IS NOT NULL, created_at, seen_at, expires_at, address, user_agent
		FROM sign_in
		WHERE account_id = $1 AND ended_at IS NULL AND expires_at > $2 AND seen_at > $3 AND created_at > $4
		ORDER BY seen_at DESC, id DESC
		LIMIT $5`, by.ID, now, now.Add(-idle), now.Add(-most), SignInsMax)
	if err != nil {
		return nil, fmt.Errorf("list sign-ins: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (one SignIn, err error) {
		var address *netip.Addr
		err = row.Scan(&one.ID, &one.Browser, &one.CreatedAt, &one.SeenAt, &one.ExpiresAt, &address, &one.UserAgent)
		one.CreatedAt, one.SeenAt, one.ExpiresAt = one.CreatedAt.UTC(), one.SeenAt.UTC(), until(one.CreatedAt, one.ExpiresAt, most).UTC()
		if address != nil {
			one.Address = address.String()
		}
		return one, err
	})
	if err != nil {
		return nil, fmt.Errorf("list sign-ins: %w", err)
	}
	return list, nil
}

// End ends a sign-in of the account that acts; its own, by.SignIn, is signing out. One
// that is over, or of somebody else, is [ErrToken].
func (s *SignIns) End(ctx context.Context, by Principal, id uuid.UUID) error {
	if by.Kind != KindAccount || !by.May(Self, 0) {
		return ErrForbidden
	}
	reason := "ended by its owner"
	if id == by.SignIn {
		reason = "signed out"
	}
	return s.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			UPDATE sign_in
			SET ended_at = $3, end_reason = $4
			WHERE id = $1 AND account_id = $2 AND ended_at IS NULL`, id, by.ID, s.cfg.Now(), reason)
		if err != nil {
			return fmt.Errorf("end sign-in: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return ErrToken
		}
		return s.audit.Write(ctx, tx, Entry{By: by, Action: "sign_in.end", SubjectKind: "sign_in", SubjectID: id.String()})
	})
}

// EndOthers ends all sign-ins of the account that acts but the one that it acts in.
func (s *SignIns) EndOthers(ctx context.Context, by Principal) error {
	if by.Kind != KindAccount || !by.May(Self, 0) {
		return ErrForbidden
	}
	return s.inTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			UPDATE sign_in
			SET ended_at = $3, end_reason = 'ended by its owner'
			WHERE account_id = $1 AND id <> $2 AND ended_at IS NULL`, by.ID, by.SignIn, s.cfg.Now())
		if err != nil {
			return fmt.Errorf("end sign-ins: %w", err)
		}
		return s.audit.Write(ctx, tx, Entry{By: by, Action: "sign_in.end_others", SubjectKind: "account", SubjectID: by.ID.String()})
	})
}
