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

// Requests are checked by the rules of OpenAPI 3.0, so nothing may be in the document that
// only a later one knows.
func TestTheDocumentIsReadTheSameByTheRulesOf30(t *testing.T) {
	doc, err := Document(t.Context())
	require.NoError(t, err)
	for _, route := range operationsOf(doc) {
		require.False(t, route.Spec.IsOpenAPI31OrLater())
		require.NoError(t, route.Spec.Validate(t.Context()))
		break // it is the same in all
	}
	require.True(t, doc.IsOpenAPI31OrLater(), "what is served is as it was")
	doc.Components.Schemas["Key"].Value.Const = "x"
	for _, route := range operationsOf(doc) {
		require.Error(t, route.Spec.Validate(t.Context()), "what only 3.1 has is found")
		break
	}
}
