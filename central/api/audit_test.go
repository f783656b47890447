package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"gatehouse/central/api"
	"gatehouse/central/staff"
)

// deed is one request that changes something, and is granted.
type deed struct {
	by           client
	method, path string
	body         any
	headers      []string
}

// unaudited are the operations that leave no row in the audit log when they are done,
// each with the reason.
func unaudited() map[string]string {
	return map[string]string{
		"refresh":             "goes on with a sign-in whose beginning and end are told; a token used twice is told as sign_in.reuse",
		"forgotPassword":      "a letter changes nothing; following its link is account.password_reset",
		"requestVerification": "a letter changes nothing; following its link is account.verify",
		"enrolFactor":         "nothing is in force before confirmFactor, which is account.factor",
		"checkIn":             "an entry of the event's journal, which is append-only and says who, when and what",
		"checkInBatch":        "likewise",
		"payOrder":            "begins a payment; nothing changes before money has come, which is order.pay",
		"hearPayment":         "what the provider tells of becomes order.pay or order.refund, in central/registration",
	}
}

// Whatever is changed through the API is told in the audit log: who, what, from where.
func TestEveryChangeIsInTheLog(t *testing.T) {
	t.Parallel()
	w := setup(t)
	l := newLogbook(w)
	doc, err := api.Document(t.Context())
	require.NoError(t, err)
	router, err := legacy.NewRouter(doc)
	require.NoError(t, err)
	deeds, left := l.deeds(), unaudited()
	for _, op := range operations(t) {
		if op.method == http.MethodGet {
			continue
		}
		if why, ok := left[op.OperationID]; ok {
			require.NotEmpty(t, why)
			require.NotContains(t, deeds, op.OperationID, "it is told after all")
			continue
		}
		require.Contains(t, deeds, op.OperationID, "an operation that changes something has to be done here, or be excused")
		d := deeds[op.OperationID]()
		route, _, err := router.FindRoute(httptest.NewRequestWithContext(t.Context(), d.method, api.Prefix+d.path, http.NoBody))
		require.NoError(t, err)
		require.Equal(t, op.OperationID, route.Operation.OperationID)
		before := l.newest()
		got := d.by.do(d.method, d.path, d.body, append(d.headers, "User-Agent", "walker/1")...)
		require.Less(t, got.Status, 300, "%s: %s", op.OperationID, got.Body)
		rows := l.since(before)
		require.NotEmpty(t, rows, "%s leaves no row", op.OperationID)
		for _, r := range rows {
			require.Equal(t, "192.0.2.1", r.address, "%s: %s", op.OperationID, r.action)
			require.Equal(t, "walker/1", r.agent, "%s: %s", op.OperationID, r.action)
			require.Contains(t, []string{"account", "visitor"}, r.kind, "%s: %s", op.OperationID, r.action)
		}
	}
	for op := range left {
		_, ok := api.AccessOf(op)
		require.True(t, ok, "%s is excused and is no operation", op)
	}
}

// logbook makes what deeds are done to, and reads the log.
type logbook struct {
	*town
	boss client
	n    int
}

func newLogbook(w *town) *logbook { return &logbook{town: w, boss: w.as(staff.Admin)} }

type logged struct{ kind, action, address, agent string }

func (l *logbook) newest() int64 {
	l.t.Helper()
	var id int64
	require.NoError(l.t, l.pool.QueryRow(l.t.Context(), `SELECT COALESCE(max(id), 0) FROM audit_log`).Scan(&id))
	return id
}

func (l *logbook) since(id int64) []logged {
	l.t.Helper()
	rows, err := l.pool.Query(l.t.Context(), `
		SELECT actor_kind, action, COALESCE(host(address), ''), COALESCE(user_agent, '') FROM audit_log WHERE id > $1 ORDER BY id`, id)
	require.NoError(l.t, err)
	defer rows.Close()
	var out []logged
	for rows.Next() {
		var r logged
		require.NoError(l.t, rows.Scan(&r.kind, &r.action, &r.address, &r.agent))
		out = append(out, r)
	}
	require.NoError(l.t, rows.Err())
	return out
}

// deeds does each operation that changes something once, by its id.
func (l *logbook) deeds() map[string]func() deed {
	out := map[string]func() deed{}
	for _, some := range []map[string]func() deed{l.signing(), l.accounts(), l.events(), l.catalogue(), l.sales(), l.desk()} {
		for op, fn := range some {
			out[op] = fn
		}
	}
	return out
}

// somebody is a new account that is signed in.
func (l *logbook) somebody() (client, string) {
	l.t.Helper()
	l.n++
	email := fmt.Sprintf("somebody-%d@example.com", l.n)
	l.anybody().do("POST", "/attendees/register", map[string]any{"name": "Some Body", "email": email, "password": password}).ok(201, "")
	return l.signsIn(email, password), email
}

