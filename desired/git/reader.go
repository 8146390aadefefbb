package git

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
)

// objectReader is a running `git cat-file --batch`.
type objectReader struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	stop context.CancelFunc
}

func (r *Repo) startReader() (*objectReader, error) {
	ctx, stop := context.WithCancel(context.Background())
	cmd := r.command(ctx, "", "cat-file", "--batch")
	in, err := cmd.StdinPipe()
	if err != nil {
		stop()
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		stop()
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		stop()
		return nil, fmt.Errorf("git cat-file: %w", err)
	}
	return &objectReader{cmd: cmd, in: in, out: bufio.NewReaderSize(out, 64<<10), stop: stop}, nil
}

func (o *objectReader) close() error {
	o.in.Close()
	defer o.stop()
	return o.cmd.Wait()
}

func (r *Repo) object(ctx context.Context, h Hash, kind string, limit int64) ([]byte, error) {
	if !hashPattern.MatchString(string(h)) {
		return nil, fmt.Errorf("object %q: no full hash", h)
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.batch == nil {
		batch, err := r.startReader()
		if err != nil {
			return nil, err
		}
		r.batch = batch
	}
	stop := context.AfterFunc(ctx, r.batch.stop)
	content, err := r.batch.read(h, kind, limit)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil && !isAnswer(err) {
		// The conversation is out of step: the next reader starts a new one.
		r.batch.stop()
		r.batch.close()
		r.batch = nil
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}
	return content, err
}

// answerError is a well-formed answer of git that is not the object.
type answerError struct{ error }

func (e answerError) Unwrap() error { return e.error }

func isAnswer(err error) bool {
	_, ok := err.(answerError)
	return ok
}

func (o *objectReader) read(h Hash, kind string, limit int64) ([]byte, error) {
	if _, err := fmt.Fprintln(o.in, h); err != nil {
		return nil, fmt.Errorf("object %s: %w", h.Short(), err)
	}
	header, err := o.out.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", h.Short(), err)
	}
	f := strings.Fields(header)
	if len(f) == 2 && f[1] == "missing" {
		return nil, answerError{fmt.Errorf("object %s: %w", h.Short(), ErrNotFound)}
	}
	if len(f) != 3 {
		return nil, fmt.Errorf("object %s: git answered %q", h.Short(), header)
	}
	size, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil || size < 0 {
		return nil, fmt.Errorf("object %s: git answered %q", h.Short(), header)
	}
	if f[1] != kind || size > limit {
		if _, err := io.CopyN(io.Discard, o.out, size+1); err != nil {
			return nil, fmt.Errorf("object %s: %w", h.Short(), err)
		}
		if f[1] != kind {
			return nil, answerError{fmt.Errorf("object %s: is a %s, expected a %s", h.Short(), f[1], kind)}
		}
		return nil, answerError{fmt.Errorf("object %s: has %d bytes, more than the %d that are read", h.Short(), size, limit)}
	}
	content := make([]byte, size+1)
	if _, err := io.ReadFull(o.out, content); err != nil {
		return nil, fmt.Errorf("object %s: %w", h.Short(), err)
	}
	return content[:size:size], nil
}
