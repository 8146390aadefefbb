package apiserver

import "gitgate.dev/gitgate/policies"

func (r *Rules) admitUnserved(o *policies.Object) *Admission { return nil }
