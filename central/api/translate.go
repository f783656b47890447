package api

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"gatehouse/central/agenda"
	"gatehouse/central/checkin"
	"gatehouse/central/payment"
	"gatehouse/central/programme"
	"gatehouse/central/registration"
	"gatehouse/central/staff"
	"gatehouse/central/ticket"
)

// translate says what an error of a feature means to the caller; nil for one that is
// not the caller's.
func translate(err error) *Refusal {
	for _, of := range []func(error) *Refusal{ofProgramme, ofStaff, ofRegistration, ofCheckin, ofReplay, ofLive} {
		if r := of(err); r != nil {
			return r
		}
	}
	return nil
}

func ofProgramme(err error) *Refusal {
	var (
		invalid  *programme.InvalidError
		stale    *programme.StaleError
		step     *programme.StepError
		inUse    *programme.InUseError
		conflict *programme.ConflictError
	)
	switch {
	case errors.As(err, &invalid):
		r := refuse(http.StatusUnprocessableEntity, CodeInvalid, "Some of it is not acceptable.")
		for _, p := range invalid.Problems {
			r.add(cmp.Or(fieldNames()[p.Field], p.Field), p.What)
		}
		return r
	case errors.As(err, &stale):
		r := refuse(http.StatusPreconditionFailed, CodeStale, "%s", sentence(stale.Error()))
		r.Header = http.Header{"Etag": {tag(stale.Current)}}
		return r
	case errors.As(err, &step):
		return refuse(http.StatusConflict, CodeIllegalStep, "%s", sentence(step.Error()))
	case errors.As(err, &inUse):
		return refuse(http.StatusConflict, CodeInUse, "%s", sentence(inUse.Error()))
	case errors.As(err, &conflict):
		return ofConflict(conflict)
	case errors.Is(err, programme.ErrNotFound):
		return refuse(http.StatusNotFound, CodeNotFound, "There is no such thing.")
	}
	return nil
}

// fieldNames are those of the document, by those of the programme, where they differ.
func fieldNames() map[string]string {
	return map[string]string{"starts_at": "start_time", "ends_at": "end_time", "stage": "stage_id"}
}

// ofConflict names each session that is in the way.
func ofConflict(e *programme.ConflictError) *Refusal {
	r := refuse(http.StatusConflict, CodeSessionConflict, "%s", sentence(e.Error()))
	for _, c := range e.Conflicts {
		name := fmt.Sprintf("sessions.%d", c.With.ID)
		if _, had := r.Fields[name]; had || len(r.Fields) == fieldsMax {
			continue
		}
		r.add(name, fmt.Sprintf("%q has %s %q from %s to %s", c.With.Title, c.On, c.Name, c.With.StartsAt.Format(time.RFC3339), c.With.EndsAt.Format(time.RFC3339)))
	}
	return r
}

func ofStaff(err error) *Refusal {
	var input *staff.InputError
	var locked *staff.LockedError
	switch {
	case errors.As(err, &input):
		return refuse(http.StatusUnprocessableEntity, CodeInvalid, "Some of it is not acceptable.").field(input.Field, input.Message)
	case errors.As(err, &locked):
		r := refuse(http.StatusTooManyRequests, CodeLocked, "%s", sentence(locked.Error()))
		r.Header = retryAfter(int(locked.Retry.Seconds()) + 1)
		return r
	case errors.Is(err, staff.ErrFactorRequired):
		return refuse(http.StatusUnauthorized, CodeFactorRequired, "%s", sentence(staff.ErrFactorRequired.Error()))
	case errors.Is(err, staff.ErrSignIn):
		return refuse(http.StatusUnauthorized, CodeCredentials, "%s", sentence(staff.ErrSignIn.Error()))
	case errors.Is(err, staff.ErrToken):
		return refuse(http.StatusUnauthorized, CodeUnauthenticated, "The token is not valid, or not any more. Sign in again.")
	case errors.Is(err, staff.ErrForbidden):
		return refuse(http.StatusForbidden, CodeForbidden, "You may not do that.")
	case errors.Is(err, staff.ErrChanged):
		return refuse(http.StatusPreconditionFailed, CodeStale, "%s", sentence(staff.ErrChanged.Error()))
	case errors.Is(err, staff.ErrNoEvent):
		return refuse(http.StatusUnprocessableEntity, CodeInvalid, "Some of it is not acceptable.").field("events", "there is no such event")
	case errors.Is(err, staff.ErrNoAccount):
		return refuse(http.StatusNotFound, CodeNotFound, "There is no such account.")
	case errors.Is(err, staff.ErrEmailTaken), errors.Is(err, staff.ErrLastAdmin), errors.Is(err, staff.ErrTooMany), errors.Is(err, staff.ErrFactorExists):
		return refuse(http.StatusConflict, CodeConflict, "%s", sentence(root(err).Error()))
	case errors.Is(err, staff.ErrBusy):
		r := refuse(http.StatusServiceUnavailable, CodeBusy, "%s", sentence(staff.ErrBusy.Error()))
		r.Header = retryAfter(1)
		return r
	}
	return nil
}

