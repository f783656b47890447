package api

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/google/uuid"

	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

// accountOps are the operations on one's own account.
type accountOps struct{ s *Server }

func accountOf(a *staff.Account) Account {
	return Account{
		Id: a.ID, Email: a.Email, Name: a.Name, Role: Role(a.Role), Events: numbersOf(a.Events), EmailVerified: !a.VerifiedAt.IsZero(),
		SecondFactor: a.SecondFactor, Disabled: !a.DisabledAt.IsZero(), CreatedAt: a.CreatedAt, Rev: a.Rev,
	}
}

func numbersOf(events []syncproto.EventNo) []ID {
	out := make([]ID, len(events))
	for i, e := range events {
		out[i] = ID(e)
	}
	return out
}

func eventsOf(ids *[]ID) []syncproto.EventNo {
	var out []syncproto.EventNo
	for _, id := range orElse(ids, nil) {
		out = append(out, syncproto.EventNo(id))
	}
	return out
}

func accountAnswer(a *staff.Account, message string) AccountAnswer {
	return AccountAnswer{Success: true, Message: message, Data: accountOf(a)}
}

// ChangePassword implements StrictServerInterface.
func (o accountOps) ChangePassword(ctx context.Context, r ChangePasswordRequestObject) (ChangePasswordResponseObject, error) {
	if err := o.s.cfg.Staff.Own.ChangePassword(ctx, staff.FromContext(ctx), r.Body.Current, r.Body.Password); err != nil {
		return nil, err
	}
	return ChangePassword200JSONResponse{Success: true, Message: "The password is changed. Sign in with it."}, nil
}

// ChangeEmail implements StrictServerInterface.
func (o accountOps) ChangeEmail(ctx context.Context, r ChangeEmailRequestObject) (ChangeEmailResponseObject, error) {
	who := staff.FromContext(ctx)
	a, err := o.s.cfg.Staff.Own.ChangeEmail(ctx, who, r.Body.Password, r.Body.Email)
	if err != nil {
		return nil, err
	}
	if err := authOps(o).mailVerification(ctx, who); err != nil {
		o.s.cfg.Logger.Warn("the letter that verifies a new address was not sent", "account", who.ID, "error", err)
	}
	return ChangeEmail200JSONResponse(accountAnswer(&a, "The address is changed, and not verified yet.")), nil
}

func signInOf(current uuid.UUID) func(*staff.SignIn) SignIn {
	return func(s *staff.SignIn) SignIn {
		return SignIn{
			Id: s.ID, Browser: s.Browser, Current: s.ID == current, CreatedAt: s.CreatedAt, SeenAt: s.SeenAt, ExpiresAt: s.ExpiresAt,
			Address: orNil(s.Address), UserAgent: orNil(s.UserAgent),
		}
	}
}

// ListSignIns implements StrictServerInterface.
func (o accountOps) ListSignIns(ctx context.Context, _ ListSignInsRequestObject) (ListSignInsResponseObject, error) {
	who := staff.FromContext(ctx)
	all, err := o.s.cfg.Staff.SignIns.List(ctx, who)
	if err != nil {
		return nil, err
	}
	return ListSignIns200JSONResponse{Success: true, Message: "You are signed in here.", Data: each(all, signInOf(who.SignIn))}, nil
}

// EndSignIn implements StrictServerInterface.
func (o accountOps) EndSignIn(ctx context.Context, r EndSignInRequestObject) (EndSignInResponseObject, error) {
	err := o.s.cfg.Staff.SignIns.End(ctx, staff.FromContext(ctx), r.SignInId)
	if errors.Is(err, staff.ErrToken) {
		return nil, refuse(404, CodeNotFound, "There is no such sign-in, or not any more.")
	}
	if err != nil {
		return nil, err
	}
	return EndSignIn200JSONResponse{Success: true, Message: "The sign-in is ended."}, nil
}

