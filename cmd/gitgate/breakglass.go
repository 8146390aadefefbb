package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"gitgate.dev/gitgate/breakglass"
	"gitgate.dev/gitgate/policies/bundle"
	"gitgate.dev/gitgate/report"
)

var (
	grantsResource    = schema.GroupVersionResource{Group: breakglass.Group, Version: breakglass.Version, Resource: breakglass.GrantResource}
	approvalsResource = schema.GroupVersionResource{Group: breakglass.Group, Version: breakglass.Version, Resource: breakglass.ApprovalResource}
	reviewsResource   = schema.GroupVersionResource{Group: "authentication.k8s.io", Version: "v1", Resource: "selfsubjectreviews"}
)

// breakGlassRules are the rules of grants as gitgate.yaml says them.
func breakGlassRules(c *bundle.Config) breakglass.Rules {
	maximum, err := time.ParseDuration(c.BreakGlass.Maximum)
	if err != nil {
		maximum = breakglass.DefaultMaximum // nothing is written; what is written has been checked
	}
	return breakglass.Rules{Maximum: maximum, Approvals: c.BreakGlass.Approvals}
}

func (p *program) breakglassCommand() *cobra.Command {
	var kube kubeFlags
	cmd := &cobra.Command{
		Use:   "breakglass",
		Short: "Let a person change the cluster by hand, for a short time",
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			return usage("breakglass: expected a subcommand: open, approve NAME, close NAME, or list")
		},
	}
	kube.add(cmd.PersistentFlags())
	cmd.AddCommand(p.breakglassOpenCommand(&kube), p.breakglassApproveCommand(&kube), p.breakglassCloseCommand(&kube), p.breakglassListCommand(&kube))
	return cmd
}

func (p *program) breakglassOpenCommand(kube *kubeFlags) *cobra.Command {
	var scopes []string
	var long time.Duration
	var reason string
	cmd := &cobra.Command{
		Use:     "open --scope NAMESPACE/KIND/NAME --for TIME --reason TEXT",
		Short:   "Make a grant for yourself, and print its name",
		Example: "  gitgate breakglass open --scope shop/Deployment/web --for 30m --reason INC-42",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var items []any
			for _, text := range scopes {
				s, err := breakglass.ParseScope(text)
				if err != nil {
					return usage("--scope: %w", err)
				}
				items = append(items, map[string]any{"namespace": s.Namespace, "kind": s.Kind, "name": s.Name})
			}
			switch {
			case len(items) == 0:
				return usage("breakglass open: --scope is not given: expected NAMESPACE/KIND/NAME, such as shop/Deployment/web")
			case strings.TrimSpace(reason) == "":
				return usage("breakglass open: --reason is not given: say why, such as the number of the incident")
			case long < time.Second || long > breakglass.HardMaximum:
				return usage("--for %s: expected a time of at least 1s and at most %s", long, breakglass.HardMaximum)
			}
			client, person, err := p.person(cmd.Context(), kube)
			if err != nil {
				return err
			}
			made, err := client.Resource(grantsResource).Create(cmd.Context(), &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": grantsResource.GroupVersion().String(), "kind": breakglass.GrantKind.Kind,
				"metadata": map[string]any{"generateName": "breakglass-"},
				"spec":     map[string]any{"person": person, "reason": reason, "duration": wholeSeconds(long), "scope": items},
			}}, metav1.CreateOptions{FieldManager: "gitgate-breakglass"})
			if err != nil {
				return answered("open", err)
			}
			fmt.Fprintf(p.stderr, "%s may change %s until %s: %s\n", report.Line(person), strings.Join(scopes, ", "), made.GetCreationTimestamp().Add(long).UTC().Format(time.RFC3339), report.Line(reason))
			fmt.Fprintf(p.stderr, "it may have to be approved by another person: gitgate breakglass approve %s\n", made.GetName())
			_, err = fmt.Fprintln(p.stdout, made.GetName())
			return err
		},
	}
	cmd.Flags().StringArrayVar(&scopes, "scope", nil, "what may be changed: NAMESPACE/KIND/NAME, * for every kind or name; may be repeated")
	cmd.Flags().DurationVar(&long, "for", 30*time.Minute, "how long")
	cmd.Flags().StringVar(&reason, "reason", "", "why, such as the number of the incident; it stays on record")
	return cmd
}

