package policies

import "testing"

func TestResourceRulesMatchAsAdmissionRegistrationSays(t *testing.T) {
	for _, tc := range []struct {
		pattern, resource, sub string
		want                   bool
	}{
		{"pods", "pods", "", true},
		{"pods", "pods", "status", false},
		{"pods/*", "pods", "", true},
		{"pods/*", "pods", "status", true},
		{"pods/*", "services", "status", false},
		{"pods/status", "pods", "status", true},
		{"pods/status", "pods", "", false},
		{"*/scale", "deployments", "scale", true},
		{"*/scale", "deployments", "", false},
		{"*", "deployments", "", true},
		{"*", "deployments", "scale", false},
		{"*/*", "deployments", "", true},
		{"*/*", "deployments", "scale", true},
		{"pod", "pods", "", false},
	} {
		t.Run(tc.pattern+" on "+tc.resource+"/"+tc.sub, func(t *testing.T) {
			r := ResourceRule{Groups: []string{"*"}, Versions: []string{"*"}, Resources: []string{tc.pattern}}
			if got := r.matches(Resource{Resource: tc.resource, Subresource: tc.sub}); got != tc.want {
				t.Errorf("matches %v, want %v", got, tc.want)
			}
		})
	}
}
