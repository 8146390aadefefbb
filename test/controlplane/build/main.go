// Command build makes the programs of the test control plane before the tests need them, and prints where they are:
//
//	go run ./test/controlplane/build -what etcd,kube-apiserver
//
// Without -what it makes what `make test` needs. See package binaries.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"gitgate.dev/gitgate/test/controlplane/binaries"
)

func main() {
	what := flag.String("what", "etcd,kube-apiserver", "programs to make, separated by commas: "+strings.Join(binaries.Names(), ", "))
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	names := strings.Split(*what, ",")
	found, err := binaries.Find(ctx, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }, names...)
	if err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
	for _, name := range names {
		fmt.Println(found[name])
	}
}