// wholeSeconds writes a duration in whole seconds, as the CustomResourceDefinition takes it.
func wholeSeconds(d time.Duration) string {
	return fmt.Sprintf("%dh%dm%ds", int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60)
}

func (p *program) breakglassApproveCommand(kube *kubeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "approve NAME",
		Short: "Agree to another person's grant",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("breakglass approve: expected the name of one grant, got %d arguments", len(args))
			}
			client, person, err := p.person(cmd.Context(), kube)
			if err != nil {
				return err
			}
			found, err := client.Resource(grantsResource).Get(cmd.Context(), args[0], metav1.GetOptions{})
			if err != nil {
				return answered("approve", err)
			}
			g, err := breakglass.ParseGrant(asObject(found.Object))
			if err != nil {
				return exitWith(exitDenied, err)
			}
			if g.Person == person {
				return exitWith(exitDenied, fmt.Errorf("%s asks for this grant and cannot approve it: another person has to", report.Line(person)))
			}
			_, err = client.Resource(approvalsResource).Create(cmd.Context(), &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": approvalsResource.GroupVersion().String(), "kind": breakglass.ApprovalKind.Kind,
				"metadata": map[string]any{"generateName": args[0] + "-"},
				"spec":     map[string]any{"breakGlass": g.Name, "uid": g.UID, "approver": person},
			}}, metav1.CreateOptions{FieldManager: "gitgate-breakglass"})
			if err != nil {
				return answered("approve", err)
			}
			_, err = fmt.Fprintf(p.stderr, "%s approves %s of %s: %s\n", report.Line(person), g.Name, report.Line(g.Person), report.Line(g.Reason))
			return err
		},
	}
}

func (p *program) breakglassCloseCommand(kube *kubeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "close NAME",
		Short: "End a grant before its time",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("breakglass close: expected the name of one grant, got %d arguments", len(args))
			}
			client, err := dynamicClient(kube)
			if err != nil {
				return err
			}
			if _, err := client.Resource(grantsResource).Patch(cmd.Context(), args[0], types.MergePatchType, []byte(`{"spec":{"closed":true}}`), metav1.PatchOptions{FieldManager: "gitgate-breakglass"}); err != nil {
				return answered("close", err)
			}
			_, err = fmt.Fprintf(p.stderr, "%s is closed\n", args[0])
			return err
		},
	}
}

// grantOutput is one grant in `gitgate breakglass list -o json`.
type grantOutput struct {
	Name      string    `json:"name"`
	Person    string    `json:"person"`
	Reason    string    `json:"reason"`
	Scope     []string  `json:"scope"`
	Created   time.Time `json:"created"`
	Until     time.Time `json:"until"`
	State     string    `json:"state"`
	Approvers []string  `json:"approvers"`
}

func (p *program) breakglassListCommand(kube *kubeFlags) *cobra.Command {
	var format string
	var flags configFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the grants of the cluster: who, what, why, until when",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "table" && format != "json" {
				return usage("-o %s: expected table or json", format)
			}
			rules, err := p.grantRules(flags)
			if err != nil {
				return err
			}
			client, err := dynamicClient(kube)
			if err != nil {
				return err
			}
			all, err := p.grants(cmd.Context(), client, rules)
			if err != nil {
				return err
			}
			if format == "json" {
				return writeJSON(p.stdout, all)
			}
			w := tabwriter.NewWriter(p.stdout, 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tSTATE\tPERSON\tSCOPE\tUNTIL\tAPPROVED BY\tREASON")
			for _, g := range all {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", g.Name, g.State, report.Line(g.Person), report.Line(strings.Join(g.Scope, " ")),
					g.Until.UTC().Format(time.RFC3339), orDash(report.Line(strings.Join(g.Approvers, " "))), report.Line(g.Reason))
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table or json")
	cmd.Flags().StringVar(&flags.file, "config", "", "gitgate.yaml with the rules of grants (default: from here up to the Git root; without one, the defaults)")
	return cmd
}

