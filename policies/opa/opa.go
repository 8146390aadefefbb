// Package opa is what the kinds of policy that are written in Rego share: objects as Rego values, made once; the guard of builtins; one
// query, bounded in time; and what rules look at. It knows OPA and the nouns of policies, and neither a kind of policy nor how one
// lays out its documents.
package opa

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/cache"
)

// DefaultTimeout bounds one query of a kind that has no other bound.
const DefaultTimeout = 10 * time.Second

// Query is what is asked of compiled rules, and of what.
type Query struct {
	Compiler *ast.Compiler
	Body     ast.Body
	Input    *ast.Term
	Data     *View
	Virtual  topdown.VirtualCache // shared by queries with the same input and data; nil for none
	Values   cache.InterQueryValueCache
	Strict   bool // a builtin that fails is an error, else it is undefined
	Timeout  time.Duration
}

// tooLong is the error of a query that took more than so much time.
type tooLong time.Duration

func (d tooLong) Error() string {
	return fmt.Sprintf("evaluation took too long: more than %s", time.Duration(d))
}

// Run returns the last answer of the query, and the builtins that failed on the way. That there is no answer is an error, as is
// that time ran out.
func (q Query) Run(ctx context.Context) (topdown.QueryResult, []topdown.Error, error) {
	ctx, stop := context.WithTimeoutCause(ctx, q.Timeout, tooLong(q.Timeout))
	defer stop()
	cancel := topdown.NewCancel()
	defer context.AfterFunc(ctx, cancel.Cancel)()
	var undefined []topdown.Error
	query := topdown.NewQuery(q.Body).
		WithCompiler(q.Compiler).
		WithStore(store{}).
		WithTransaction(q.Data).
		WithInput(q.Input).
		WithInterQueryBuiltinValueCache(q.Values).
		WithStrictBuiltinErrors(q.Strict).
		WithBuiltinErrorList(&undefined).
		WithCancel(cancel)
	if q.Virtual != nil {
		query = query.WithVirtualCache(q.Virtual)
	}
	var out topdown.QueryResult
	err := query.Iter(ctx, func(r topdown.QueryResult) error {
		out = r
		return nil
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, nil, context.Cause(ctx)
	case err != nil:
		return nil, nil, err
	case out == nil:
		return nil, nil, errors.New("query has no answer")
	}
	return out, undefined, nil
}
