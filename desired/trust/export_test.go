package trust

import "time"

// JudgeRaw judges the signature of a raw commit object of the year 2026.
func JudgeRaw(r *Rules, raw []byte) Evidence {
	return r.signature(raw, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
}
