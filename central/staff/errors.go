package staff

import (
	"errors"
	"fmt"
)

// Errors that callers tell apart.
var (
	// ErrNoAccount means that no account is meant.
	ErrNoAccount = errors.New("there is no such account; `central user list` lists them")
	// ErrEmailTaken means that another account has the e-mail address.
	ErrEmailTaken = errors.New("another account has this e-mail address")
	// ErrNoEvent means that a role was to be given for an event that is not there.
	ErrNoEvent = errors.New("there is no such event; `central event create` prints the number of the one it makes")
	// ErrForbidden means that the principal may not do that.
	ErrForbidden = errors.New("you may not do that")
	// ErrChanged means that somebody else changed it since it was read.
	ErrChanged = errors.New("somebody else has changed it meanwhile; look at it again")
	// ErrLastAdmin means that nobody would be left to give out roles.
	ErrLastAdmin = errors.New("this is the last admin who can sign in; make another one first")
	// ErrSignIn means that e-mail address, password or code are wrong, or the account
	// is disabled. It never says which.
	ErrSignIn = errors.New("e-mail address or password is wrong")
	// ErrFactorRequired means that the password is right and a code is missing.
	ErrFactorRequired = errors.New("the code of your authenticator app is needed as well")
	// ErrToken means that a cookie, token, link or API key is not, or no longer, good.
	ErrToken = errors.New("this is not valid, or not any more")
	// ErrBusy means that too many passwords are waiting to be checked.
	ErrBusy = errors.New("too many people are signing in at this moment; try again in a moment")
	// ErrTooMany means that a limit on how many there may be is reached.
	ErrTooMany = errors.New("there are as many as there may be")
	// ErrFactorExists means that a second factor is in use already.
	ErrFactorExists = errors.New("an authenticator app is in use already; an admin can take it off")
)

// InputError is an input that is not acceptable. Message is a sentence for whoever
// typed it.
type InputError struct{ Field, Message string }

// Error implements error.
func (e *InputError) Error() string { return e.Field + ": " + e.Message }

func badInput(field, format string, args ...any) error {
	return &InputError{field, fmt.Sprintf(format, args...)}
}
