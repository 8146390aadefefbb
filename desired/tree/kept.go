package tree

import (
	"sync"

	"gitgate.dev/gitgate/desired/git"
)

// blobs keeps contents that were read, by hash, up to a number of bytes.
type blobs struct {
	mu    sync.Mutex
	kept  map[git.Hash][]byte
	bytes int
}

// maxBlobs bounds the bytes that are kept of a repository's files.
const maxBlobs = 64 << 20

func newBlobs() *blobs { return &blobs{kept: map[git.Hash][]byte{}} }

func (b *blobs) get(h git.Hash) ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	text, ok := b.kept[h]
	return text, ok
}

func (b *blobs) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.kept)
	b.bytes = 0
}

// put keeps text, and forgets others at random when there is no room: which ones will be asked again is not known.
func (b *blobs) put(h git.Hash, text []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.kept[h]; ok || len(text) > maxBlobs/4 {
		return
	}
	for old, kept := range b.kept {
		if b.bytes+len(text) <= maxBlobs {
			break
		}
		b.bytes -= len(kept)
		delete(b.kept, old)
	}
	b.kept[h] = text
	b.bytes += len(text)
}

// folders keeps the listings that were read, by hash, up to a number of names.
type folders struct {
	mu    sync.RWMutex
	kept  map[git.Hash][]git.Entry
	names int
}

// maxNames bounds the names of files that are kept: some 150 bytes each.
const maxNames = 1 << 20

func newFolders() *folders { return &folders{kept: map[git.Hash][]git.Entry{}} }

func (f *folders) get(h git.Hash) ([]git.Entry, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	entries, ok := f.kept[h]
	return entries, ok
}

func (f *folders) put(h git.Hash, entries []git.Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.kept[h]; ok {
		return
	}
	for old, kept := range f.kept {
		if f.names+len(entries) <= maxNames {
			break
		}
		f.names -= len(kept)
		delete(f.kept, old)
	}
	f.kept[h] = entries
	f.names += len(entries)
}