// grantRules are those of the gitgate.yaml that is found, or the defaults.
func (p *program) grantRules(flags configFlags) (breakglass.Rules, error) {
	file, err := p.findConfig(flags.file, nil)
	if err != nil || file == "" {
		return breakglass.Rules{}, err
	}
	c, err := p.decodeConfig(file)
	if err != nil {
		return breakglass.Rules{}, err
	}
	return breakGlassRules(c), nil
}

// grants lists what the cluster has, the newest first. An object that is no grant is told and left out.
func (p *program) grants(ctx context.Context, client dynamic.Interface, rules breakglass.Rules) ([]grantOutput, error) {
	list, err := client.Resource(grantsResource).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, answered("list", err)
	}
	words, err := client.Resource(approvalsResource).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, answered("list", err)
	}
	var approvals []breakglass.Approval
	for _, item := range words.Items {
		if a, err := breakglass.ParseApproval(asObject(item.Object)); err == nil {
			approvals = append(approvals, *a)
		}
	}
	out := []grantOutput{}
	for _, item := range list.Items {
		g, err := breakglass.ParseGrant(asObject(item.Object))
		if err != nil {
			fmt.Fprintf(p.stderr, "gitgate: %s\n", report.Line(err.Error()))
			continue
		}
		state, _ := g.State(rules, approvals, time.Now())
		o := grantOutput{Name: g.Name, Person: g.Person, Reason: g.Reason, Created: g.Created, Until: g.Until(rules), State: string(state), Approvers: []string{}}
		for _, s := range g.Scope {
			o.Scope = append(o.Scope, s.String())
		}
		for _, a := range approvals {
			if a.Grant == g.Name && a.UID == g.UID {
				o.Approvers = append(o.Approvers, a.Approver)
			}
		}
		out = append(out, o)
	}
	return out, nil
}

func dynamicClient(kube *kubeFlags) (dynamic.Interface, error) {
	config, err := kube.client()
	if err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, usage("cluster: %w", err)
	}
	return client, nil
}

// person is a client of the cluster, and who the cluster takes it for.
func (p *program) person(ctx context.Context, kube *kubeFlags) (dynamic.Interface, string, error) {
	client, err := dynamicClient(kube)
	if err != nil {
		return nil, "", err
	}
	review, err := client.Resource(reviewsResource).Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": reviewsResource.GroupVersion().String(), "kind": "SelfSubjectReview",
	}}, metav1.CreateOptions{})
	if err != nil {
		return nil, "", unreachable("who you are", err)
	}
	name, found, err := unstructured.NestedString(review.Object, "status", "userInfo", "username")
	if err != nil || !found || name == "" {
		return nil, "", unreachable("who you are", errors.New("the answer names nobody"))
	}
	return client, name, nil
}

// answered tells a refusal of the cluster from one that it could not be asked.
func answered(verb string, err error) error {
	var status apierrors.APIStatus
	switch {
	case apierrors.IsNotFound(err) && errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Name == "":
		return exitWith(exitUsage, fmt.Errorf("breakglass %s: the cluster has no %s: install the chart's CustomResourceDefinitions first", verb, grantsResource.GroupResource()))
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsNotFound(err), apierrors.IsBadRequest(err), apierrors.IsConflict(err):
		return exitWith(exitDenied, fmt.Errorf("breakglass %s: %w", verb, err))
	default:
		return unreachable("breakglass "+verb, err)
	}
}
