package staff_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"gatehouse/central/pg"
	"gatehouse/central/staff"
	"gatehouse/syncproto"
)

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return string(raw)
}

func (b *bundle) write(t *testing.T, e staff.Entry) {
	t.Helper()
	require.NoError(t, pg.InTx(t.Context(), b.pool, func(tx pgx.Tx) error { return b.Audit.Write(t.Context(), tx, e) }))
}

func TestTheLogIsOnlyAddedTo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.account(t, "ada@example.org", staff.Admin)
	for _, statement := range []string{
		`UPDATE audit_log SET action = 'nothing'`, `DELETE FROM audit_log`, `DELETE FROM audit_log WHERE false`, `TRUNCATE audit_log`,
		`INSERT INTO audit_log (id, at, actor_kind, action, subject_kind, subject_id) OVERRIDING SYSTEM VALUE
		 SELECT id, at, actor_kind, 'nothing', subject_kind, subject_id FROM audit_log
		 ON CONFLICT (id) DO UPDATE SET action = excluded.action`,
	} {
		_, err := b.pool.Exec(t.Context(), statement)
		require.Equal(t, "audit_log_append_only", pg.Constraint(err), statement)
	}
	require.Equal(t, []string{"account.create"}, b.actions(t, staff.Filter{}))
}

func TestAnEntryLivesAndDiesWithItsChange(t *testing.T) {
	t.Parallel()
	b := setup(t)
	errUndone := errors.New("undone")
	err := pg.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
		if err := b.Audit.Write(t.Context(), tx, staff.Entry{By: staff.CommandLine(), Action: "a", SubjectKind: "k", SubjectID: "1"}); err != nil {
			return err
		}
		return errUndone
	})
	require.ErrorIs(t, err, errUndone)
	require.Empty(t, b.actions(t, staff.Filter{}))
}

// recorder is what a feature declares that knows nothing of package staff.
type recorder interface {
	Record(ctx context.Context, tx pgx.Tx, action, subjectKind, subjectID string, event syncproto.EventNo, before, after any) error
}

func TestFeaturesWriteThroughAnInterface(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.account(t, "ada@example.org", staff.Admin)
	var log recorder = b.Audit
	for _, ctx := range []context.Context{t.Context(), staff.NewContext(t.Context(), self(a))} {
		require.NoError(t, pg.InTx(ctx, b.pool, func(tx pgx.Tx) error {
			return log.Record(ctx, tx, "ticket.revoke", "ticket", "A-1", 7, map[string]string{"status": "paid"}, map[string]string{"status": "revoked"})
		}))
	}
	records, err := b.Audit.Search(t.Context(), staff.CommandLine(), staff.Filter{Action: "ticket.revoke"})
	require.NoError(t, err)
	require.Len(t, records, 2)
	require.Equal(t, []any{staff.KindAccount, a.ID, a.Name, syncproto.EventNo(7), "browser/1.0"},
		[]any{records[0].ActorKind, records[0].ActorID, records[0].ActorName, records[0].Event, records[0].UserAgent})
	require.Equal(t, []any{staff.KindCentral, uuid.Nil}, []any{records[1].ActorKind, records[1].ActorID})
	require.JSONEq(t, `{"status":"revoked"}`, string(records[0].After))
	require.Equal(t, staff.KindCentral, staff.FromContext(t.Context()).Kind)
}

func TestTheLogIsSearched(t *testing.T) {
	t.Parallel()
	b := setup(t)
	actor := staff.Principal{Kind: staff.KindAccount, ID: uuid.New()}
	began := b.now()
	for i := range 20 {
		e := staff.Entry{By: staff.CommandLine(), Action: "order.refund", SubjectKind: "order", SubjectID: "o", Event: syncproto.EventNo(i % 3)}
		if i%4 == 0 {
			e.By, e.Action, e.SubjectKind, e.SubjectID = actor, "ticket.revoke", "ticket", "t"
		}
		b.write(t, e)
		b.pass(time.Minute)
	}
	b.write(t, staff.Entry{By: staff.CommandLine(), Action: "ticketing.other", SubjectKind: "ticket", SubjectID: "u"})
	for name, c := range map[string]struct {
		f    staff.Filter
		want int
	}{
		"all":            {staff.Filter{}, 21},
		"of an event":    {staff.Filter{Events: []syncproto.EventNo{1}}, 7},
		"of two events":  {staff.Filter{Events: []syncproto.EventNo{1, 2}}, 13},
		"of no events":   {staff.Filter{Events: []syncproto.EventNo{}}, 0},
		"of any number":  {staff.Filter{Events: []syncproto.EventNo{1<<32 - 1}}, 0},
		"of an actor":    {staff.Filter{Actor: actor.ID}, 5},
		"of an action":   {staff.Filter{Action: "order.refund"}, 15},
		"of actions":     {staff.Filter{Action: "ticket."}, 5},
		"of a kind":      {staff.Filter{SubjectKind: "ticket"}, 6},
		"of a subject":   {staff.Filter{SubjectKind: "ticket", SubjectID: "u"}, 1},
		"since":          {staff.Filter{From: began.Add(15 * time.Minute)}, 6},
		"until":          {staff.Filter{Until: began.Add(15 * time.Minute)}, 15},
		"of a minute":    {staff.Filter{From: began.Add(5 * time.Minute), Until: began.Add(6 * time.Minute)}, 1},
		"all of it":      {staff.Filter{Events: []syncproto.EventNo{0, 1, 2}, Actor: actor.ID, Action: "ticket.revoke", From: began, Until: b.now()}, 3},
		"wild card":      {staff.Filter{Action: "%."}, 0},
		"of no page yet": {staff.Filter{Before: 1}, 0},
	} {
		records, err := b.Audit.Search(t.Context(), staff.CommandLine(), c.f)
		require.NoError(t, err, name)
		require.Len(t, records, c.want, name)
	}
	var ids []int64
	for f := (staff.Filter{Max: 4}); ; {
		page, err := b.Audit.Search(t.Context(), staff.CommandLine(), f)
		require.NoError(t, err)
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			ids = append(ids, r.ID)
		}
		f.Before = page[len(page)-1].ID
		b.write(t, staff.Entry{By: actor, Action: "meanwhile", SubjectKind: "k", SubjectID: "1"})
	}
	require.Len(t, ids, 21, "page by page, whatever is written meanwhile")
	for i := range ids {
		require.Equal(t, ids[0]-int64(i), ids[i])
	}
}