func ofRegistration(err error) *Refusal {
	var input *registration.InvalidError
	var stale *registration.StaleError
	unacceptable := func(field, what string) *Refusal {
		return refuse(http.StatusUnprocessableEntity, CodeInvalid, "Some of it is not acceptable.").field(field, what)
	}
	switch {
	case errors.As(err, &input):
		return unacceptable(input.Field, input.Message)
	case errors.As(err, &stale):
		r := refuse(http.StatusPreconditionFailed, CodeStale, "%s", sentence(stale.Error()))
		r.Header = http.Header{"Etag": {tag(stale.Current)}}
		return r
	case errors.Is(err, registration.ErrSoldOut):
		return refuse(http.StatusConflict, CodeSoldOut, "There are not as many tickets left.")
	case errors.Is(err, registration.ErrNoType):
		return unacceptable("ticket_type", "the event has no such ticket type")
	case errors.Is(err, registration.ErrPromo):
		return unacceptable("promo_code", registration.ErrPromo.Error())
	case errors.Is(err, registration.ErrProvider):
		return unacceptable("provider", registration.ErrProvider.Error())
	case errors.Is(err, registration.ErrClosed), errors.Is(err, registration.ErrNotSold):
		return refuse(http.StatusConflict, CodeNotOnSale, "%s", sentence(root(err).Error()))
	case errors.Is(err, registration.ErrCosts):
		return refuse(http.StatusPaymentRequired, CodePaymentRequired, "A ticket of this type has to be paid for: make an order.")
	case errors.Is(err, agenda.ErrNoLink), errors.Is(err, agenda.ErrNoSession):
		return refuse(http.StatusNotFound, CodeNotFound, "%s", sentence(root(err).Error()))
	case errors.Is(err, agenda.ErrFull):
		return refuse(http.StatusConflict, CodeConflict, "%s", sentence(agenda.ErrFull.Error()))
	case errors.Is(err, registration.ErrNoOrder), errors.Is(err, registration.ErrNotFound), errors.Is(err, ticket.ErrNoTicket),
		errors.Is(err, payment.ErrNoMessages):
		return refuse(http.StatusNotFound, CodeNotFound, "There is no such thing.")
	case errors.Is(err, registration.ErrState), errors.Is(err, registration.ErrNotFull), errors.Is(err, registration.ErrTaken),
		errors.Is(err, ticket.ErrStatus):
		return refuse(http.StatusConflict, CodeConflict, "%s", sentence(root(err).Error()))
	case errors.Is(err, registration.ErrInUse):
		return refuse(http.StatusConflict, CodeInUse, "%s", sentence(registration.ErrInUse.Error()))
	case errors.Is(err, payment.ErrForged):
		return refuse(http.StatusBadRequest, CodeBadRequest, "%s", sentence(payment.ErrForged.Error()))
	case errors.Is(err, registration.ErrAway):
		r := refuse(http.StatusServiceUnavailable, CodeBusy, "%s", sentence(registration.ErrAway.Error()))
		r.Header = retryAfter(awaySeconds)
		return r
	}
	return nil
}

// awaySeconds is when to try again to pay with a provider that did not answer.
const awaySeconds = 10

func ofCheckin(err error) *Refusal {
	switch {
	case errors.Is(err, checkin.ErrKeyReused):
		return refuse(http.StatusUnprocessableEntity, CodeKeyReused, "%s", sentence(checkin.ErrKeyReused.Error()))
	case errors.Is(err, checkin.ErrBadRequest), errors.Is(err, checkin.ErrTooMany):
		return refuse(http.StatusUnprocessableEntity, CodeInvalid, "%s", sentence(err.Error()))
	}
	return nil
}

// root is the innermost error, which is the one with the sentence.
func root(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// sentence makes an error's text a sentence.
func sentence(text string) string {
	if text == "" {
		return text
	}
	text = strings.ToUpper(text[:1]) + text[1:]
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return text
}

// tag is a revision as an entity tag (RFC 9110, 8.8.3).
func tag(rev int64) string { return fmt.Sprintf("%q", fmt.Sprint(rev)) }
