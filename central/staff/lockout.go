package staff

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// The limits on wrong tries. One account takes a few before it has to rest, and
// forgets one an hour, or all when somebody signs in. Behind one network address
// there may be a whole venue, so it takes many and forgets one every few seconds:
// what is left of that is the rate at which one address can guess, at whatever
// accounts. A sign-in that succeeds takes nothing off an address, for else a guesser
// would sign in to an account of his own in between.
const (
	EmailTriesMax    = 5
	EmailForgets     = time.Hour
	AddressTriesMax  = 100
	AddressForgets   = 6 * time.Second
	LockMin          = 30 * time.Second // doubled with every wrong try after a rest
	LockMax          = 15 * time.Minute
	subjectTextBytes = 16
)

// LockedError means that there were too many wrong tries. It says nothing about the
// password that was given with this one.
type LockedError struct {
	// Retry is how long it takes until the next try is looked at.
	Retry time.Duration
}

// Error implements error.
func (e *LockedError) Error() string {
	return fmt.Sprintf("there were too many wrong tries; try again in %s", max(e.Retry.Round(time.Second), time.Second))
}

// failures are the wrong tries of one subject, as stored.
type failures struct {
	count int
	at    time.Time
	until time.Time // zero: not locked
}

// limit is how many wrong tries a kind of subject takes.
type limit struct {
	tries   int
	forgets time.Duration
}

func emailLimit() limit   { return limit{EmailTriesMax, EmailForgets} }
func addressLimit() limit { return limit{AddressTriesMax, AddressForgets} }

// locked is how long a subject still has to rest; 0 when it need not. A lock further
// away than any lock lasts, on whatever copy's clock, was made by one that has been set
// back since, and does not keep anybody out for days.
func (f failures) locked(now time.Time) time.Duration {
	left := f.until.Sub(now)
	if left <= 0 || left > LockMax+ClockSkewMax {
		return 0
	}
	return min(left, LockMax)
}

// fail is f after one more wrong try.
func (l limit) fail(f failures, now time.Time) failures {
	forgotten := max(0, int(min(now.Sub(f.at)/l.forgets, time.Duration(f.count))))
	next := failures{count: f.count - forgotten + 1, at: now}
	if over := next.count - l.tries; over >= 0 {
		next.until = now.Add(min(LockMin<<min(over, 10), LockMax))
	}
	return next
}

// emailSubject names an e-mail address among the failures. It is a hash, because
// people type addresses that have nothing to do with this central, and passwords.
func emailSubject(email string) string {
	sum := sha256.Sum256([]byte("sign-in failure\x00" + strings.ToLower(strings.TrimSpace(email))))
	return "email:" + hex.EncodeToString(sum[:subjectTextBytes])
}

// addressSubject names a network address; "" where it is not known. Somebody with
// IPv6 has a whole /64 to himself.
func addressSubject(address netip.Addr) string {
	address = address.Unmap().WithZone("")
	if !address.IsValid() {
		return ""
	}
	bits := 32
	if address.Is6() {
		bits = 64
	}
	prefix, err := address.Prefix(bits)
	if err != nil {
		return "" // no valid address has fewer bits
	}
	return "address:" + prefix.String()
}
