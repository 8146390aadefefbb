package cel

import (
	"context"

	"gitgate.dev/gitgate/policies"
)

func (p *policy) blame(ctx context.Context, e *expression, act *activation) policies.Path { return nil }
