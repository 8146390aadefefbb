package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"time"

	"gitgate.dev/gitgate/policies/bundle"
)

// beside is a folder of policies without a gitgate.yaml: it has one that names files.
type beside struct {
	fs.FS
	files []string
}

func (b beside) Open(name string) (fs.File, error) {
	if name != bundle.FileName {
		return b.FS.Open(name)
	}
	type item struct {
		Path string `json:"path"`
	}
	gate := struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Policies   []item `json:"policies"`
		CEL        struct {
			ImplicitBinding bool `json:"implicitBinding"`
		} `json:"cel"`
	}{APIVersion: "gitgate.dev/v1alpha1", Kind: "Gate"}
	gate.CEL.ImplicitBinding = true
	for _, f := range b.files {
		gate.Policies = append(gate.Policies, item{f})
	}
	text, err := json.Marshal(gate)
	if err != nil {
		return nil, err
	}
	return &writtenFile{bytes.NewReader(text)}, nil
}

// writtenFile is a regular file in memory.
type writtenFile struct{ *bytes.Reader }

func (f *writtenFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *writtenFile) Close() error               { return nil }
func (f *writtenFile) Name() string               { return bundle.FileName }
func (f *writtenFile) Mode() fs.FileMode          { return 0o444 }
func (f *writtenFile) ModTime() time.Time         { return time.Time{} }
func (f *writtenFile) IsDir() bool                { return false }
func (f *writtenFile) Sys() any                   { return nil }
