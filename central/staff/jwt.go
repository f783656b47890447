package staff

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// Access tokens. Issuer, audience and method are fixed, and there is no token without
// an expiry.
const (
	// AccessTTL is how long an access token is good for.
	AccessTTL = 10 * time.Minute
	// ClockSkewMax is by how much the clocks of two copies of central may differ. A
	// token from further ahead was made before a clock was set back, and is refused
	// instead of being good for that much longer.
	ClockSkewMax   = 30 * time.Second
	accessIssuer   = "gatehouse-central"
	accessAudience = "gatehouse-api"
	accessBytesMax = 1024
)

// claims are what an access token says: whose it is and which sign-in it came of. What
// the account may do is not in it, so that a token never knows better than central.
type claims struct {
	SignIn uuid.UUID `json:"sid"`
	jwt.RegisteredClaims
}

// tokenKey signs access tokens.
type tokenKey struct {
	id     int64
	secret []byte
}

// sign makes an access token.
func (k tokenKey) sign(account, signIn uuid.UUID, now time.Time) (text string, expires time.Time, err error) {
	expires = now.Add(AccessTTL).Truncate(time.Second)
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{signIn, jwt.RegisteredClaims{
		Issuer: accessIssuer, Subject: account.String(), Audience: jwt.ClaimStrings{accessAudience},
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(expires),
	}})
	token.Header["kid"] = strconv.FormatInt(k.id, 10)
	text, err = token.SignedString(k.secret)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign access token: %w", err)
	}
	return text, expires, nil
}

// parseAccess reads an access token; [ErrToken] for one that is not good now. find
// returns the key of an id, and an error of it that is not ErrToken is returned.
func parseAccess(text string, now time.Time, find func(id int64) (tokenKey, error)) (account, signIn uuid.UUID, err error) {
	// Line breaks: decoders of base64 pass over them, and a token has one text.
	if len(text) > accessBytesMax || strings.ContainsAny(text, "\r\n") {
		return uuid.Nil, uuid.Nil, ErrToken
	}
	var trouble error // of finding the key, and not of the token
	var c claims
	_, err = jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithIssuer(accessIssuer), jwt.WithAudience(accessAudience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(ClockSkewMax), jwt.WithStrictDecoding(),
		jwt.WithTimeFunc(func() time.Time { return now }),
	).ParseWithClaims(text, &c, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		id, err := strconv.ParseInt(kid, 10, 32)
		if err != nil {
			return nil, ErrToken
		}
		key, err := find(id)
		if err != nil {
			trouble = err
		}
		return key.secret, err
	})
	if trouble != nil {
		return uuid.Nil, uuid.Nil, trouble
	}
	if err != nil || c.IssuedAt == nil || c.ExpiresAt.Sub(c.IssuedAt.Time) > AccessTTL {
		return uuid.Nil, uuid.Nil, ErrToken
	}
	account, err = uuid.Parse(c.Subject)
	if err != nil || c.SignIn == uuid.Nil {
		return uuid.Nil, uuid.Nil, ErrToken
	}
	return account, c.SignIn, nil
}