func TestTheLogIsReadByThoseWhoMay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for e := range syncproto.EventNo(4) {
		b.write(t, staff.Entry{By: staff.CommandLine(), Action: "a", SubjectKind: "k", SubjectID: "1", Event: e})
	}
	organiser := staff.Principal{Kind: staff.KindAccount, Role: staff.Organiser, Events: []syncproto.EventNo{1, 3}}
	for name, c := range map[string]struct {
		by     staff.Principal
		events []syncproto.EventNo
		want   int // -1: forbidden
	}{
		"admin":                    {staff.Principal{Kind: staff.KindAccount, Role: staff.Admin}, nil, 4},
		"organiser":                {organiser, nil, 2},
		"organiser, one":           {organiser, []syncproto.EventNo{3}, 1},
		"organiser, another's":     {organiser, []syncproto.EventNo{3, 2}, -1},
		"organiser, of no event":   {organiser, []syncproto.EventNo{0}, -1},
		"organiser of nothing":     {staff.Principal{Kind: staff.KindAccount, Role: staff.Organiser}, nil, -1},
		"supervisor":               {staff.Principal{Kind: staff.KindAccount, Role: staff.Supervisor, Events: []syncproto.EventNo{1}}, nil, -1},
		"visitor":                  {staff.Principal{}, nil, -1},
		"key of all events":        {staff.KeyPrincipal(staff.Organiser, 0), nil, 3},
		"key of one":               {staff.KeyPrincipal(staff.Organiser, 2), nil, 1},
		"an admin's key of one":    {staff.KeyPrincipal(staff.Admin, 2), nil, 1},
		"an admin's, another's":    {staff.KeyPrincipal(staff.Admin, 2), []syncproto.EventNo{1}, -1},
		"an admin's key of all":    {staff.KeyPrincipal(staff.Admin, 0), nil, 4},
		"a supervisor's, anything": {staff.KeyPrincipal(staff.Supervisor, 0), nil, -1},
	} {
		records, err := b.Audit.Search(t.Context(), c.by, staff.Filter{Events: c.events})
		if c.want < 0 {
			require.ErrorIs(t, err, staff.ErrForbidden, name)
			continue
		}
		require.NoError(t, err, name)
		require.Len(t, records, c.want, name)
	}
}

func TestEntriesAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	long := strings.Repeat("x", staff.AuditTextMax)
	by := staff.Principal{Kind: staff.KindCentral, Origin: staff.Origin{
		Address: netip.MustParseAddr("::ffff:192.0.2.1"), UserAgent: "a\x00b\xff" + strings.Repeat("ä", staff.UserAgentMax),
	}}
	b.write(t, staff.Entry{By: by, Action: long, SubjectKind: long, SubjectID: long, Before: strings.Repeat("x", staff.AuditBodyMax-2), After: strings.Repeat("x", staff.AuditBodyMax-1)})
	records, err := b.Audit.Search(t.Context(), staff.CommandLine(), staff.Filter{})
	require.NoError(t, err)
	r := records[0]
	require.Len(t, string(r.Before), staff.AuditBodyMax)
	require.JSONEq(t, `{"omitted_bytes":16385}`, string(r.After))
	require.Equal(t, "192.0.2.1", r.Address)
	require.True(t, strings.HasPrefix(r.UserAgent, "a�b�ä"))
	require.LessOrEqual(t, len(r.UserAgent), staff.UserAgentMax)

	by.Origin.Address = netip.MustParseAddr("fe80::1%eth0")
	b.write(t, staff.Entry{By: by, Action: "a", SubjectKind: "k", SubjectID: "1", After: map[string]any{"nul": "a\x00b", "big": uint64(1<<63 + 1)}})
	records, err = b.Audit.Search(t.Context(), staff.CommandLine(), staff.Filter{Max: 1})
	require.NoError(t, err)
	require.Equal(t, "fe80::1", records[0].Address)
	require.JSONEq(t, `{"nul":"a\ufffdb","big":9223372036854775809}`, string(records[0].After))

	for _, e := range []staff.Entry{
		{},
		{By: by, Action: "a", SubjectKind: "k"},
		{By: by, Action: "a", SubjectID: "1"},
		{By: by, SubjectKind: "k", SubjectID: "1"},
		{Action: "a", SubjectKind: "k", SubjectID: "1"},
		{By: by, Action: long + "x", SubjectKind: "k", SubjectID: "1"},
		{By: by, Action: "a", SubjectKind: "k", SubjectID: "a\x00"},
		{By: by, Action: "a", SubjectKind: "k", SubjectID: "\xff"},
		{By: by, Action: "a", SubjectKind: "k", SubjectID: "1", Before: func() {}},
	} {
		require.Error(t, pg.InTx(t.Context(), b.pool, func(tx pgx.Tx) error { return b.Audit.Write(t.Context(), tx, e) }))
	}
}

