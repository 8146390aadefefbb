package desired

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gitgate.dev/gitgate/desired/git"
	"gitgate.dev/gitgate/desired/tree"
	"gitgate.dev/gitgate/policies"
)

// Cache keeps rendered states on disk, so that a run that looks at a commit next to one that an earlier run has looked at renders
// only what differs. Its folder can be deleted at any time, and processes may share it: files are written whole under another
// name, and never changed. What it holds is trusted like gitgate itself, so it belongs where only its user can write.
type Cache struct {
	dir   string
	bytes int64
}

const (
	cacheVersion = "gitgate state 4\n"
	cacheSuffix  = ".state"
	maxCached    = 8       // states that are kept
	maxState     = 1 << 32 // bytes of one
)

// DefaultCacheBytes bounds a cache whose size nobody says.
const DefaultCacheBytes = 2 << 30

// OpenCache opens or makes a cache in a folder of its own. bytes bounds its size; 0 means DefaultCacheBytes.
func OpenCache(dir string, bytes int64) (*Cache, error) {
	if bytes <= 0 {
		bytes = DefaultCacheBytes
	}
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("cache: folder %s: expected an absolute path", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	return &Cache{dir: dir, bytes: bytes}, nil
}

// scope is the part of a file's name that says what rendered it: the program's version and everything in the options that
// changes what comes out.
func (r *Renderer) scope() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s%q %q %q %q %q %q %q %q %q", cacheVersion, r.o.Version, r.o.FluxNamespace, r.o.FluxAccount, r.o.ArgoCDNamespace, r.o.Clusters, r.o.Tracking, r.o.InstanceLabel, r.o.InstallationID, r.o.Cluster.Kubernetes)
	fmt.Fprintf(h, "%q", r.o.Cluster.APIVersions)
	for _, s := range r.o.Sources {
		fmt.Fprintf(h, " %q %q %q %q %t %q", s.Name, s.URL, s.Branch, r.sources[s.Name].Path, s.Referenced, s.Label)
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// name is the file of the state at the given commits.
func (r *Renderer) stateName(commits map[string]git.Hash) string {
	h := sha256.New()
	for _, s := range r.o.Sources {
		fmt.Fprintf(h, "%s\n", commits[s.Name])
	}
	return r.scope() + "-" + hex.EncodeToString(h.Sum(nil)[:12]) + cacheSuffix
}

// load finds a cached state: that at the given commits, or else one that was used last. It is nil when there is none that can be
// read: a cache never makes a run fail.
func (c *Cache) load(ctx context.Context, r *Renderer, commits map[string]git.Hash) *State {
	wanted := r.stateName(commits)
	names := []string{wanted}
	for _, f := range c.files() {
		if strings.HasPrefix(f.name, r.scope()+"-") && f.name != wanted {
			names = append(names, f.name)
		}
	}
	for _, name := range names[:min(len(names), 4)] {
		full := filepath.Join(c.dir, name)
		s, err := r.readState(ctx, full)
		if err == nil {
			now := time.Now()
			os.Chtimes(full, now, now) // best effort: it only says which to forget first
			return s
		}
		if errors.Is(err, errDamagedState) {
			os.Remove(full) // it is made again
		}
	}
	return nil
}

// save writes a state, and forgets what is beyond the bounds. Its error says that it could not be written.
func (c *Cache) save(s *State, commits map[string]git.Hash) error {
	parts := s.encode()
	f, err := os.CreateTemp(c.dir, "new-*")
	if err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	defer os.Remove(f.Name()) // does nothing once it is renamed
	check, sizes := uint32(0), [2]int{len(parts[0]), len(parts[1])}
	for _, part := range parts {
		check = crc32.Update(check, castagnoli(), part)
	}
	_, err = fmt.Fprintf(f, "%s%08x %d %d\n", cacheVersion, check, sizes[0], sizes[1])
	for _, part := range parts {
		if err != nil {
			break
		}
		_, err = f.Write(part)
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(c.dir, s.renderer.stateName(commits)))
	}
	if err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	c.trim()
	return nil
}

// castagnoli is the polynomial that processors compute. The sum finds damage: nobody who could write the file would be kept out by
// another one.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

type cachedFile struct {
	name  string
	bytes int64
	used  time.Time
}

// files lists the states, the one that was used last first.
func (c *Cache) files() []cachedFile {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return nil
	}
	var out []cachedFile
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		name := e.Name()
		switch {
		case strings.HasSuffix(name, cacheSuffix):
			out = append(out, cachedFile{name, info.Size(), info.ModTime()})
		case strings.HasPrefix(name, "new-") && time.Since(info.ModTime()) > time.Hour: // of a process that was killed
			os.Remove(filepath.Join(c.dir, name))
		}
	}
	slices.SortFunc(out, func(a, b cachedFile) int { return cmp.Or(b.used.Compare(a.used), cmp.Compare(a.name, b.name)) })
	return out
}

func (c *Cache) trim() {
	var total int64
	for i, f := range c.files() {
		if total += f.bytes; i > 0 && (i >= maxCached || total > c.bytes) {
			os.Remove(filepath.Join(c.dir, f.name))
		}
	}
}

var errDamagedState = errors.New("cached state is damaged")

// readState reads a state from a file. The contents of its objects are left in the file, which is mapped into memory: a run asks
// for few of them.
func (r *Renderer) readState(ctx context.Context, name string) (*State, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() == 0 || info.Size() > maxState {
		return nil, errDamagedState
	}
	mapped, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	s, err := r.mappedState(ctx, mapped)
	if err != nil {
		unix.Munmap(mapped) // nothing refers to it
		return nil, err
	}
	// The mapping stays for as long as the process: objects refer to it.
	return s, nil
}

