package portal_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"gatehouse/central/portal"
	"gatehouse/central/staff"
)

// accounts stand in for the staff: one token, good once.
type accounts struct {
	err      error
	used     string // what it was used for
	password string
	from     staff.Origin
}

func (a *accounts) Verify(_ context.Context, token string, from staff.Origin) (staff.Account, error) {
	return staff.Account{}, a.use(token, "verify", from)
}

func (a *accounts) SetPassword(_ context.Context, token, password string, from staff.Origin) (staff.Account, error) {
	if len(password) < staff.PasswordMin {
		return staff.Account{}, &staff.InputError{Field: "password", Message: "too short"}
	}
	a.password = password
	return staff.Account{}, a.use(token, "reset", from)
}

func (a *accounts) use(token, what string, from staff.Origin) error {
	if a.err != nil {
		return a.err
	}
	if token != "s3cret" || a.used != "" {
		return staff.ErrToken
	}
	a.used, a.from = what, from
	return nil
}

func post(t *testing.T, e *echo.Echo, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	rec := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("User-Agent", "a browser")
	e.ServeHTTP(rec, r)
	return rec
}

func TestAnAddressIsConfirmedByAButton(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	a := &accounts{}
	e := serveBoth(t, newDesk(), a, &log)
	path := portal.AccountLink("", portal.Verify, "s3cret", "en")
	got := get(t, e, path)
	require.Equal(t, http.StatusOK, got.Code)
	require.Contains(t, got.Body.String(), "Confirm the address</button>")
	require.NotContains(t, got.Body.String(), "password")
	require.Empty(t, a.used, "programs that look through mail open its links")
	require.Contains(t, got.Header().Get("Content-Security-Policy"), "form-action 'self'")
	require.Contains(t, got.Header().Get("Cache-Control"), "no-store")
	require.Equal(t, "no-referrer", got.Header().Get("Referrer-Policy"))

	got = post(t, e, path, "")
	require.Equal(t, http.StatusOK, got.Code)
	require.Contains(t, got.Body.String(), "Your address is confirmed.")
	require.NotContains(t, got.Body.String(), "<form")
	require.Equal(t, "verify", a.used)
	require.True(t, a.from.Address.IsValid())
	require.Equal(t, "a browser", a.from.UserAgent)

	got = post(t, e, path, "")
	require.Equal(t, http.StatusGone, got.Code)
	require.Contains(t, got.Body.String(), "used already")
	require.NotContains(t, log.String(), "s3cret")
	require.Contains(t, log.String(), "/account/verify/:link")
}

func TestAPasswordIsSetByAForm(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	a := &accounts{}
	e := serveBoth(t, newDesk(), a, &log)
	path := portal.AccountLink("", portal.Reset, "s3cret", "en")
	require.Contains(t, get(t, e, path).Body.String(), `type="password"`)
	long := "password=" + strings.Repeat("%D8%A7", staff.PasswordMax/2)
	for name, body := range map[string]string{
		"none": "", "short": "password=short", "no form": "%zz", "another field": "code=correct+horse+battery", "too long for any": long + strings.Repeat("a", 4<<10),
	} {
		got := post(t, e, path, body)
		require.Equal(t, http.StatusUnprocessableEntity, got.Code, name)
		require.Contains(t, got.Body.String(), "at least 8 characters", name)
		require.Contains(t, got.Body.String(), "<form", name)
		require.Empty(t, a.used, name)
	}
	require.Equal(t, http.StatusUnprocessableEntity, post(t, e, path+"?password=correct+horse+battery", "").Code, "what is in an address is in logs")
	got := post(t, e, path, long)
	require.Equal(t, http.StatusOK, got.Code)
	require.Contains(t, got.Body.String(), "Your password is set.")
	require.Len(t, a.password, staff.PasswordMax)
	require.NotContains(t, log.String(), "s3cret")
	require.NotContains(t, log.String(), "correct")
}

func TestPagesOfAccountsAreInTheLanguageOfTheLetter(t *testing.T) {
	t.Parallel()
	a := &accounts{}
	e := serveBoth(t, newDesk(), a, nil)
	for _, purpose := range []portal.Purpose{portal.Verify, portal.Reset} {
		path := portal.AccountLink("", purpose, "s3cret", "ar")
		require.Contains(t, get(t, e, path).Body.String(), `<html lang="ar" dir="rtl">`)
		a.used = ""
		require.Contains(t, post(t, e, path, "password=correct+horse+battery").Body.String(), "تم ")
		require.Contains(t, post(t, e, path, "password=correct+horse+battery").Body.String(), "انتهت مدته")
	}
	require.Contains(t, get(t, e, "/account/reset/s3cret?lang=xx").Body.String(), `lang="en"`)
}

func TestALinkOfAnAccountIsOnePartOfAPath(t *testing.T) {
	t.Parallel()
	link := portal.AccountLink("https://fair.example", portal.Reset, "a/b?c", "ar")
	u, err := url.Parse(link)
	require.NoError(t, err)
	require.Equal(t, "https://fair.example/account/reset/a%2Fb%3Fc?lang=ar", link)
	require.Equal(t, "/account/reset/a/b?c", u.Path)
}

func TestWhatGoesWrongWithAnAccountIsSaid(t *testing.T) {
	t.Parallel()
	a := &accounts{err: staff.ErrBusy}
	e := serveBoth(t, newDesk(), a, nil)
	got := post(t, e, "/account/reset/s3cret", "password=correct+horse+battery")
	require.Equal(t, http.StatusServiceUnavailable, got.Code)
	require.Contains(t, got.Body.String(), "Try again in some seconds")
	require.Contains(t, got.Body.String(), "<form")
	a.err = errors.New("the database is away")
	got = post(t, e, "/account/verify/s3cret", "")
	require.Equal(t, http.StatusInternalServerError, got.Code)
	require.NotContains(t, got.Body.String(), "database")
	require.Equal(t, http.StatusNotFound, get(t, e, "/account/erase/s3cret").Code)
	require.Equal(t, http.StatusNotFound, get(t, e, "/account/verify/").Code)
}