func TestSecretsAreLeftOut(t *testing.T) {
	t.Parallel()
	type inner struct {
		Password     string
		RefreshToken string `json:"refresh_token"`
		CodeHash     []byte
		Name         string
		Nested       []map[string]any
	}
	body, err := staff.AuditBody(map[string]any{"user": inner{
		Password: "p4ss", RefreshToken: "t0ken", CodeHash: []byte("h4sh"), Name: "Ada",
		Nested: []map[string]any{{"api_key": "k3y", "TOTP": map[string]string{"x": "y3s"}, "cookie": 1, "key": "day"}},
	}})
	require.NoError(t, err)
	require.JSONEq(t, `{"user":{"Password":"(not kept)","RefreshToken":"(not kept)","refresh_token":"(not kept)","CodeHash":"(not kept)","Name":"Ada",
		"Nested":[{"api_key":"(not kept)","TOTP":"(not kept)","cookie":"(not kept)","key":"day"}]}}`,
		strings.Replace(string(body), `"refresh_token"`, `"RefreshToken":"(not kept)","refresh_token"`, 1))
	for _, nothing := range []any{nil, (*inner)(nil), map[string]int(nil)} {
		body, err := staff.AuditBody(nothing)
		require.NoError(t, err)
		require.Nil(t, body)
	}
}

// A day at central: whatever is done, the log has no secret, no name and no address.
func TestNoSecretReachesTheLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.events(t, 1)
	b.account(t, "root@example.org", staff.Admin)
	a := b.account(t, "olga.orlova@example.org", staff.Organiser, 1)
	browser, program := b.browser(t, a.Email), b.tokens(t, a.Email)
	second := b.refresh(t, program.Refresh)
	ada := b.factor(t, a)
	b.pass(time.Minute)
	code := ada.code(t, b.now())
	require.NoError(t, b.withCode(t, a.Email, code))
	require.NoError(t, b.withCode(t, a.Email, ada.recovery[0]))
	verify, err := b.Mails.Verification(t.Context(), self(a))
	require.NoError(t, err)
	_, err = b.Mails.Verify(t.Context(), verify.Token, home())
	require.NoError(t, err)
	reset, err := b.Mails.Reset(t.Context(), a.Email)
	require.NoError(t, err)
	_, err = b.Mails.SetPassword(t.Context(), reset.Token, "another horse battery", home())
	require.NoError(t, err)
	_, key, err := b.APIKeys.Issue(t.Context(), self(a), staff.NewAPIKey{Name: "badges", Role: staff.GateStaff, Event: 1})
	require.NoError(t, err)
	require.NoError(t, b.Own.ChangePassword(t.Context(), self(a), "another horse battery", password))
	_, err = b.Own.ChangeEmail(t.Context(), self(a), password, "orlova@example.com")
	require.NoError(t, err)
	_, err = b.Accounts.SetName(t.Context(), self(a), a.ID, "Olga Orlova", 0)
	require.NoError(t, err)
	for range staff.EmailTriesMax {
		_, err = b.SignIns.Browser(t.Context(), staff.Credentials{Email: "orlova@example.com", Password: "mistyped password"})
		require.ErrorIs(t, err, staff.ErrSignIn)
	}
	b.requireDead(t, program.Refresh)
	require.NoError(t, b.Factors.Remove(t.Context(), staff.CommandLine(), a.ID))

	var log string
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT string_agg(l::text, ' ') FROM audit_log l`).Scan(&log))
	secrets := append([]string{
		password, "another horse", "mistyped", browser.Cookie, program.Refresh, program.Access, second.Refresh, second.Access, code,
		verify.Token, reset.Token, key, key[31:], string(ada.secret), "argon2", "olga", "orlova", "Orlova", "example.",
	}, ada.recovery...)
	for _, secret := range secrets {
		require.NotContains(t, log, secret)
	}
	require.GreaterOrEqual(t, len(b.actions(t, staff.Filter{})), 14)
}
