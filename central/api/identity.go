package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"gatehouse/central/notify"
	"gatehouse/central/staff"
)

// Mailer has letters sent. It returns when a letter cannot be lost any more, not when it
// has arrived.
type Mailer interface {
	// Verify sends the link by which somebody shows that mail reaches him.
	Verify(ctx context.Context, m staff.Mail) error
	// Reset sends the link by which somebody sets another password.
	Reset(ctx context.Context, m staff.Mail) error
}

// Letters keeps the letters that were sent.
type Letters interface {
	// List are those that a filter names, the newest first.
	List(ctx context.Context, f notify.Filter) ([]notify.Mail, error)
	// Erase forgets those to an address: of some kinds, or all.
	Erase(ctx context.Context, address string, kinds ...notify.Kind) error
}

// lettersTo are the letters to an account, none where it has not shown that the address is
// its own: they would be somebody else's.
func (o accountOps) lettersTo(ctx context.Context, a *staff.Account) ([]notify.Mail, error) {
	if o.s.cfg.Letters == nil || a.VerifiedAt.IsZero() {
		return nil, nil
	}
	return o.s.cfg.Letters.List(ctx, notify.Filter{To: a.Email})
}

// eraseLetters forgets the letters to an account: those about the account alone, where it
// has not shown that the address is its own.
func (o userOps) eraseLetters(ctx context.Context, a *staff.Account) error {
	switch {
	case o.s.cfg.Letters == nil:
		return nil
	case a.VerifiedAt.IsZero():
		return o.s.cfg.Letters.Erase(ctx, a.Email, notify.VerifyEmail, notify.ResetPassword)
	}
	return o.s.cfg.Letters.Erase(ctx, a.Email)
}

func letterOf(m *notify.Mail) Letter {
	return Letter{Kind: LetterKind(m.Kind), State: LetterState(m.State), QueuedAt: m.CreatedAt, EndedAt: orNil(m.EndedAt)}
}

// SessionCookie is the name of a browser's cookie.
const SessionCookie = "gatehouse_session"

// cookie is what a browser is told to keep; an empty value is to be forgotten. It goes
// with requests of central's own pages alone, and scripts do not see it.
func (o authOps) cookie(value string, until time.Time) *string {
	c := http.Cookie{Name: SessionCookie, Value: value, Path: "/", HttpOnly: true, Secure: o.s.cfg.Secure, SameSite: http.SameSiteStrictMode}
	if c.Expires = until; value == "" {
		c.MaxAge = -1
	}
	text := c.String()
	return &text
}

// mailer is who sends letters, or a refusal that is the same for everybody.
func (o authOps) mailer() (Mailer, error) {
	if o.s.cfg.Mail == nil {
		return nil, refuse(http.StatusServiceUnavailable, CodeBusy, "This central sends no e-mail. Ask the organiser to set another password.")
	}
	return o.s.cfg.Mail, nil
}

// SignIn implements StrictServerInterface.
func (o authOps) SignIn(ctx context.Context, r SignInRequestObject) (SignInResponseObject, error) {
	b, err := o.s.cfg.Staff.SignIns.Browser(ctx, staff.Credentials{
		Email: r.Body.Email, Password: r.Body.Password, Code: orElse(r.Body.Code, ""), From: staff.FromContext(ctx).Origin,
	})
	if err != nil {
		return nil, err
	}
	out := SignIn200JSONResponse{Headers: SignIn200ResponseHeaders{SetCookie: o.cookie(b.Cookie, b.Expires)}}
	out.Body.Success, out.Body.Message = true, "Signed in."
	out.Body.Data.Name, out.Body.Data.Email, out.Body.Data.Role = b.Principal.Name, b.Principal.Email, Role(b.Principal.Role)
	out.Body.Data.ExpiresAt = b.Expires
	return out, nil
}

// SignOut implements StrictServerInterface.
func (o authOps) SignOut(ctx context.Context, _ SignOutRequestObject) (SignOutResponseObject, error) {
	who := staff.FromContext(ctx)
	if err := o.s.cfg.Staff.SignIns.End(ctx, who, who.SignIn); err != nil {
		return nil, err
	}
	return SignOut200JSONResponse{
		Headers: SignOut200ResponseHeaders{SetCookie: o.cookie("", time.Time{})}, Body: Done{Success: true, Message: "Signed out."},
	}, nil
}

// forgotTakes is how long an answer about a forgotten password takes, so that the clock does
// not tell whether a letter was queued.
const forgotTakes = 300 * time.Millisecond

// ForgotPassword implements StrictServerInterface.
func (o authOps) ForgotPassword(ctx context.Context, r ForgotPasswordRequestObject) (ForgotPasswordResponseObject, error) {
	taken := time.NewTimer(forgotTakes)
	defer taken.Stop()
	mail, err := o.mailer()
	if err != nil {
		return nil, err
	}
	m, err := o.s.cfg.Staff.Mails.Reset(ctx, r.Body.Email)
	if err != nil {
		return nil, err
	}
	if m.Token != "" {
		if err := mail.Reset(ctx, m); err != nil {
			return nil, err
		}
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-taken.C:
	}
	return ForgotPassword200JSONResponse{Success: true, Message: "If there is such an account, a letter is on its way."}, nil
}

// linked says of a link that it is not good, as a part of the request.
func linked(err error) error {
	if errors.Is(err, staff.ErrToken) {
		return refuse(http.StatusUnprocessableEntity, CodeInvalid, "Some of it is not acceptable.").
			field("token", "is of no link, or of one that was used or has expired: ask for another one")
	}
	return err
}

// ResetPassword implements StrictServerInterface.
func (o authOps) ResetPassword(ctx context.Context, r ResetPasswordRequestObject) (ResetPasswordResponseObject, error) {
	if _, err := o.s.cfg.Staff.Mails.SetPassword(ctx, r.Body.Token, r.Body.Password, staff.FromContext(ctx).Origin); err != nil {
		return nil, linked(err)
	}
	return ResetPassword200JSONResponse{Success: true, Message: "The password is set. Sign in with it."}, nil
}

// RequestVerification implements StrictServerInterface.
func (o authOps) RequestVerification(ctx context.Context, _ RequestVerificationRequestObject) (RequestVerificationResponseObject, error) {
	if _, err := o.mailer(); err != nil {
		return nil, err
	}
	if err := o.mailVerification(ctx, staff.FromContext(ctx)); err != nil {
		return nil, err
	}
	return RequestVerification200JSONResponse{Success: true, Message: "If the address is not verified yet, a letter is on its way."}, nil
}

// mailVerification sends somebody the link that verifies his address, if letters are
// sent and he was not sent one a moment ago.
func (o authOps) mailVerification(ctx context.Context, who staff.Principal) error {
	if o.s.cfg.Mail == nil {
		return nil
	}
	m, err := o.s.cfg.Staff.Mails.Verification(ctx, who)
	if err != nil || m.Token == "" {
		return err
	}
	return o.s.cfg.Mail.Verify(ctx, m)
}

// VerifyEmail implements StrictServerInterface.
func (o authOps) VerifyEmail(ctx context.Context, r VerifyEmailRequestObject) (VerifyEmailResponseObject, error) {
	if _, err := o.s.cfg.Staff.Mails.Verify(ctx, r.Body.Token, staff.FromContext(ctx).Origin); err != nil {
		return nil, linked(err)
	}
	return VerifyEmail200JSONResponse{Success: true, Message: "The address is verified."}, nil
}
