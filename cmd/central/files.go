package main

import (
	"log/slog"

	"golang.org/x/sys/unix"
)

// filesBeside is how many files central has open beside live streams: gates that wait,
// requests, the database.
const filesBeside = 1000

// tellFiles tells the log where this process may not have as many files open as so many
// live streams take: who comes then would be kept waiting instead of being refused.
func tellFiles(logger *slog.Logger, live int) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		logger.Warn("limit of open files is not known", "error", err)
		return
	}
	if need := uint64(live) + filesBeside; limit.Max < need { // Go has raised the limit to Max
		logger.Warn("fewer files may be open than live streams need; raise the limit (LimitNOFILE=, ulimit -n) or lower --live-max", "may", limit.Max, "need", need)
	}
}
