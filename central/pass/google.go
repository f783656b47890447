package pass

import (
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// googleSave is where a signed pass is taken into Google Wallet.
const googleSave = "https://pay.google.com/gp/v/save/"

// GoogleConfig is what Google gives an operator who makes passes. All of it is required.
type GoogleConfig struct {
	// Issuer is the issuer's number.
	Issuer string
	// Account is the service account's e-mail address, Key its key.
	Account string
	Key     *rsa.PrivateKey
}

// Google makes links that take a ticket into Google Wallet. It is safe for concurrent use.
type Google struct{ cfg GoogleConfig }

// NewGoogle returns what makes links.
func NewGoogle(cfg GoogleConfig) (*Google, error) {
	if cfg.Account == "" || cfg.Key == nil {
		return nil, errors.New("google wallet: a service account and its key are required")
	}
	if cfg.Issuer == "" || strings.Trim(cfg.Issuer, "0123456789") != "" {
		return nil, fmt.Errorf("google wallet: the issuer is a number, and not %q", cfg.Issuer)
	}
	return &Google{cfg}, nil
}

// ReadGoogleKey reads the JSON file of a service account's key, as Google gives it.
func ReadGoogleKey(body []byte) (account string, key *rsa.PrivateKey, err error) {
	var file struct {
		Account string `json:"client_email"`
		Key     string `json:"private_key"`
	}
	if err := json.Unmarshal(body, &file); err != nil {
		return "", nil, fmt.Errorf("google wallet: the key of a service account is a JSON file: %w", err)
	}
	if file.Account == "" || file.Key == "" {
		return "", nil, errors.New("google wallet: the file has no client_email, or no private_key: it is not the key of a service account")
	}
	if key, err = jwt.ParseRSAPrivateKeyFromPEM([]byte(file.Key)); err != nil {
		return "", nil, fmt.Errorf("google wallet: the private_key of the service account: %w", err)
	}
	return file.Account, key, nil
}

// words is a text in a language, as Google has it.
type words struct {
	Default struct {
		Language string `json:"language"`
		Value    string `json:"value"`
	} `json:"defaultValue"`
}

func said(text string) *words {
	text = clean(text)
	if text == "" {
		return nil
	}
	w := &words{}
	w.Default.Language, w.Default.Value = "en", text
	return w
}

type googleVenue struct {
	Name    *words `json:"name"`
	Address *words `json:"address"`
}

type googleTimes struct {
	Start string `json:"start,omitempty"`
	End   string `json:"end,omitempty"`
}

// googleClass is an event (EventTicketClass of the Google Wallet API).
type googleClass struct {
	ID     string       `json:"id"`
	Issuer string       `json:"issuerName"`
	Review string       `json:"reviewStatus"`
	Name   *words       `json:"eventName"`
	Venue  *googleVenue `json:"venue,omitempty"`
	Times  *googleTimes `json:"dateTime,omitempty"`
}

// googleObject is a ticket (EventTicketObject).
type googleObject struct {
	ID      string            `json:"id"`
	Class   string            `json:"classId"`
	State   string            `json:"state"`
	Barcode map[string]string `json:"barcode"`
	Holder  string            `json:"ticketHolderName,omitempty"`
	Number  string            `json:"ticketNumber"`
	Type    *words            `json:"ticketType,omitempty"`
}

// googleClaims are signed.
type googleClaims struct {
	jwt.RegisteredClaims
	Audience string `json:"aud"` // one text, where the embedded one writes a list
	Type     string `json:"typ"`
	Payload  struct {
		Classes []googleClass  `json:"eventTicketClasses"`
		Objects []googleObject `json:"eventTicketObjects"`
	} `json:"payload"`
}

// Link is where a ticket is taken into Google Wallet, made at a time.
func (g *Google) Link(t *Ticket, at time.Time) (string, error) {
	if t.Code == "" {
		return "", ErrNoCode
	}
	class := googleClass{ID: fmt.Sprintf("%s.event-%d", g.cfg.Issuer, t.EventNo), Issuer: clean(t.Event), Review: "UNDER_REVIEW", Name: said(t.Event)}
	if t.Venue != "" { // Google wants both
		address := t.Address
		if address == "" {
			address = t.Venue
		}
		class.Venue = &googleVenue{said(t.Venue), said(address)}
	}
	if !t.StartsAt.IsZero() {
		class.Times = &googleTimes{Start: t.StartsAt.In(t.location()).Format(time.RFC3339)}
		if !t.EndsAt.IsZero() {
			class.Times.End = t.EndsAt.In(t.location()).Format(time.RFC3339)
		}
	}
	claims := googleClaims{Audience: "google", Type: "savetowallet", RegisteredClaims: jwt.RegisteredClaims{
		Issuer: g.cfg.Account, IssuedAt: jwt.NewNumericDate(at),
	}}
	claims.Payload.Classes = []googleClass{class}
	claims.Payload.Objects = []googleObject{{
		ID: fmt.Sprintf("%s.%s-%d", g.cfg.Issuer, t.ID, t.Issue), Class: class.ID, State: "ACTIVE",
		Barcode: map[string]string{"type": "QR_CODE", "value": t.Code}, Holder: clean(t.Holder), Number: t.ID.String(), Type: said(t.Type),
	}}
	token, err := jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(g.cfg.Key)
	if err != nil {
		return "", fmt.Errorf("sign google wallet link: %w", err)
	}
	return googleSave + token, nil
}
