// Command gitgate judges Kubernetes manifests by policies. This package alone reads flags and the environment, writes to stdout
// and stderr, and exits; what it says of a manifest is made elsewhere.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	_ "gitgate.dev/gitgate/cmd/gitgate/gc"
)

// The exit codes, for every subcommand and every output format.
const (
	exitOK       = 0
	exitDenied   = 1 // a policy that denies is broken, or a manifest is malformed
	exitUsage    = 2 // flags, configuration, nothing to check
	exitUnjudged = 3 // could not tell: unreadable, interrupted, a bug
)

func main() {
	// A reader that leaves (gitgate check | head) is an error of the write, not the end of the process: the exit code still tells.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	// Kubernetes' own packages log as servers do. What they have to say of a manifest, they also return.
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	dir, err := os.Getwd()
	if err != nil {
		fmt.Fprintf(os.Stderr, "gitgate: current folder is not known: %v\n", err)
		os.Exit(exitUnjudged)
	}
	p := &program{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.Getenv, dir: dir}
	os.Exit(p.run(ctx, os.Args[1:]))
}

// program is what a run has of the outside.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) string
	dir            string // the current folder, absolute

	verbose bool
}

// exitError ends the program with a code. err is nil when everything has been said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func exitWith(code int, err error) error { return &exitError{code, err} }

var errInterrupted = errors.New("interrupted before anything was judged")

func usage(format string, args ...any) error { return exitWith(exitUsage, fmt.Errorf(format, args...)) }

// run is the whole program. What panics is a bug of gitgate, and never read as a yes.
func (p *program) run(ctx context.Context, args []string) (code int) {
	defer func() {
		if v := recover(); v != nil {
			code = exitUnjudged
			p.reportPanic(v, debug.Stack())
		}
	}()
	root := p.command()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var exit *exitError
	var path *fs.PathError
	switch {
	case errors.As(err, &path) && path.Path == os.Stdout.Name() && errors.Is(err, syscall.EPIPE):
		return exitUnjudged // the reader has left, and has what it wanted
	case !errors.As(err, &exit): // what could not be written, or is cobra's own
		p.printError(err, "")
		return exitUnjudged
	case exit.err != nil:
		p.printError(exit.err, "")
	}
	return exit.code
}

func (p *program) reportPanic(v any, stack []byte) {
	fmt.Fprintf(p.stderr, "gitgate: a bug in gitgate, nothing was judged: %v\n", v)
	fmt.Fprintf(p.stderr, "gitgate: please report it with the output of gitgate version, the command and, with --verbose, the stack: %s\n", bugsURL)
	if p.verbose {
		fmt.Fprintf(p.stderr, "%s\n", stack)
	}
}

const bugsURL = "https://gitgate.dev/issues"

func (p *program) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "gitgate",
		Short: "A policy gate for Kubernetes clusters that are run by GitOps",
		Long: strings.TrimSpace(`
gitgate judges changes to Kubernetes clusters that are run by GitOps, as the API server would and by your own policies: before the
merge (check, without a cluster and without a network), and again at admission (serve), where a change has to be declared by a commit.

Exit codes: 0 everything passed; 1 something is denied; 2 flags, configuration or nothing to check; 3 could not judge.`),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			return cmd.Help()
		},
	}
	root.SetFlagErrorFunc(flagError)
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.PersistentFlags().BoolVarP(&p.verbose, "verbose", "v", false, "say more: exempted findings, where configuration was found, stacks of bugs")
	root.AddCommand(
		p.checkCommand(), p.diffCommand(), p.traceCommand(), p.verifyCommand(), p.serveCommand(), p.breakglassCommand(), p.installCommand(),
		p.policyCommand(), p.schemaCommand(), p.initCommand(), p.versionCommand(),
	)
	fitHelp(root, widthOf(p.stdout))
	return root
}
