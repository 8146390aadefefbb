package opa

import (
	"context"
	"errors"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
)

// store is the data document for evaluation. It is read only; a transaction is the View of one change on it.
type store struct {
	storage.WritesNotSupported
	storage.PolicyNotSupported
	storage.TriggersNotSupported
}

// View is the data that one change sees: the data files and, each only by its name, what is the change's own.
type View struct {
	Root  ast.Object
	Extra map[string]func() (*ast.Term, error)
}

// ID makes a View a storage.Transaction.
func (*View) ID() uint64 { return 0 }

func (store) NewTransaction(context.Context, ...storage.TransactionParams) (storage.Transaction, error) {
	return nil, errors.New("store: views are made for a change")
}

func (store) Commit(context.Context, storage.Transaction) error { return nil }

func (store) Abort(context.Context, storage.Transaction) {}

func (store) Truncate(context.Context, storage.Transaction, storage.TransactionParams, storage.Iterator) error {
	return errors.New("store: read only")
}

// Read returns the ast.Value at a path.
func (store) Read(_ context.Context, txn storage.Transaction, at storage.Path) (any, error) {
	v, ok := txn.(*View)
	if !ok {
		return nil, fmt.Errorf("store: transaction of type %T", txn)
	}
	var value ast.Value = v.Root
	if len(at) > 0 {
		if own := v.Extra[at[0]]; own != nil {
			t, err := own()
			if err != nil {
				return nil, err
			}
			value, at = t.Value, at[1:]
		}
	}
	for _, step := range at {
		next, err := child(value, step)
		if err != nil {
			return nil, err
		}
		value = next
	}
	return value, nil
}

var errNotFound = &storage.Error{Code: storage.NotFoundErr, Message: "no such data"}

func child(v ast.Value, step string) (ast.Value, error) {
	switch v := v.(type) {
	case ast.Object:
		if t := v.Get(ast.StringTerm(step)); t != nil {
			return t.Value, nil
		}
	case *ast.Array:
		for i := range v.Len() {
			if fmt.Sprint(i) == step {
				return v.Elem(i).Value, nil
			}
		}
	}
	return nil, errNotFound
}