func (l *logbook) signing() map[string]func() deed {
	guest := l.anybody()
	in := func() map[string]any {
		_, email := l.somebody()
		return map[string]any{"email": email, "password": password}
	}
	return map[string]func() deed{
		"login":  func() deed { return deed{by: guest, method: "POST", path: "/auth/login", body: in()} },
		"signIn": func() deed { return deed{by: guest, method: "POST", path: "/auth/session", body: in()} },
		"logout": func() deed {
			got := guest.do("POST", "/auth/login", in())
			return deed{by: guest, method: "POST", path: "/auth/logout", body: map[string]any{"refresh_token": got.ok(200, "data.refresh_token")}}
		},
		"signOut": func() deed {
			c, _ := l.somebody()
			return deed{by: c, method: "DELETE", path: "/auth/session"}
		},
		"verifyEmail": func() deed {
			_, email := l.somebody()
			return deed{by: guest, method: "POST", path: "/auth/verify", body: map[string]any{"token": l.mail.last(l.t, "verify", email).Token}}
		},
		"resetPassword": func() deed {
			_, email := l.somebody()
			guest.do("POST", "/auth/password/forgot", map[string]any{"email": email}).ok(200, "")
			return deed{by: guest, method: "POST", path: "/auth/password/reset", body: map[string]any{"token": l.mail.last(l.t, "reset", email).Token, "password": password + "2"}}
		},
		"changePassword": func() deed {
			c, _ := l.somebody()
			return deed{by: c, method: "PUT", path: "/account/password", body: map[string]any{"current": password, "password": password + "2"}}
		},
		"changeEmail": func() deed {
			c, email := l.somebody()
			return deed{by: c, method: "PUT", path: "/account/email", body: map[string]any{"password": password, "email": "new-" + email}}
		},
		"endSignIn": func() deed {
			c, email := l.somebody()
			l.signsIn(email, password)
			for _, one := range c.do("GET", "/account/sign-ins", nil).ok(200, "data").([]any) {
				if s := one.(map[string]any); s["current"] == false {
					return deed{by: c, method: "DELETE", path: fmt.Sprint("/account/sign-ins/", s["id"])}
				}
			}
			return deed{}
		},
		"endOtherSignIns": func() deed {
			c, email := l.somebody()
			l.signsIn(email, password)
			return deed{by: c, method: "DELETE", path: "/account/sign-ins"}
		},
	}
}

func (l *logbook) accounts() map[string]func() deed {
	user := func(after string) string {
		c, _ := l.somebody()
		return fmt.Sprint("/users/", c.do("GET", "/attendees/profile", nil).ok(200, "data.id"), after)
	}
	return map[string]func() deed{
		"confirmFactor": func() deed { c, _ := l.somebody(); return l.factor(c) },
		"eraseAccount": func() deed {
			c, _ := l.somebody()
			return deed{by: c, method: "DELETE", path: "/account", body: map[string]any{"password": password}}
		},
		"updateProfile": func() deed {
			c, _ := l.somebody()
			return deed{by: c, method: "PUT", path: "/attendees/profile", body: map[string]any{"name": "Other Name"}}
		},
		"createUser": func() deed {
			return deed{by: l.boss, method: "POST", path: "/users", body: map[string]any{"email": "made@example.com", "role": "attendee"}}
		},
		"eraseUser": func() deed { return deed{by: l.boss, method: "DELETE", path: user("")} },
		"setUserRole": func() deed {
			return deed{by: l.boss, method: "PUT", path: user("/role"), body: map[string]any{"role": "admin"}}
		},
		"disableUser": func() deed { return deed{by: l.boss, method: "POST", path: user("/disable")} },
		"enableUser": func() deed {
			at := user("")
			l.boss.do("POST", at+"/disable", nil).ok(200, "")
			return deed{by: l.boss, method: "POST", path: at + "/enable"}
		},
		"addToAgenda": func() deed {
			c, _ := l.somebody()
			return deed{by: c, method: "PUT", path: "/attendees/programme/" + l.session()}
		},
		"removeFromAgenda": func() deed {
			c, _ := l.somebody()
			at := "/attendees/programme/" + l.session()
			c.do("PUT", at, nil).ok(200, "")
			return deed{by: c, method: "DELETE", path: at}
		},
		"linkAgenda": func() deed {
			c, _ := l.somebody()
			return deed{by: c, method: "POST", path: "/attendees/programme-link"}
		},
		"unlinkAgenda": func() deed {
			c, _ := l.somebody()
			return deed{by: c, method: "DELETE", path: "/attendees/programme-link"}
		},
		"removeFactor": func() deed {
			c, _ := l.somebody()
			d := l.factor(c)
			c.do(d.method, d.path, d.body).ok(200, "")
			return deed{by: l.boss, method: "DELETE", path: fmt.Sprint("/users/", c.do("GET", "/attendees/profile", nil).ok(200, "data.id"), "/factor")}
		},
		"createAPIKey": func() deed {
			return deed{by: l.boss, method: "POST", path: "/api-keys", body: map[string]any{"name": "till", "role": "organiser"}}
		},
		"revokeAPIKey": func() deed {
			made := l.boss.do("POST", "/api-keys", map[string]any{"name": "till", "role": "organiser"})
			return deed{by: l.boss, method: "DELETE", path: fmt.Sprint("/api-keys/", made.ok(201, "data.api_key.id"))}
		},
	}
}

