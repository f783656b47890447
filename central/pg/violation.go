package pg

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// The SQLSTATEs that Gatehouse tells apart (Postgres manual, appendix A).
const (
	NotNullViolation     = "23502"
	ForeignKeyViolation  = "23503"
	UniqueViolation      = "23505"
	CheckViolation       = "23514"
	ExclusionViolation   = "23P01"
	SerializationFailure = "40001"
	DeadlockDetected     = "40P01"
)

// Code returns err's SQLSTATE, or "" if it did not come from the server.
func Code(err error) string {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return server.Code
	}
	return ""
}

// Constraint returns the name of the constraint that err says was violated, or
// "" if it is not about one. A NOT NULL column has no named constraint in the
// server's report; for it the name is "table.column".
func Constraint(err error) string {
	var server *pgconn.PgError
	if !errors.As(err, &server) || !strings.HasPrefix(server.Code, "23") {
		return ""
	}
	if server.Code == NotNullViolation {
		return server.TableName + "." + server.ColumnName
	}
	return server.ConstraintName
}

// MapViolation replaces a violation of a constraint in known by the error that
// stands beside its name, and returns any other error, nil too, as it is. The
// replacement reads as the known error does; errors.Is and errors.As find both
// it and the server's report.
func MapViolation(err error, known map[string]error) error {
	mapped, ok := known[Constraint(err)]
	if !ok {
		return err
	}
	return &violation{meaning: mapped, cause: err}
}

// violation is a constraint violation whose meaning is known.
type violation struct{ meaning, cause error }

func (v *violation) Error() string   { return v.meaning.Error() }
func (v *violation) Unwrap() []error { return []error{v.meaning, v.cause} }
