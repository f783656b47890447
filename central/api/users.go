package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"

	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

// userOps are the operations on accounts, API keys and the audit log.
type userOps struct{ s *Server }

// ListUsers implements StrictServerInterface.
func (o userOps) ListUsers(ctx context.Context, r ListUsersRequestObject) (ListUsersResponseObject, error) {
	after, err := open[uuid.UUID](r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	limit := orElse(r.Params.Limit, pageDefault)
	all, err := o.s.cfg.Staff.Accounts.List(ctx, staff.AccountFilter{
		Role: staff.Role(orElse(r.Params.Role, "")), Text: orElse(r.Params.Q, ""), After: orElse(after, uuid.Nil), Max: limit + 1,
	})
	if err != nil {
		return nil, err
	}
	all, next := paged(all, limit, func(last *staff.Account) any { return last.ID })
	return ListUsers200JSONResponse{Success: true, Message: "Here are the accounts.", Data: each(all, accountOf), Next: next}, nil
}

// CreateUser implements StrictServerInterface.
func (o userOps) CreateUser(ctx context.Context, r CreateUserRequestObject) (CreateUserResponseObject, error) {
	in := staff.NewAccount{
		Email: r.Body.Email, Name: orElse(r.Body.Name, ""), Role: staff.Role(r.Body.Role), Events: eventsOf(r.Body.Events), Password: orElse(r.Body.Password, ""),
	}
	made := ""
	if in.Password == "" {
		var err error
		if made, err = staff.GeneratePassword(o.s.cfg.Random); err != nil {
			return nil, err
		}
		in.Password = made
	}
	a, err := o.s.cfg.Staff.Accounts.Create(ctx, staff.FromContext(ctx), in)
	if err != nil {
		return nil, err
	}
	out := CreateUser201JSONResponse{Success: true, Message: "The account is made."}
	out.Data.Account, out.Data.Password = accountOf(&a), orNil(made)
	return out, nil
}

// GetUser implements StrictServerInterface.
func (o userOps) GetUser(ctx context.Context, r GetUserRequestObject) (GetUserResponseObject, error) {
	a, err := o.s.cfg.Staff.Accounts.Get(ctx, r.UserId)
	if err != nil {
		return nil, err
	}
	return GetUser200JSONResponse{Headers: GetUser200ResponseHeaders{ETag: new(tag(a.Rev))}, Body: accountAnswer(&a, "Here is the account.")}, nil
}

// erase removes what tells who an account is: of its orders and tickets first, so that
// one that fails half-way can be asked for again.
func (o userOps) erase(ctx context.Context, by staff.Principal, id uuid.UUID) error {
	a, err := o.s.cfg.Staff.Accounts.Get(ctx, id)
	if err != nil {
		return err
	}
	if err := o.s.cfg.Registration.Holders.Erase(ctx, id); err != nil {
		return err
	}
	if err := o.s.cfg.Agenda.Erase(ctx, id); err != nil {
		return err
	}
	if err := o.eraseLetters(ctx, &a); err != nil {
		return err
	}
	return o.s.cfg.Staff.Accounts.Erase(ctx, by, id)
}

// EraseUser implements StrictServerInterface.
func (o userOps) EraseUser(ctx context.Context, r EraseUserRequestObject) (EraseUserResponseObject, error) {
	if err := o.erase(ctx, staff.FromContext(ctx), r.UserId); err != nil {
		return nil, err
	}
	return EraseUser200JSONResponse{Success: true, Message: "The account is erased."}, nil
}

// SetUserRole implements StrictServerInterface.
func (o userOps) SetUserRole(ctx context.Context, r SetUserRoleRequestObject) (SetUserRoleResponseObject, error) {
	a, err := o.s.cfg.Staff.Accounts.SetRole(ctx, staff.FromContext(ctx), r.UserId, staff.Role(r.Body.Role), eventsOf(r.Body.Events))
	if err != nil {
		return nil, err
	}
	return SetUserRole200JSONResponse(accountAnswer(&a, "The account has this role now.")), nil
}

// DisableUser implements StrictServerInterface.
func (o userOps) DisableUser(ctx context.Context, r DisableUserRequestObject) (DisableUserResponseObject, error) {
	a, err := o.s.cfg.Staff.Accounts.Disable(ctx, staff.FromContext(ctx), r.UserId)
	if err != nil {
		return nil, err
	}
	return DisableUser200JSONResponse(accountAnswer(&a, "The account is disabled.")), nil
}

// EnableUser implements StrictServerInterface.
func (o userOps) EnableUser(ctx context.Context, r EnableUserRequestObject) (EnableUserResponseObject, error) {
	a, err := o.s.cfg.Staff.Accounts.Enable(ctx, staff.FromContext(ctx), r.UserId)
	if err != nil {
		return nil, err
	}
	return EnableUser200JSONResponse(accountAnswer(&a, "The account is enabled.")), nil
}

// RemoveFactor implements StrictServerInterface.
func (o userOps) RemoveFactor(ctx context.Context, r RemoveFactorRequestObject) (RemoveFactorResponseObject, error) {
	if err := o.s.cfg.Staff.Factors.Remove(ctx, staff.FromContext(ctx), r.UserId); err != nil {
		return nil, err
	}
	return RemoveFactor200JSONResponse{Success: true, Message: "The authenticator app is taken off."}, nil
}

func apiKeyOf(k *staff.APIKey) APIKey {
	return APIKey{
		Id: k.ID, Name: k.Name, Role: Role(k.Role), EventId: orNil(int32(k.Event)), CreatedBy: orNil(k.CreatedBy), CreatedAt: k.CreatedAt,
		ExpiresAt: k.ExpiresAt, LastUsedAt: timeOrNil(k.LastUsedAt), RevokedAt: timeOrNil(k.RevokedAt),
	}
}

// ListAPIKeys implements StrictServerInterface.
func (o userOps) ListAPIKeys(ctx context.Context, _ ListAPIKeysRequestObject) (ListAPIKeysResponseObject, error) {
	all, err := o.s.cfg.Staff.APIKeys.List(ctx, staff.FromContext(ctx))
	if err != nil {
		return nil, err
	}
	return ListAPIKeys200JSONResponse{Success: true, Message: "Here are the API keys.", Data: each(all, apiKeyOf)}, nil
}

// CreateAPIKey implements StrictServerInterface.
func (o userOps) CreateAPIKey(ctx context.Context, r CreateAPIKeyRequestObject) (CreateAPIKeyResponseObject, error) {
	k, text, err := o.s.cfg.Staff.APIKeys.Issue(ctx, staff.FromContext(ctx), staff.NewAPIKey{
		Name: r.Body.Name, Role: staff.Role(r.Body.Role), Event: syncproto.EventNo(orElse(r.Body.EventId, 0)),
		TTL: time.Duration(orElse(r.Body.Days, 0)) * 24 * time.Hour,
	})
	if err != nil {
		return nil, err
	}
	out := CreateAPIKey201JSONResponse{Success: true, Message: "Keep the key: it is shown this once."}
	out.Data.ApiKey, out.Data.Text = apiKeyOf(&k), text
	return out, nil
}

// RevokeAPIKey implements StrictServerInterface.
func (o userOps) RevokeAPIKey(ctx context.Context, r RevokeAPIKeyRequestObject) (RevokeAPIKeyResponseObject, error) {
	err := o.s.cfg.Staff.APIKeys.Revoke(ctx, staff.FromContext(ctx), r.KeyId)
	if errors.Is(err, staff.ErrToken) {
		return nil, refuse(http.StatusNotFound, CodeNotFound, "There is no such key, or not any more.")
	}
	if err != nil {
		return nil, err
	}
	return RevokeAPIKey200JSONResponse{Success: true, Message: "The key works no longer."}, nil
}

// SearchAudit implements StrictServerInterface.
func (o userOps) SearchAudit(ctx context.Context, r SearchAuditRequestObject) (SearchAuditResponseObject, error) {
	p := r.Params
	before, err := open[int64](p.Cursor)
	if err != nil {
		return nil, err
	}
	if p.SubjectId != nil && p.SubjectKind == nil {
		return nil, refuse(422, CodeInvalid, "Some of it is not acceptable.").field("subject_kind", "is needed with subject_id")
	}
	limit := min(orElse(p.Limit, pageDefault), staff.AuditPageMax-1)
	f := staff.Filter{
		Actor: orElse(p.Actor, uuid.Nil), Action: orElse(p.Action, ""), SubjectKind: orElse(p.SubjectKind, ""), SubjectID: orElse(p.SubjectId, ""),
		From: orElse(p.From, time.Time{}), Until: orElse(p.Until, time.Time{}), Before: orElse(before, 0), Max: limit + 1,
	}
	if p.Event != nil {
		f.Events = []syncproto.EventNo{syncproto.EventNo(*p.Event)}
	}
	all, err := o.s.cfg.Staff.Audit.Search(ctx, staff.FromContext(ctx), f)
	if err != nil {
		return nil, err
	}
	all, next := paged(all, limit, func(last *staff.Record) any { return last.ID })
	return SearchAudit200JSONResponse{Success: true, Message: "Here is the log.", Data: each(all, recordOf), Next: next}, nil
}