// session is the id of a new one that everybody sees.
func (l *logbook) session() string {
	l.t.Helper()
	path, _ := l.sessions(l.boss, 1)
	return fmt.Sprint(l.boss.do("GET", path+"/sessions", nil).ok(200, "data").([]any)[0].(map[string]any)["id"])
}

// factor confirms an app that c has just been given.
func (l *logbook) factor(c client) deed {
	l.t.Helper()
	code, err := totp.GenerateCode(c.do("POST", "/account/factor", nil).ok(200, "data.secret").(string), time.Now())
	require.NoError(l.t, err)
	return deed{by: c, method: "POST", path: "/account/factor/confirm", body: map[string]any{"code": code}}
}

func (l *logbook) events() map[string]func() deed {
	fair := func() string { _, path := l.fair(l.boss); return path }
	draft := func() string {
		return fmt.Sprint("/events/", l.boss.do("POST", "/events", map[string]any{"title": "Draft"}).made())
	}
	session := func() string {
		_, stage, _ := l.hall(l.boss)
		return fmt.Sprint("/sessions/", l.boss.do("POST", fair()+"/sessions", talk("Talk", stage, "18:00", "19:00")).made())
	}
	does := func(method string, path func() string, after string, body any) func() deed {
		return func() deed { return deed{by: l.boss, method: method, path: path() + after, body: body} }
	}
	none := func() string { return "" }
	return map[string]func() deed{
		"createEvent":    does("POST", none, "/events", map[string]any{"title": "New"}),
		"updateEvent":    does("PUT", draft, "", map[string]any{"title": "Newer"}),
		"deleteEvent":    does("DELETE", draft, "", nil),
		"setEventStatus": does("POST", fair, "/status", map[string]any{"status": "live"}),
		"importEvent": func() deed {
			doc := l.boss.do("GET", fair()+"/export", nil).ok(200, "data")
			return deed{by: l.boss, method: "POST", path: "/events/import", body: doc}
		},
		"createSession": func() deed {
			_, stage, _ := l.hall(l.boss)
			return deed{by: l.boss, method: "POST", path: fair() + "/sessions", body: talk("Talk", stage, "18:00", "19:00")}
		},
		"updateSession":    does("PUT", session, "", map[string]any{"title": "Speech"}),
		"deleteSession":    does("DELETE", session, "", nil),
		"createTicketType": does("POST", fair, "/ticket-types", map[string]any{"key": "crew"}),
		"updateTicketType": does("PUT", fair, "/ticket-types/day", map[string]any{"key": "day", "name": "A day"}),
		"deleteTicketType": does("DELETE", fair, "/ticket-types/vip", nil),
	}
}

func (l *logbook) catalogue() map[string]func() deed {
	out := map[string]func() deed{}
	add := func(name, list string, body, change map[string]any) {
		thing := func() string {
			l.n++
			if body["key"] != nil {
				body["key"] = fmt.Sprint("key", l.n)
			}
			body["name"] = fmt.Sprint("Name ", l.n)
			return fmt.Sprint(list, "/", l.boss.do("POST", list, body).made())
		}
		out["create"+name] = func() deed { return deed{by: l.boss, method: "POST", path: list, body: body} }
		out["update"+name] = func() deed { return deed{by: l.boss, method: "PUT", path: thing(), body: change} }
		out["delete"+name] = func() deed { return deed{by: l.boss, method: "DELETE", path: thing()} }
	}
	add("Venue", "/venues", map[string]any{"name": "Place"}, map[string]any{"name": "Other place"})
	add("Category", "/categories", map[string]any{"key": "first", "name": "First"}, map[string]any{"key": "other", "name": "Other"})
	add("Performer", "/performers", map[string]any{"name": "Bob"}, map[string]any{"name": "Bobby"})
	stage := func() string { _, id, _ := l.hall(l.boss); return fmt.Sprint("/stages/", id) }
	out["createStage"] = func() deed {
		venue, _, _ := l.hall(l.boss)
		return deed{by: l.boss, method: "POST", path: fmt.Sprintf("/venues/%d/stages", venue), body: map[string]any{"name": "Tent"}}
	}
	out["updateStage"] = func() deed {
		return deed{by: l.boss, method: "PUT", path: stage(), body: map[string]any{"name": "Tent"}}
	}
	out["deleteStage"] = func() deed { return deed{by: l.boss, method: "DELETE", path: stage()} }
	return out
}

