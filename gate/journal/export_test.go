package journal

import "modernc.org/sqlite"

// TailEntries is tailEntries.
const TailEntries = tailEntries

// FailCommits makes every commit from now on fail, as a disk would.
func (j *Journal) FailCommits() error {
	j.pen.Lock()
	defer j.pen.Unlock()
	return j.pen.w.conn.Raw(func(c any) error {
		c.(sqlite.HookRegisterer).RegisterCommitHook(func() int32 { return 1 })
		return nil
	})
}

// Checkpoint copies the log, as an idle moment would.
func (j *Journal) Checkpoint() error {
	j.pen.Lock()
	defer j.pen.Unlock()
	return j.pen.w.tidy()
}

// CheckVersion is checkVersion.
var CheckVersion = checkVersion
