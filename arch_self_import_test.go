package gatehouse_test

// syncprotoCases show rule 1.
func syncprotoCases() []ruleCase {
	return []ruleCase{
		{
			rule: "1 syncproto stands alone",
			good: fakeTree{
				"syncproto/a.go":               importing("time", "github.com/google/uuid", "gatehouse/syncproto/wire"),
				"syncproto/wire/a.go":          importing("github.com/klauspost/compress/zstd"),
				"syncproto/wire/a_test.go":     importing("github.com/stretchr/testify/require", "pgregory.net/rapid", "gatehouse/syncproto/syncprototest"),
				"syncproto/syncprototest/a.go": importing("github.com/stretchr/testify/require"),
				"gate/a.go":                    importing("gatehouse/gate/lane", "github.com/labstack/echo/v4"),
			},
			bad: fakeTree{
				"syncproto/own.go":          importing("gatehouse/gate"),
				"syncproto/third.go":        importing("github.com/klauspost/compress/gzip"),
				"syncproto/testing.go":      importing("github.com/stretchr/testify/require"),
				"syncproto/own_test.go":     importing("gatehouse/hardware"),
				"syncproto/wire/b_test.go":  importing("github.com/labstack/echo/v4"),
				"syncproto/credential/a.go": importing("gatehouse/syncproto/wire", "gatehouse"),
			},
			// gate/a.go is reached from syncproto/own.go, and brings in more of ours.
			want: []string{
				"gate/a.go", "syncproto/credential/a.go", "syncproto/own.go", "syncproto/own_test.go",
				"syncproto/testing.go", "syncproto/third.go", "syncproto/wire/b_test.go",
			},
		},
		{
			rule: "1 syncproto reads no clock",
			good: fakeTree{
				"gate/a.go":           goFile("gate", nil, `import "time"`, `var x = time.Now()`),
				"syncproto/a.go":      goFile("syncproto", nil, `import "time"`, `var x = time.Unix(0, 0)`),
				"syncproto/a_test.go": goFile("syncproto", nil, `import "time"`, `var y = time.Now()`),
			},
			bad: fakeTree{
				"syncproto/b.go":      goFile("syncproto", nil, `import "time"`, `var now = time.Now`),
				"syncproto/wire/a.go": goFile("wire", nil, `import clock "time"`, `var x = clock.Since(t)`),
			},
			want: []string{"syncproto/b.go", "syncproto/wire/a.go"},
		},
		{
			rule: "1 decisions do no I/O",
			good: fakeTree{
				"syncproto/admission/a.go":      importing("time", "io", "gatehouse/syncproto"),
				"syncproto/admission/a_test.go": importing("os"),
				"syncproto/a.go":                importing("encoding/json"),
				"syncproto/wire/a.go":           importing("net/http"),
			},
			bad: fakeTree{
				"syncproto/credential/a.go": importing("os"),
				"syncproto/b.go":            importing("net"),
			},
			want: []string{"syncproto/b.go", "syncproto/credential/a.go"},
		},
	}
}

// programCases show rules 2 and 3.
func programCases() []ruleCase {
	return []ruleCase{
		{
			rule: "2 gate and central meet in syncproto",
			good: fakeTree{
				"gate/a.go":       importing("gatehouse/gate/lane", "gatehouse/syncproto", "gatehouse/hardware"),
				"central/a.go":    importing("gatehouse/central/pg", "gatehouse/hardware/qrdraw"),
				"cmd/gate/a.go":   importing("gatehouse/gate"),
				"cmd/demo/a.go":   importing("gatehouse/gate", "gatehouse/central"),
				"cmd/demo/b/a.go": importing("gatehouse/gate", "gatehouse/central"),
			},
			bad: fakeTree{
				"gate/screen/a.go":   importing("gatehouse/central/web"),
				"central/a_test.go":  importing("gatehouse/gate/gatetest"),
				"hardware/a.go":      importing("gatehouse/gate"),
				"cmd/central/a.go":   importing("gatehouse/gate"),
				"migrations/a.go":    importing("gatehouse/central/pg"),
				"cmd/gatebench/x.go": importing("gatehouse/central", "gatehouse/gate"),
			},
			want: []string{"central/a_test.go", "cmd/central/a.go", "gate/screen/a.go", "hardware/a.go", "migrations/a.go"},
		},
		{
			rule: "3 gate/node is the mind alone",
			good: fakeTree{
				"gate/node/a.go":      importing("slices", "github.com/google/uuid", "gatehouse/syncproto/admission"),
				"gate/node/a_test.go": importing("os", "pgregory.net/rapid"),
				"syncproto/a.go":      importing("gatehouse/syncproto/wire"),
			},
			bad: fakeTree{
				"gate/node/b.go":           importing("gatehouse/gate/journal"),
				"gate/node/c.go":           importing("log/slog"),
				"gate/node/d.go":           importing("github.com/labstack/echo/v4"),
				"syncproto/admission/a.go": importing("gatehouse/hardware"),
			},
			want: []string{"gate/node/b.go", "gate/node/c.go", "gate/node/d.go", "syncproto/admission/a.go"},
		},
	}
}