func (r *Renderer) mappedState(ctx context.Context, mapped []byte) (*State, error) {
	var check uint32
	var first, second int
	head := string(mapped[:min(len(mapped), 200)])
	rest, ok := strings.CutPrefix(head, cacheVersion)
	line, _, found := strings.Cut(rest, "\n")
	if !ok || !found {
		return nil, errDamagedState
	}
	if _, err := fmt.Sscanf(line, "%08x %d %d", &check, &first, &second); err != nil {
		return nil, errDamagedState
	}
	body := mapped[len(cacheVersion)+len(line)+1:]
	if first < 0 || second < 0 || first > len(body) || second > len(body)-first || crc32.Checksum(body, castagnoli()) != check {
		return nil, errDamagedState
	}
	d := &decoder{data: string(body[:first]), late: body[first : first+second], content: body[first+second:]}
	return d.state(ctx, r)
}

// state makes the state that was encoded.
func (d *decoder) state(ctx context.Context, r *Renderer) (*State, error) {
	words := make([]string, d.count())
	for i := range words {
		words[i] = d.text()
	}
	b := &build{renderer: r, ctx: ctx, trees: map[string]*tree.Tree{}, results: map[unitID]*made{}}
	for _, s := range r.o.Sources {
		commit := git.Hash(d.text())
		if d.bad {
			return nil, errDamagedState
		}
		var err error
		if b.trees[s.Name], err = r.tree(ctx, s, commit, nil, b.trees); err != nil {
			return nil, err
		}
	}
	b.problems = d.violations()
	for _, list := range []*[]*made{&b.reached, &b.replaced} {
		for range d.count() {
			m := d.made(r)
			if d.bad {
				return nil, errDamagedState
			}
			*list = append(*list, m)
		}
	}
	if d.bad {
		return nil, errDamagedState
	}
	b.listed = d.keys(b)
	if d.bad {
		return nil, errDamagedState
	}
	if !r.words.Adopt(words) {
		return nil, errors.New("words are in use")
	}
	return b.finish()
}

// encode gives a state as parts that are written one after the other: what every run reads, what is read of the units that a run
// looks at, and the contents of their objects.
func (s *State) encode() [][]byte {
	e := &encoder{}
	words := s.renderer.words.All()
	e.count(len(words))
	for _, w := range words {
		e.text(w)
	}
	for _, source := range s.renderer.o.Sources {
		e.text(string(s.trees[source.Name].Commit))
	}
	e.violations(s.problems)
	for _, list := range [][]*made{s.reached, s.replaced} {
		e.count(len(list))
		for _, m := range list {
			e.made(m)
		}
	}
	e.keys(s)
	return append([][]byte{e.data, e.late}, e.content...)
}

func (e *encoder) made(m *made) {
	u := &m.unit
	for _, s := range []string{u.Kind, u.Namespace, u.Name, u.ServiceAccount, u.Source, u.Path, u.Actor, u.Elsewhere} {
		e.text(s)
	}
	e.flags(u.Prune, u.Suspended, u.Cascades)
	e.position(u.Declared)
	e.count(len(m.needs))
	for _, n := range m.needs {
		for _, s := range []string{n.id.source, n.id.kind, n.id.namespace, n.id.name} {
			e.text(s)
		}
		e.position(n.pos)
	}
	e.result(m.result)
}

func (d *decoder) made(r *Renderer) *made {
	m := &made{}
	u := &m.unit
	for _, s := range []*string{&u.Kind, &u.Namespace, &u.Name, &u.ServiceAccount, &u.Source, &u.Path, &u.Actor, &u.Elsewhere} {
		*s = d.text()
	}
	d.flags(&u.Prune, &u.Suspended, &u.Cascades)
	u.Declared = d.position()
	for range d.count() {
		n := need{}
		for _, s := range []*string{&n.id.source, &n.id.kind, &n.id.namespace, &n.id.name} {
			*s = d.text()
		}
		n.pos = d.position()
		m.needs = append(m.needs, n)
	}
	m.result = d.result(r)
	return m
}

func (e *encoder) result(r *result) {
	e.text(string(r.inputs.object))
	e.flags(r.inputs.object != nil)
	e.count(len(r.inputs.asked))
	for source, asked := range r.inputs.asked {
		e.text(source)
		e.asked(asked.All())
	}
	e.count(len(r.inputs.found))
	for key, essence := range r.inputs.found {
		e.key(key)
		e.flags(essence != nil)
		e.text(string(essence))
	}
	e.owner(r.owner)
	e.violations(r.problems)
	e.count(len(r.opaque))
	for _, o := range r.opaque {
		e.text(o.What)
		e.text(o.Reason)
		e.position(o.Pos)
	}
	e.entries(r.all())
}

func (d *decoder) result(r *Renderer) *result {
	out := &result{}
	object := d.text()
	var has bool
	if d.flags(&has); has {
		out.inputs.object = []byte(object)
	}
	out.inputs.asked = map[string]tree.Answers{}
	for range d.count() {
		source := d.text()
		out.inputs.asked[source] = d.asked()
	}
	out.inputs.found = map[policies.Key][]byte{}
	for range d.count() {
		key := d.key()
		d.flags(&has)
		essence := d.text()
		out.inputs.found[key] = nil
		if has {
			out.inputs.found[key] = []byte(essence)
		}
	}
	out.owner = d.owner()
	out.problems = d.violations()
	for range d.count() {
		out.opaque = append(out.opaque, Opaque{What: d.text(), Reason: d.text(), Pos: d.position()})
	}
	out.kept = d.entries(r)
	return out
}
