package trust

import (
	"time"

	"gitgate.dev/gitgate/desired/git"
)

// JudgeRaw judges the signature of a raw commit object of the year 2026.
func JudgeRaw(r *Rules, raw []byte) Evidence {
	return r.signature(raw, git.Commit{Committer: git.Person{When: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}})
}
