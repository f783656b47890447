package staff

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
)

// The second factor is that of RFC 6238 in the form that every authenticator app
// takes: SHA-1, six digits, steps of 30 seconds.
const (
	totpStep   = 30 * time.Second
	totpDigits = 6
	totpSecret = 20 // bytes
	// DriftMax is by how many steps the clock of a phone may be off, either way.
	DriftMax = 1
	// RecoveryCodes is how many codes there are for when the app is lost.
	RecoveryCodes  = 10
	recoveryGroups = 4 // 80 bits
)

// totpCode is the code of a secret in one step.
func totpCode(secret []byte, step int64) (string, error) {
	code, err := hotp.GenerateCodeCustom(base32.StdEncoding.EncodeToString(secret), uint64(step),
		hotp.ValidateOpts{Digits: totpDigits, Algorithm: otp.AlgorithmSHA1})
	if err != nil {
		return "", fmt.Errorf("make code: %w", err)
	}
	return code, nil
}

// matchCode finds the step of which a code is, newer than last and at most DriftMax
// from now; 0 when there is none. All steps are tried whatever matches.
func matchCode(secret []byte, code string, last int64, now time.Time) (step int64, err error) {
	at := now.Unix() / int64(totpStep/time.Second)
	for s := at - DriftMax; s <= at+DriftMax; s++ {
		want, err := totpCode(secret, s)
		if err != nil {
			return 0, err
		}
		if hmac.Equal([]byte(want), []byte(code)) && s > last && step == 0 {
			step = s
		}
	}
	return step, nil
}

// totpURI is what an app reads from a QR code (the Key URI format of Google
// Authenticator). The issuer stands in both places, as the format asks.
func totpURI(issuer, account string, secret []byte) string {
	query := url.Values{
		"secret": {totpText(secret)}, "issuer": {issuer}, "algorithm": {"SHA1"},
		"digits": {fmt.Sprint(totpDigits)}, "period": {fmt.Sprint(int(totpStep / time.Second))},
	}
	// A plus would be read as one, not as a space.
	return "otpauth://totp/" + url.PathEscape(issuer) + ":" + url.PathEscape(account) + "?" + strings.ReplaceAll(query.Encode(), "+", "%20")
}

// totpText is a secret as it is typed into an app.
func totpText(secret []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
}

// cleanCode is a code as people type it, without spaces and hyphens.
func cleanCode(code string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "-", "").Replace(code))
}

// newRecoveryCodes makes codes and what is stored of them.
func newRecoveryCodes(random io.Reader) (codes []string, hashes [][]byte, err error) {
	for range RecoveryCodes {
		code, err := speakable(random, recoveryGroups)
		if err != nil {
			return nil, nil, err
		}
		codes, hashes = append(codes, code), append(hashes, hashRecovery(code))
	}
	return codes, hashes, nil
}

// hashRecovery is a recovery code as it is stored.
func hashRecovery(code string) []byte {
	sum := sha256.Sum256([]byte("recovery code\x00" + cleanCode(code)))
	return sum[:]
}