func (l *logbook) sales() map[string]func() deed {
	guest := l.anybody()
	order := func(types ...string) (at string, key []string, made answer) {
		id, _ := l.fair(l.boss)
		made = guest.do("POST", "/orders", ordered(id, types...))
		return fmt.Sprint("/orders/", made.ok(201, "data.order.id")), []string{"Order-Key", fmt.Sprint(made.ok(201, "data.key"))}, made
	}
	return map[string]func() deed{
		"register": func() deed {
			id, _ := l.fair(l.boss)
			return deed{by: guest, method: "POST", path: "/attendees/register", body: wants(id, "day")}
		},
		"createOrder": func() deed {
			id, _ := l.fair(l.boss)
			return deed{by: guest, method: "POST", path: "/orders", body: ordered(id, "vip")}
		},
		"cancelOrder": func() deed {
			at, key, _ := order("vip")
			return deed{by: guest, method: "POST", path: at + "/cancel", headers: key}
		},
		"markOrderPaid": func() deed {
			at, _, _ := order("vip")
			return deed{by: l.boss, method: "POST", path: at + "/mark-paid", body: map[string]any{}}
		},
		"refundOrder": func() deed {
			at, _, _ := order("day")
			return deed{by: l.boss, method: "POST", path: at + "/refund", body: map[string]any{}}
		},
		"transferTicket": func() deed {
			_, key, made := order("day")
			return deed{
				by: guest, method: "POST", path: fmt.Sprint("/tickets/", made.ok(201, "data.tickets").([]any)[0].(map[string]any)["id"], "/transfer"),
				body: map[string]any{"name": "Bob", "email": "bob@example.com"}, headers: key,
			}
		},
		"answerQuestions": func() deed {
			id, path := l.fair(l.boss)
			l.boss.do("POST", path+"/questions", map[string]any{"key": "age", "label": "Of age?", "kind": "yes_no"}).ok(201, "")
			made := guest.do("POST", "/orders", ordered(id, "day"))
			return deed{
				by: guest, method: "PUT", path: fmt.Sprint("/tickets/", made.ok(201, "data.tickets").([]any)[0].(map[string]any)["id"], "/answers"),
				body: map[string]any{"answers": map[string]string{"age": "yes"}}, headers: []string{"Order-Key", fmt.Sprint(made.ok(201, "data.key"))},
			}
		},
	}
}

// desk has what an organiser plans of his sales.
func (l *logbook) desk() map[string]func() deed {
	out := map[string]func() deed{}
	add := func(name, list string, body, change map[string]any) {
		out["create"+name] = func() deed {
			_, path := l.fair(l.boss)
			return deed{by: l.boss, method: "POST", path: path + list, body: body}
		}
		thing := func() string {
			d := out["create"+name]()
			return fmt.Sprint(d.path, "/", l.boss.do("POST", d.path, body).ok(201, "data.id"))
		}
		out["update"+name] = func() deed { return deed{by: l.boss, method: "PUT", path: thing(), body: change} }
		out["delete"+name] = func() deed { return deed{by: l.boss, method: "DELETE", path: thing()} }
	}
	code := map[string]any{"code": "half", "kind": "percent", "value": 50}
	add("PromoCode", "/promo-codes", code, map[string]any{"code": "half", "kind": "percent", "value": 40})
	add("Question", "/questions", map[string]any{"key": "age", "label": "Age", "kind": "text"}, map[string]any{"key": "age", "label": "Your age", "kind": "text"})
	full := func() (path string, body map[string]any) {
		id, path := l.fair(l.boss)
		l.anybody().do("POST", "/orders", ordered(id, "day", "day")).ok(201, "")
		return path + "/waitlist", map[string]any{"ticket_type": "day", "name": "Cyd", "email": "cyd@example.com"}
	}
	out["joinWaitList"] = func() deed {
		path, body := full()
		return deed{by: l.anybody(), method: "POST", path: path, body: body}
	}
	out["leaveWaitList"] = func() deed {
		path, body := full()
		return deed{by: l.anybody(), method: "DELETE", path: fmt.Sprint("/waitlist/", l.anybody().do("POST", path, body).ok(201, "data.id"))}
	}
	return out
}
