package api

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheDocumentIsValid(t *testing.T) {
	doc, err := Document(t.Context())
	require.NoError(t, err)
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			require.NotEmpty(t, op.OperationID, "%s %s", method, path)
			require.NotEmpty(t, op.Summary, "%s %s", method, path)
			require.NotEmpty(t, op.Tags, "%s %s", method, path)
			require.NotNil(t, op.Responses.Default(), "%s %s", method, path)
		}
	}
}
