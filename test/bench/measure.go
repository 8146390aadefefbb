package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// benchCase is one job done by both sides. A case without a peer shows figures only.
type benchCase struct {
	name         string
	ours, theirs command
}

// command is a program with its arguments, and the exit codes that mean that it did its job.
type command struct {
	args []string
	dir  string
	env  []string // besides that of this process
	ok   []int
}

// figures is what one run cost: seconds, seconds, MiB; and what a process that goes on has in memory after it, MiB.
type figures struct{ wall, cpu, peak, resident float64 }

// measure runs both sides in turn, so that a machine that slows down slows both, and drops the first round, which fills caches.
func (c benchCase) measure(ctx context.Context, rounds int) (ours, theirs []figures, err error) {
	for i := range rounds + 1 {
		for _, side := range []struct {
			cmd  command
			into *[]figures
		}{{c.ours, &ours}, {c.theirs, &theirs}} {
			if len(side.cmd.args) == 0 {
				continue
			}
			f, err := side.cmd.run(ctx)
			if err != nil {
				return nil, nil, err
			}
			if i > 0 {
				*side.into = append(*side.into, f)
			}
		}
	}
	return ours, theirs, nil
}

func (c command) run(ctx context.Context) (figures, error) {
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Dir, cmd.Env = c.dir, append(os.Environ(), c.env...)
	var said tail
	cmd.Stderr = &said
	start := time.Now()
	err := cmd.Run()
	wall := time.Since(start)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return figures{}, err
	}
	code := cmd.ProcessState.ExitCode()
	if code != 0 && !slices.Contains(c.ok, code) {
		return figures{}, fmt.Errorf("%v: exit code %d\n%s", c.args, code, said.text)
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return figures{}, errors.New("this system does not say what a process used")
	}
	return figures{
		wall: wall.Seconds(),
		cpu:  (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(),
		peak: float64(usage.Maxrss) / 1024,
	}, nil
}

// tail keeps the last of what a program says, for when it fails.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-4096):]
	return len(p), nil
}

// figure is what is shown of a run, and how.
type figure struct {
	name, format string
	of           func(figures) float64
}

func show(c benchCase, ours, theirs []figures) {
	showFigures(c.name, ours, theirs, []figure{
		{"wall s", "%.3f", func(f figures) float64 { return f.wall }},
		{"cpu s", "%.3f", func(f figures) float64 { return f.cpu }},
		{"peak MiB", "%.0f", func(f figures) float64 { return f.peak }},
	})
}

// showFigures prints a line a figure: medians of both sides, and of the ratios taken round by round with their least and greatest.
func showFigures(name string, ours, theirs []figures, shown []figure) {
	for _, f := range shown {
		a := pick(ours, f.of)
		line := fmt.Sprintf("%-44s %-8s %9s", name, f.name, fmt.Sprintf(f.format, median(a)))
		if len(theirs) > 0 {
			b := pick(theirs, f.of)
			ratios := make([]float64, len(a))
			for i := range a {
				ratios[i] = a[i] / b[i]
			}
			line += fmt.Sprintf(" %9s %9.2f   %.2f to %.2f", fmt.Sprintf(f.format, median(b)), median(ratios), slices.Min(ratios), slices.Max(ratios))
		} else {
			line += fmt.Sprintf(" %9s %9s   ("+f.format+" to "+f.format+")", "", "", slices.Min(a), slices.Max(a))
		}
		fmt.Println(line)
		name = ""
	}
}

func pick(all []figures, of func(figures) float64) []float64 {
	out := make([]float64, len(all))
	for i, f := range all {
		out[i] = of(f)
	}
	return out
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}
