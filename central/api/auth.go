package api

import (
	"context"
	"time"

	"gatehouse/central/staff"
)

// authOps are the operations of signing in.
type authOps struct{ s *Server }

// Login implements StrictServerInterface.
func (o authOps) Login(ctx context.Context, r LoginRequestObject) (LoginResponseObject, error) {
	c := staff.Credentials{Email: r.Body.Email, Password: r.Body.Password, From: staff.FromContext(ctx).Origin}
	if r.Body.Code != nil {
		c.Code = *r.Body.Code
	}
	t, err := o.s.cfg.Staff.SignIns.Tokens(ctx, c)
	if err != nil {
		return nil, err
	}
	return Login200JSONResponse{Success: true, Message: "Signed in.", Data: tokensOf(t)}, nil
}

// Refresh implements StrictServerInterface.
func (o authOps) Refresh(ctx context.Context, r RefreshRequestObject) (RefreshResponseObject, error) {
	t, err := o.s.cfg.Staff.SignIns.Refresh(ctx, r.Body.RefreshToken, staff.FromContext(ctx).Origin)
	if err != nil {
		return nil, err
	}
	return Refresh200JSONResponse{Success: true, Message: "Here are new tokens.", Data: tokensOf(t)}, nil
}

// Logout implements StrictServerInterface.
func (o authOps) Logout(ctx context.Context, r LogoutRequestObject) (LogoutResponseObject, error) {
	if err := o.s.cfg.Staff.SignIns.SignOut(ctx, r.Body.RefreshToken, staff.FromContext(ctx).Origin); err != nil {
		return nil, err
	}
	return Logout200JSONResponse{Success: true, Message: "Signed out."}, nil
}

func tokensOf(t staff.Tokens) Tokens {
	return Tokens{
		AccessToken: t.Access, RefreshToken: t.Refresh, TokenType: Bearer,
		ExpiresIn: max(int(time.Until(t.AccessExpires).Seconds()), 0),
	}
}
