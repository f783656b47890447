package main

import (
	"bytes"
	"log/slog"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestALimitOfFilesThatIsTooLowIsTold(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&out, nil))
	tellFiles(logger, -filesBeside)
	require.Empty(t, out.String())
	tellFiles(logger, math.MaxInt32)
	require.Contains(t, out.String(), "--live-max")
}
