// Command bench measures gitgate against its peers: whole processes, both sides in turn over the same files, several rounds,
// and prints the ratio with its spread. It builds the peers at pinned versions into the user's cache folder. It knows gitgate
// only as a program; what a single function costs is measured by the Go benchmarks of the packages.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
)

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "rounds that count, after one that does not")
	flag.IntVar(&o.manifests, "manifests", 5000, "manifests in the generated tree")
	flag.IntVar(&o.workloads, "workloads", 1000, "workloads that the policies of Gatekeeper and Kyverno judge")
	flag.IntVar(&o.large, "large", 0, "manifests in a second, larger tree, for linearity and memory (0: none)")
	flag.IntVar(&o.fleet, "fleet", 100_000, "objects in the generated fleet of the pull request (0: none)")
	flag.IntVar(&o.index, "index", 10_000, "objects in the index of the gate that serves (0: none)")
	everything := flag.String("admit-everything", "", "be the webhook that the gate is compared with: ADDRESS,CERTIFICATE,KEY")
	only := flag.String("run", ".", "run only the cases whose name matches this regular expression")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *everything != "" {
		fmt.Fprintln(os.Stderr, "bench:", admitEverything(*everything))
		os.Exit(1)
	}
	if err := run(ctx, o, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct{ rounds, manifests, workloads, large, fleet, index int }

func run(ctx context.Context, o options, only string) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("flag -run: %w", err)
	}
	work, err := os.MkdirTemp("", "gitgate-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	gitgate := filepath.Join(work, "gitgate")
	// As make build does: another program has other pages of its file in memory.
	if err := goTool(ctx, "CGO_ENABLED=0", "build", "-trimpath", "-ldflags=-s -w", "-o", gitgate, "./cmd/gitgate"); err != nil {
		return fmt.Errorf("building gitgate: %w", err)
	}
	cases, err := prepare(ctx, o, work, gitgate, wanted)
	if err != nil {
		return err
	}
	fmt.Printf("%-44s %-8s %9s %9s %9s   %s\n", "case", "figure", "gitgate", "peer", "ratio", "spread of the ratio (gitgate/peer, round by round)")
	for _, c := range cases {
		ours, theirs, err := c.measure(ctx, o.rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		show(c, ours, theirs)
	}
	if o.index > 0 && wanted.MatchString(fmt.Sprintf(servedName, o.index)) {
		return serving(ctx, o, work, gitgate)
	}
	return nil
}
