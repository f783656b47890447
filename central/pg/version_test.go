package pg

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestJudgeVersion(t *testing.T) {
	t.Parallel()
	require.NoError(t, judgeVersion("150000", "15.0"))
	require.NoError(t, judgeVersion("180001", "18.1"))
	require.ErrorContains(t, judgeVersion("140019", "14.19"), "is Postgres 14.19 and Gatehouse needs 15 or later")
	require.Error(t, judgeVersion("fifteen", ""))
}

func TestJitteredStaysWithinItsBounds(t *testing.T) {
	t.Parallel()
	for try := 1; try < 100; try++ {
		require.Less(t, jittered(txBackoffMin, txBackoffMax, try), txBackoffMax)
	}
	require.Less(t, jittered(txBackoffMin, txBackoffMax, 1), txBackoffMin)
}
