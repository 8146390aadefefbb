package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"gitgate.dev/gitgate/document"
	"gitgate.dev/gitgate/manifest"
	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policies/opa"
	"gitgate.dev/gitgate/report"
	"gitgate.dev/gitgate/validate"
)

var errFailFast = errors.New("--fail-fast, and an object is denied")

// judge runs the check and writes every report. The exit code is that of the verdict, whatever the format.
func (p *program) judge(ctx context.Context, f checkFlags, l *loaded, outs []output, paths []string, parser *document.Parser) error {
	failOnWarn := f.failOn == "warn"
	root := gitRoot(p.dir)
	if root == "" {
		root = l.dir
	}
	options := report.Options{Version: buildVersion(), Verbose: p.verbose, FailOnWarn: failOnWarn, ByControl: f.by == "control"}
	if root != "" {
		options.Root, options.Dir = filepath.ToSlash(root), filepath.ToSlash(p.dir)
	}
	options.Width = widthOf(p.stdout)
	reports, err := p.openReports(outs, options, p.colored(f.color, p.stdout))
	if err != nil {
		return err
	}
	defer reports.discard()

	sum := report.Summary{Digest: l.Digest, Policies: l.policies(), FailOnWarn: failOnWarn}
	progress := p.newProgress()
	run := validate.Options{
		Paths: paths, Stdin: p.stdin, StdinFilename: f.stdinFilename, Exclude: excluded(l),
		Engine: l.Engine, Rules: l.rules, Known: l.Schemas,
		Limits:     manifest.Limits{Document: l.Config.Limits.DocumentSize, Depth: l.Config.Limits.Depth},
		AllowEmpty: f.allowEmpty, Progress: progress.files,
		Online: slices.ContainsFunc(l.Config.Rego.AllowBuiltins, opa.Online),
	}
	if parser != nil {
		run.Plain = &validate.Plain{Parse: parser.Parse, Reads: parser.Reads}
	}
	met, runErr := validate.Run(ctx, run, func(d policies.Decision) error {
		sum.Count(&d)
		progress.clear()
		if err := reports.Decision(d); err != nil {
			return err
		}
		if f.failFast && sum.Verdict == policies.Denied {
			return errFailFast
		}
		return nil
	})
	progress.clear()
	if errors.Is(runErr, errFailFast) {
		sum.Stopped, runErr = errFailFast.Error(), nil
	}
	sum.Files, sum.Objects, sum.Elapsed = met.Files, met.Objects, met.Elapsed
	for _, s := range met.Skipped {
		sum.Skipped = append(sum.Skipped, report.Skipped(s))
	}
	return p.conclude(ctx, f, reports, sum, runErr)
}

// policies is everything that findings can name: what the first door says of files, and what the engine asks.
func (l *loaded) policies() []*policies.Policy {
	return append([]*policies.Policy{validate.Policy()}, l.Engine.Policies()...)
}

// conclude ends the reports and finds the exit code.
func (p *program) conclude(ctx context.Context, f checkFlags, reports *reports, sum report.Summary, runErr error) error {
	var usageError *validate.UsageError
	switch {
	case runErr == nil:
		if sum.Verdict == 0 && f.allowEmpty {
			sum.Verdict = policies.Allow
		}
		sum.ExitCode = report.ExitCode(sum.Verdict)
	case ctx.Err() != nil:
		sum.Stopped, sum.ExitCode = "interrupted", exitUnjudged
	case errors.Is(runErr, validate.ErrNothing) || errors.As(runErr, &usageError):
		sum.ExitCode = exitUsage
	default:
		return exitWith(exitUnjudged, runErr)
	}
	if err := reports.Close(sum); err != nil {
		return exitWith(exitUnjudged, err)
	}
	if err := report.WriteSummary(p.stderr, sum); err != nil {
		return exitWith(exitUnjudged, err)
	}
	switch {
	case sum.ExitCode == exitOK:
		return nil
	case errors.Is(runErr, validate.ErrNothing):
		return exitWith(exitUsage, fmt.Errorf("%w; --allow-empty makes that no error", runErr))
	case sum.ExitCode == exitUsage:
		return exitWith(exitUsage, runErr)
	default:
		return exitWith(sum.ExitCode, nil)
	}
}

// excluded is what the check itself is made of: it lies in the repository and is no manifest of it.
func excluded(l *loaded) []validate.Exclusion {
	if l.Config.File == "" {
		return nil
	}
	dir := l.dir
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	out := []validate.Exclusion{{Path: filepath.Join(dir, l.Config.File), Reason: "the configuration of this check"}}
	for _, name := range l.PolicyFiles {
		out = append(out, validate.Exclusion{Path: filepath.Join(dir, filepath.FromSlash(name)), Reason: "policies and schemas of this check"})
	}
	return out
}
