package validate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

const (
	// smallFile is up to where a file is read in one piece and judged as one job.
	smallFile = 256 << 10
	// spoolMemory is how much of standard input is kept in memory; what is beyond goes to a temporary file.
	spoolMemory = 4 << 20
	// spoolLimit bounds standard input, so that one that never ends does not fill the disk.
	spoolLimit = 1 << 30
)

// open opens a file of the run, and says how large it is.
func (w *walker) open(f file) (io.ReadCloser, int64, error) {
	if err := w.errs[f.name]; err != nil {
		return nil, 0, err
	}
	if f.stdin {
		return w.stdin.open()
	}
	// Without O_NONBLOCK a file that became a named pipe meanwhile would hold the run forever.
	h, err := os.OpenFile(filepath.FromSlash(f.name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, cause(err)
	}
	info, err := h.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notRegular(info.Mode())
	}
	if err != nil {
		h.Close()
		return nil, 0, cause(err)
	}
	return h, info.Size(), nil
}

// scratch is memory that one worker reads small files into.
type scratch []byte

// slurp reads a small file of about size bytes. It says no when the file turned out to be larger; what it read is in text then.
func (s *scratch) slurp(r io.Reader, size int64) (text []byte, small bool, err error) {
	if need := min(size, smallFile) + 1; int64(cap(*s)) < need {
		*s = make([]byte, need+need/4)
	}
	buf := (*s)[:cap(*s)]
	for n := 0; ; {
		m, err := r.Read(buf[n:])
		n += m
		switch {
		case err == io.EOF || err == nil && int64(n) == size && n < len(buf):
			// A regular file that gives less than was asked for is at its end.
			return buf[:n], n <= smallFile, nil
		case err != nil:
			return nil, false, err
		case n > smallFile:
			return buf[:n], false, nil
		case n == len(buf):
			buf = append(buf, make([]byte, len(buf)+1)...)
			*s = buf
		}
	}
}

// spool keeps standard input, which is read twice.
type spool struct {
	name string
	head []byte
	rest *os.File // nil when head is all
	size int64
}

func newSpool(ctx context.Context, name string, r io.Reader) (*spool, error) {
	r = &untilDone{ctx: ctx, r: r}
	var head bytes.Buffer
	n, err := head.ReadFrom(io.LimitReader(r, spoolMemory))
	if err != nil {
		return nil, cause(err)
	}
	s := &spool{name: name, head: head.Bytes(), size: n}
	if n < spoolMemory {
		return s, nil
	}
	if s.rest, err = os.CreateTemp("", "gitgate-stdin-"); err != nil {
		return nil, fmt.Errorf("standard input cannot be kept: %w", err)
	}
	more, err := io.Copy(s.rest, io.LimitReader(r, spoolLimit-n+1))
	s.size += more
	if err == nil && s.size > spoolLimit {
		err = fmt.Errorf("standard input is larger than %d MiB, expected less", spoolLimit>>20)
	}
	if err != nil {
		s.close()
		return nil, cause(err)
	}
	return s, nil
}

func (s *spool) open() (io.ReadCloser, int64, error) {
	head := bytes.NewReader(s.head)
	if s.rest == nil {
		return io.NopCloser(head), s.size, nil
	}
	return io.NopCloser(io.MultiReader(head, io.NewSectionReader(s.rest, 0, s.size-int64(len(s.head))))), s.size, nil
}

func (s *spool) close() {
	if s.rest != nil {
		s.rest.Close()
		os.Remove(s.rest.Name())
		s.rest = nil
	}
}

// untilDone ends a reader when ctx does, also while it waits for more: nobody types, the other end of a pipe is idle.
type untilDone struct {
	ctx context.Context
	r   io.Reader
	buf []byte // of the read under way, which outlives the call when ctx ends first
}

func (u *untilDone) Read(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, errors.Join(u.ctx.Err(), context.Cause(u.ctx))
	}
	if u.buf == nil {
		u.buf = make([]byte, 64<<10)
	}
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	buf := u.buf[:min(len(u.buf), len(p))]
	go func() {
		n, err := u.r.Read(buf)
		done <- result{n, err}
	}()
	select {
	case r := <-done:
		return copy(p, buf[:r.n]), r.err
	case <-u.ctx.Done():
		return 0, errors.Join(u.ctx.Err(), context.Cause(u.ctx))
	}
}