// libraryCases show rule 4.
func libraryCases() []ruleCase {
	return []ruleCase{
		{
			rule: "4 libraries have one home",
			good: fakeTree{
				"gate/replica/a.go":         importing("modernc.org/sqlite"),
				"gate/screen/a.go":          importing("github.com/labstack/echo/v4"),
				"central/ticket/store.go":   importing("github.com/jackc/pgx/v5", "github.com/jackc/pgx/v5/pgxpool"),
				"central/ticket/store_x.go": importing("github.com/jackc/pgx/v5/pgconn"),
				"central/ticket/a_test.go":  importing("github.com/jackc/pgx/v5"),
				"central/pg/privatepg/a.go": importing("github.com/jackc/pgx/v5"),
				"central/central.go":        importing("github.com/jackc/pgx/v5/pgxpool", "github.com/labstack/echo/v4"),
				"hardware/qrdraw/a.go":      importing("github.com/makiuchi-d/gozxing/qrcode"),
				"hardware/serialscan/a.go":  importing("github.com/tarm/serial"),
				"cmd/gatebench/a.go":        importing("modernc.org/sqlite", "github.com/jackc/pgx/v5"),
			},
			bad: fakeTree{
				"gate/lane/a_test.go":     importing("modernc.org/sqlite"),
				"gate/lane/a.go":          importing("github.com/tarm/serial"),
				"central/ticket/rules.go": importing("github.com/jackc/pgx/v5"),
				"central/wire.go":         importing("github.com/jackc/pgx/v5/pgxpool"),
				"central/ticket/a.go":     importing("github.com/labstack/gommon/log"),
				"central/portal/a.go":     importing("github.com/makiuchi-d/gozxing"),
				"cmd/central/main.go":     importing("github.com/jackc/pgx/v5"),
			},
			want: []string{
				"central/portal/a.go", "central/ticket/a.go", "central/ticket/rules.go", "central/wire.go",
				"cmd/central/main.go", "gate/lane/a.go", "gate/lane/a_test.go",
			},
		},
	}
}

// testCases show rule 7.
func testCases() []ruleCase {
	return []ruleCase{
		{
			rule: "7 test packages stay in tests",
			good: fakeTree{
				"gate/lane/a_test.go": importing("gatehouse/hardware/hardwaretest"),
				"gate/gatetest/a.go":  importing("gatehouse/hardware/hardwaretest", "net/http/httptest"),
				"cmd/fleetsim/a.go":   importing("gatehouse/gate/gatetest"),
				"cmd/gatebench/a.go":  importing("gatehouse/central/pgtest"),
			},
			bad: fakeTree{
				"cmd/demo/a.go":  importing("gatehouse/gate/gatetest"),
				"gate/lane/a.go": importing("gatehouse/hardware/hardwaretest"),
			},
			want: []string{"cmd/demo/a.go", "gate/lane/a.go"},
		},
		{
			rule: "7 ptyport feeds demonstrations",
			good: fakeTree{
				"cmd/demo/a.go":              importing("gatehouse/hardware/ptyport"),
				"hardware/hardwaretest/a.go": importing("gatehouse/hardware/ptyport"),
				"gate/lane/a_test.go":        importing("gatehouse/hardware/ptyport"),
			},
			bad:  fakeTree{"gate/lane/a.go": importing("gatehouse/hardware/ptyport")},
			want: []string{"gate/lane/a.go"},
		},
	}
}

