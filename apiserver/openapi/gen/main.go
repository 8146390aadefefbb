// Command gen makes kinds.txt.gz and shapes.txt.gz of package openapi from the module zips of k8s.io/kubernetes (its api/ folder:
// discovery documents and OpenAPI v3, and its generated OpenAPI code, which alone has the enums) and of k8s.io/api (lifecycles). It
// downloads them through the go command, which checks them against the checksum database. It is run by hand, from package openapi:
//
//	go run ./gen 1.34=v1.34.5 1.35=v1.35.3 1.36=v1.36.3 1.37=v1.37.0
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// release is one Kubernetes minor version and where it is read from.
type release struct {
	minor, patch     string // "1.34", "v1.34.5"
	kubernetes, apis module
}

type module struct{ Path, Version, Dir, Sum string }

func main() {
	log.SetFlags(0)
	log.SetPrefix("gen: ")
	if len(os.Args) < 2 || len(os.Args) > 9 {
		log.Fatal("usage: gen MINOR=PATCH ..., one to eight Kubernetes versions, oldest first")
	}
	var releases []release
	for _, arg := range os.Args[1:] {
		minor, patch, ok := strings.Cut(arg, "=")
		if !ok || !strings.HasPrefix(patch, "v"+minor+".") {
			log.Fatalf("argument %q: expected MINOR=PATCH, such as 1.36=v1.36.3", arg)
		}
		releases = append(releases, release{
			minor: minor, patch: patch,
			kubernetes: download("k8s.io/kubernetes@" + patch),
			apis:       download("k8s.io/api@v0" + strings.TrimPrefix(patch, "v1")),
		})
	}
	kinds, shapes := newKinds(), newShapes()
	for i, r := range releases {
		bit := uint8(1) << i
		lifecycles := readLifecycles(r.apis.Dir)
		kinds.add(bit, readKinds(r.kubernetes.Dir), lifecycles)
		shapes.add(bit, readShapes(r.kubernetes.Dir), readEnums(r.kubernetes.Dir))
	}
	write("kinds.txt.gz", kinds.text(releases, shapes))
	write("shapes.txt.gz", shapes.text())
}

// download asks the go command for a module.
func download(query string) module {
	cmd := exec.Command("go", "mod", "download", "-json", query)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		log.Fatalf("%s: %v\n%s", query, err, out)
	}
	var m module
	if err := json.Unmarshal(out, &m); err != nil {
		log.Fatalf("%s: %v", query, err)
	}
	return m
}

// write compresses text so that equal text makes equal bytes.
func write(file string, text string) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %d bytes, %d compressed\n", file, len(text), b.Len())
}

// sorted returns the keys of m in order.
func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
