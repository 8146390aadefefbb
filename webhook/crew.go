package webhook

import "time"

// crew runs jobs on goroutines that are kept for a while: judging needs a deep stack, and a new goroutine would grow and copy its own each
// time. It bounds nothing; who gives it jobs does.
type crew struct{ jobs chan func() }

// crewIdle is how long a goroutine waits for its next job.
const crewIdle = 30 * time.Second

func newCrew() crew { return crew{jobs: make(chan func())} }

// do starts a job, which must not panic, and does not wait for it.
func (c crew) do(job func()) {
	select {
	case c.jobs <- job:
	default:
		go c.work(job)
	}
}

func (c crew) work(job func()) {
	idle := time.NewTimer(crewIdle)
	defer idle.Stop()
	for {
		job()
		idle.Reset(crewIdle)
		select {
		case job = <-c.jobs:
		case <-idle.C:
			return
		}
	}
}
