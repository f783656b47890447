package privatepg

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	// logBytesMax is the size at which postgres.log is moved to
	// postgres.log.1, whose earlier content is given up.
	logBytesMax = 8 << 20
	// tailBytesMax and tailLinesMax bound what an error quotes of a log.
	tailBytesMax = 4 << 10
	tailLinesMax = 8
)

// openLog opens the log for appending, as Postgres and the keeper need it.
func openLog(cfg Config, own owner) (*os.File, error) {
	file, err := os.OpenFile(cfg.logFile(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err == nil {
		err = own.chown(cfg.logFile())
	}
	if err != nil {
		return nil, fmt.Errorf("open Postgres log: %w", err)
	}
	return file, nil
}

// trimLog moves a log that has grown past limit aside. It copies and truncates
// instead of renaming, since running processes have the file open; lines that
// come in between are lost.
func trimLog(cfg Config, limit int64) error {
	info, err := os.Stat(cfg.logFile())
	if errors.Is(err, os.ErrNotExist) || (err == nil && info.Size() <= limit) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("trim Postgres log: %w", err)
	}
	from, err := os.Open(cfg.logFile())
	if err != nil {
		return fmt.Errorf("trim Postgres log: %w", err)
	}
	defer from.Close()
	to, err := os.OpenFile(cfg.logFile()+".1", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("trim Postgres log: %w", err)
	}
	_, err = io.Copy(to, io.LimitReader(from, info.Size()))
	if err := errors.Join(err, to.Close(), os.Truncate(cfg.logFile(), 0)); err != nil {
		return fmt.Errorf("trim Postgres log: %w", err)
	}
	return nil
}

// logSize is where the log ends now, for a later logTail.
func logSize(cfg Config) int64 {
	info, err := os.Stat(cfg.logFile())
	if err != nil {
		return 0
	}
	return info.Size()
}

// logTail returns the last lines of the log that were written past from, in
// one line. A log that cannot be read is quoted as what is wrong with it.
func logTail(cfg Config, from int64) string {
	file, err := os.Open(cfg.logFile())
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	size := logSize(cfg)
	if from > size { // The log was trimmed meanwhile.
		from = 0
	}
	from = max(from, size-tailBytesMax)
	content, err := io.ReadAll(io.NewSectionReader(file, from, size-from))
	if err != nil {
		return err.Error()
	}
	return lastLines(string(content))
}

// lastLines returns the last lines of text joined into one.
func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	lines = lines[max(0, len(lines)-tailLinesMax):]
	return strings.Join(lines, " | ")
}