// featureCases show rule 5.
func featureCases() []ruleCase {
	return []ruleCase{
		{
			rule: "5 features import down",
			good: fakeTree{
				"central/ticket/a.go":       importing("gatehouse/central/programme", "gatehouse/central/pg", "gatehouse/syncproto"),
				"central/roster/a.go":       importing("gatehouse/central/ticket", "gatehouse/central/fleet"),
				"central/staff/a_test.go":   importing("gatehouse/central/programme"),
				"central/media/s3/a.go":     importing("gatehouse/central/media"),
				"central/gateapi/a.go":      importing("gatehouse/central/checkin", "gatehouse/central/roster"),
				"central/central.go":        importing("gatehouse/central/checkin", "gatehouse/central/admin"),
				"central/report/a.go":       importing("gatehouse/central/pg"),
				"central/checkin/a_test.go": importing("gatehouse/central/roster"),
			},
			bad: fakeTree{
				"central/programme/a.go":   importing("gatehouse/central/ticket"),
				"central/checkin/a.go":     importing("gatehouse/central/roster"),
				"central/ticket/b.go":      importing("gatehouse/central/web"),
				"central/fleet/a_test.go":  importing("gatehouse/central/gateapi"),
				"central/staff/a.go":       importing("gatehouse/central"),
				"central/notify/live/a.go": importing("gatehouse/central/programme"),
			},
			want: []string{
				"central/checkin/a.go", "central/fleet/a_test.go", "central/notify/live/a.go",
				"central/programme/a.go", "central/staff/a.go", "central/ticket/b.go",
			},
		},
		{
			rule: "5 a table has one writer",
			good: fakeTree{
				"central/ticket/store.go":     coding("const a = `INSERT INTO tickets (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET x = 1`"),
				"central/ticket/store_b.go":   coding("const b = `UPDATE tickets SET x = 1`"),
				"central/report/store.go":     coding("const a = `SELECT id FROM tickets`"),
				"central/checkin/store.go":    coding("const a = `SELECT id FROM tickets FOR UPDATE SKIP LOCKED`"),
				"central/checkin/a_test.go":   coding("const t = `DELETE FROM tickets`"),
				"central/registration/a.go":   coding("// UPDATE tickets is not ours to do.", "const a = `update tickets by hand`"),
				"central/fleet/store.go":      coding("var a = pgx.Identifier{`gates`}"),
				"central/programme/store.go":  coding("const a = `DELETE FROM sessions`"),
				"central/pg/anything.go":      coding("const a = `INSERT INTO tickets`"),
				"central/programme/prose.go":  coding("const a = `the last UPDATE`"),
				"central/checkin/outcomes.go": coding("const a = `INSERT INTO outcomes`"),
			},
			bad: fakeTree{
				"central/roster/store.go":  coding("const a = `DELETE FROM\n sessions WHERE x`"),
				"central/staff/store.go":   coding("var a = pgx.Identifier{`public`, `gates`}"),
				"central/report/store2.go": coding("const a = `TRUNCATE report_cache`"),
			},
			want: []string{
				"central/fleet/store.go", "central/programme/store.go", "central/report/store2.go",
				"central/roster/store.go", "central/staff/store.go",
			},
		},
	}
}

// surfaceCases show rule 6.
func surfaceCases() []ruleCase {
	return []ruleCase{
		{
			rule: "6 surfaces show features",
			good: fakeTree{
				"central/admin/a.go":        importing("gatehouse/central/ticket", "gatehouse/central/web", "gatehouse/syncproto", "net/http"),
				"central/admin/a_test.go":   importing("gatehouse/central/pgtest", "github.com/jackc/pgx/v5"),
				"central/admin/pages/a.go":  importing("gatehouse/central/admin"),
				"central/portal/a.go":       importing("gatehouse/hardware/qrdraw"),
				"central/central.go":        importing("gatehouse/central/admin", "gatehouse/central/portal"),
				"central/ticket/store.go":   importing("database/sql"),
				"central/gateapi/a_test.go": importing("gatehouse/central"),
			},
			bad: fakeTree{
				"central/api/a.go":         importing("gatehouse/central/admin"),
				"central/api/a_test.go":    importing("gatehouse/central/portal"),
				"central/gateapi/a.go":     importing("gatehouse/central/pg"),
				"central/gateapi/store.go": importing("github.com/jackc/pgx/v5"),
				"central/portal/b.go":      importing("database/sql"),
				"central/portal/c.go":      importing("gatehouse/migrations"),
			},
			want: []string{
				"central/api/a.go", "central/api/a_test.go", "central/gateapi/a.go", "central/gateapi/store.go",
				"central/portal/b.go", "central/portal/c.go",
			},
		},
	}
}
