package policies

// PlansKept counts what the engine remembers of the kinds it met.
func (e *Engine) PlansKept() int {
	n := 0
	e.plans.Range(func(any, any) bool { n++; return true })
	return n
}