// EndOtherSignIns implements StrictServerInterface.
func (o accountOps) EndOtherSignIns(ctx context.Context, _ EndOtherSignInsRequestObject) (EndOtherSignInsResponseObject, error) {
	if err := o.s.cfg.Staff.SignIns.EndOthers(ctx, staff.FromContext(ctx)); err != nil {
		return nil, err
	}
	return EndOtherSignIns200JSONResponse{Success: true, Message: "All other sign-ins are ended."}, nil
}

// EnrolFactor implements StrictServerInterface.
func (o accountOps) EnrolFactor(ctx context.Context, _ EnrolFactorRequestObject) (EnrolFactorResponseObject, error) {
	e, err := o.s.cfg.Staff.Factors.Enrol(ctx, staff.FromContext(ctx))
	if err != nil {
		return nil, err
	}
	out := EnrolFactor200JSONResponse{Success: true, Message: "Add this to your authenticator app, and confirm it with a code."}
	out.Data.Secret, out.Data.Uri = e.Secret, e.URI
	return out, nil
}

// ConfirmFactor implements StrictServerInterface.
func (o accountOps) ConfirmFactor(ctx context.Context, r ConfirmFactorRequestObject) (ConfirmFactorResponseObject, error) {
	codes, err := o.s.cfg.Staff.Factors.Confirm(ctx, staff.FromContext(ctx), r.Body.Code)
	if errors.Is(err, staff.ErrSignIn) {
		return nil, refuse(422, CodeInvalid, "Some of it is not acceptable.").field("code", "is not the app's at this moment: look at the clock of both")
	}
	if err != nil {
		return nil, err
	}
	out := ConfirmFactor200JSONResponse{Success: true, Message: "The app is in use. Keep these codes: each lets you in once without it."}
	out.Data.RecoveryCodes = codes
	return out, nil
}

// ExportAccount implements StrictServerInterface.
func (o accountOps) ExportAccount(ctx context.Context, _ ExportAccountRequestObject) (ExportAccountResponseObject, error) {
	who := staff.FromContext(ctx)
	e, err := o.s.cfg.Staff.Own.Export(ctx, who)
	if err != nil {
		return nil, err
	}
	orders, err := o.s.cfg.Registration.Orders.Of(ctx, who.ID)
	if err != nil {
		return nil, err
	}
	chosen, err := agendaOps(o).sessions(ctx, who.ID)
	if err != nil {
		return nil, err
	}
	letters, err := o.lettersTo(ctx, &e.Account)
	if err != nil {
		return nil, err
	}
	out := ExportAccount200JSONResponse{Success: true, Message: "This is what is kept of you."}
	out.Data.Account, out.Data.SignIns, out.Data.ApiKeys = accountOf(&e.Account), each(e.SignIns, signInOf(who.SignIn)), each(e.APIKeys, apiKeyOf)
	out.Data.Actions, out.Data.Orders = each(e.Actions, recordOf), each(orders, orderOps(o).show)
	out.Data.Programme, out.Data.Letters = each(chosen, sessionOf), each(letters, letterOf)
	return out, nil
}

// EraseAccount implements StrictServerInterface.
func (o accountOps) EraseAccount(ctx context.Context, r EraseAccountRequestObject) (EraseAccountResponseObject, error) {
	who := staff.FromContext(ctx)
	if err := o.s.cfg.Staff.Own.Prove(ctx, who, r.Body.Password); err != nil {
		return nil, err
	}
	if err := userOps(o).erase(ctx, who, who.ID); err != nil {
		return nil, err
	}
	return EraseAccount200JSONResponse{Success: true, Message: "You are erased."}, nil
}

func recordOf(r *staff.Record) AuditRecord {
	out := AuditRecord{
		Id: r.ID, At: r.At, ActorKind: AuditRecordActorKind(r.ActorKind), ActorId: orNil(r.ActorID), ActorName: orNil(r.ActorName), Action: r.Action,
		SubjectKind: r.SubjectKind, SubjectId: r.SubjectID, EventId: orNil(int32(r.Event)), Address: orNil(r.Address), UserAgent: orNil(r.UserAgent),
	}
	if r.Before != nil {
		out.Before = json.RawMessage(r.Before)
	}
	if r.After != nil {
		out.After = json.RawMessage(r.After)
	}
	return out
}
