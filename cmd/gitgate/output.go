package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/report"
)

// output is one -o FORMAT[=FILE].
type output struct {
	format string
	file   string // as the user named it; "" for stdout
}

// parseOutputs reads the values of -o; none means text on stdout.
func (p *program) parseOutputs(values []string) ([]output, error) {
	if len(values) == 0 {
		return []output{{format: "text"}}, nil
	}
	var outs []output
	stdout := ""
	files := map[string]bool{}
	for _, v := range values {
		format, file, named := strings.Cut(v, "=")
		if !slices.Contains(report.Formats(), format) {
			return nil, usage("-o %s: format %q is not known, expected one of %s", v, format, strings.Join(report.Formats(), ", "))
		}
		switch {
		case named && file == "":
			return nil, usage("-o %s: names no file, expected -o %s=FILE, or -o %s for stdout", v, format, format)
		case file == "" || file == "-":
			if stdout != "" {
				return nil, usage("-o %s: stdout already has the format %s; write one of them to a file: -o %s=FILE", v, stdout, format)
			}
			stdout, file = format, ""
		case files[p.abs(file)]:
			return nil, usage("-o %s: file %s is named twice, expected a file for each format", v, file)
		default:
			files[p.abs(file)] = true
		}
		outs = append(outs, output{format, file})
	}
	return outs, nil
}

// reports hands each decision to every output. Files come into being at Close, whole or not at all.
type reports struct {
	p     *program
	sinks []openSink
}

type openSink struct {
	output
	sink report.Sink
	temp *os.File // takes the place of the file at the end; nil for the others
	pipe *os.File // written to as it is: a device, a pipe; nil for the others
	gone bool     // nobody reads stdout any more
}

func (p *program) openReports(outs []output, o report.Options, color bool) (*reports, error) {
	r := &reports{p: p}
	for _, out := range outs {
		s := openSink{output: out}
		var w io.Writer = p.stdout
		options := o
		if out.file == "" {
			options.Color = color
		} else {
			options.Width = 0
			f, err := s.open(p.abs(out.file))
			if err != nil {
				r.discard()
				return nil, exitWith(exitUsage, fmt.Errorf("-o %s=%s: file cannot be written: %w", out.format, out.file, cause(err)))
			}
			w = f
		}
		sink, err := report.New(out.format, w, options)
		if err != nil {
			r.sinks = append(r.sinks, s)
			r.discard()
			return nil, exitWith(exitUsage, err)
		}
		s.sink = sink
		r.sinks = append(r.sinks, s)
	}
	return r, nil
}

func (r *reports) Decision(d policies.Decision) error {
	for i := range r.sinks {
		if err := r.sinks[i].tell(func(sink report.Sink) error { return sink.Decision(d) }); err != nil {
			return err
		}
	}
	return nil
}

// Close ends every output and puts the files in their places.
func (r *reports) Close(s report.Summary) error {
	defer r.discard()
	for i := range r.sinks {
		o := &r.sinks[i]
		if err := o.tell(func(sink report.Sink) error { return sink.Close(s) }); err != nil {
			return err
		}
		if o.temp == nil {
			continue
		}
		if err := o.place(r.p.abs(o.file)); err != nil {
			return fmt.Errorf("%s: report cannot be written: %w", o.file, cause(err))
		}
	}
	return nil
}

func (o *openSink) tell(say func(report.Sink) error) error {
	if o.gone {
		return nil
	}
	err := say(o.sink)
	switch {
	case err == nil:
		return nil
	case o.file == "" && errors.Is(err, syscall.EPIPE):
		o.gone = true
		return nil
	case o.file == "":
		return fmt.Errorf("stdout: report cannot be written: %w", err)
	default:
		return fmt.Errorf("%s: report cannot be written: %w", o.file, err)
	}
}

// open makes the file to write to: a new one beside name, or what is there when that is no regular file (/dev/stderr).
func (o *openSink) open(name string) (_ *os.File, err error) {
	info, err := os.Stat(name)
	switch {
	case err == nil && info.IsDir():
		return nil, errors.New("it is a folder")
	case err == nil && !info.Mode().IsRegular():
		o.pipe, err = os.OpenFile(name, os.O_WRONLY, 0)
		return o.pipe, err
	default:
		// Not os.CreateTemp: its mode is not that of the user's umask.
		temp := filepath.Join(filepath.Dir(name), fmt.Sprintf(".%s.%x", filepath.Base(name), rand.Uint64()))
		o.temp, err = os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		return o.temp, err
	}
}

// place renames the finished file over what was there, whose mode it takes.
func (o *openSink) place(name string) error {
	if info, err := os.Stat(name); err == nil {
		if err := o.temp.Chmod(info.Mode().Perm()); err != nil {
			return err
		}
	}
	if err := o.temp.Close(); err != nil {
		return err
	}
	if err := os.Rename(o.temp.Name(), name); err != nil {
		return err
	}
	o.temp = nil
	return nil
}

// discard removes what was not finished.
func (r *reports) discard() {
	for i := range r.sinks {
		if temp := r.sinks[i].temp; temp != nil {
			temp.Close()
			os.Remove(temp.Name())
			r.sinks[i].temp = nil
		}
		if pipe := r.sinks[i].pipe; pipe != nil {
			pipe.Close()
			r.sinks[i].pipe = nil
		}
	}
}

// cause drops the path of a *fs.PathError: the message has the name that the user gave.
func cause(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return link.Err
	}
	return err
}
