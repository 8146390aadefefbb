package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"gitgate.dev/gitgate/test/gen"
	"gitgate.dev/gitgate/test/process"
)

// The gate as it serves: a process of its own, with the bundle of examples/fleet, the trace, and an index of a generated fleet, beside a
// webhook that reads each request and admits it. Both are sent the same reviews over HTTP/2, in turn.

const (
	servedName = "serve: reviews, %d objects in the index"
	senders    = 16   // requests at once, as many as an API server of a middling cluster has in flight
	reviews    = 4000 // a round
	atOnce     = 500  // requests of the storm
	readyIn    = 3 * time.Minute
)

// door is a webhook that runs: its address, and the process whose cost is measured.
type door struct {
	url    string
	client *http.Client
	p      *process.Process
}

// serving measures the gate and prints its figures.
func serving(ctx context.Context, o options, work, gitgate string) error {
	p := &preparation{ctx: ctx, o: o, work: work, gitgate: gitgate}
	var err error
	if p.repo, err = os.Getwd(); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(p.repo, "test", "bench", "serve", "update-deployment.json"))
	if err != nil {
		return err
	}
	gate, err := p.startGate()
	if err != nil {
		return err
	}
	defer gate.p.Stop()
	loaded, err := memory(gate.p.PID(), "VmRSS")
	if err != nil {
		return err
	}
	empty, err := p.startEmpty()
	if err != nil {
		return err
	}
	defer empty.p.Stop()

	name := fmt.Sprintf(servedName, o.index)
	if err := storm(ctx, gate, text); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	var ours, theirs []figures
	for i := range o.rounds + 1 {
		for _, side := range []struct {
			door door
			into *[]figures
		}{{gate, &ours}, {empty, &theirs}} {
			f, err := side.door.round(ctx, text)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if i > 0 {
				*side.into = append(*side.into, f)
			}
		}
	}
	showFigures(name, ours, theirs, []figure{
		{"ms CPU", "%.3f", func(f figures) float64 { return f.cpu * 1000 / reviews }},
		{"a second", "%.0f", func(f figures) float64 { return reviews / f.wall }},
		{"MiB now", "%.0f", func(f figures) float64 { return f.resident }},
		{"peak MiB", "%.0f", func(f figures) float64 { return f.peak }},
	})
	fmt.Printf("%-44s resident when its index was loaded: %.0f MiB; %d requests at once: all admitted\n", "", loaded, atOnce)
	return nil
}

// round sends reviews, senders at a time.
func (d door) round(ctx context.Context, review []byte) (figures, error) {
	before, err := cpuOf(d.p.PID())
	if err != nil {
		return figures{}, err
	}
	began := time.Now()
	if err := d.send(ctx, review, reviews, senders); err != nil {
		return figures{}, err
	}
	wall := time.Since(began)
	after, err := cpuOf(d.p.PID())
	if err != nil {
		return figures{}, err
	}
	f := figures{wall: wall.Seconds(), cpu: (after - before).Seconds()}
	f.resident, err = memory(d.p.PID(), "VmRSS")
	if err == nil {
		f.peak, err = memory(d.p.PID(), "VmHWM")
	}
	return f, err
}

// storm has many requests arrive together.
func storm(ctx context.Context, d door, review []byte) error {
	return d.send(ctx, review, atOnce, atOnce)
}

// send sends n reviews with different uids, some at once, and wants each admitted under its own.
func (d door) send(ctx context.Context, review []byte, n, some int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan int)
	var group sync.WaitGroup
	for range some {
		group.Go(func() {
			for i := range work {
				if err := d.ask(ctx, review, fmt.Sprintf("u-%d", i)); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		work <- i
	}
	close(work)
	group.Wait()
	return context.Cause(ctx)
}

func (d door) ask(ctx context.Context, review []byte, uid string) error {
	body := bytes.Replace(review, []byte(`"uid":"UID"`), []byte(`"uid":"`+uid+`"`), 1)
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url+"?timeout=30s", bytes.NewReader(body))
	if err != nil {
		return err
	}
	q.Header.Set("Content-Type", "application/json")
	resp, err := d.client.Do(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Response struct {
			UID     string
			Allowed bool
			Status  struct{ Message string }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("HTTP %d: %w", resp.StatusCode, err)
	}
	if r := answer.Response; !r.Allowed || r.UID != uid {
		return fmt.Errorf("review %s: answered %s, not admitted: %s", uid, r.UID, r.Status.Message)
	}
	return nil
}

// startGate starts gitgate serve on a generated fleet with the objects and the bundle of examples/fleet.
func (p *preparation) startGate() (door, error) {
	dir := filepath.Join(p.work, "served")
	if _, err := gen.WriteFlux(dir, p.o.index, max(1, p.o.index/unitSize)); err != nil {
		return door{}, err
	}
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(p.repo, "examples", "fleet"))); err != nil {
		return door{}, err
	}
	url := "file://" + dir
	for name, more := range map[string]string{
		"clusters/prod/flux-system/gotk-sync.yaml": "", "gitgate.yaml": "\nreconcilers: [{flux: {namespace: flux-system}}]\ntrace: {action: deny}\n",
	} {
		file := filepath.Join(dir, filepath.FromSlash(name))
		text, err := os.ReadFile(file)
		if err != nil {
			return door{}, err
		}
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), gen.FluxURL, url)+more), 0o644); err != nil {
			return door{}, err
		}
	}
	for _, args := range [][]string{{"init", "--quiet", "--initial-branch", "main"}, {"add", "--all"}, {"commit", "--quiet", "--message", "all"}} {
		if err := git(p.ctx, dir, args...); err != nil {
			return door{}, err
		}
	}
	cert, key, client, err := certificate(p.work)
	if err != nil {
		return door{}, err
	}
	addresses, err := freePorts(2)
	if err != nil {
		return door{}, err
	}
	return p.startDoor("gate", exec.Command(p.gitgate, "serve", "--repository", url, "--state", filepath.Join(p.work, "state"), "--no-cluster", "--interval", "1h",
		"--listen", addresses[0], "--health-listen", addresses[1], "--tls-cert", cert, "--tls-key", key, "--drain-delay", "0s", "--log-level", "warn",
		"--budget", "25s"), // a machine that does other work too measures its own CPU and not refusals
		client, addresses[0], "http://"+addresses[1]+"/readyz")
}

// startEmpty starts this program again as a webhook that admits everything.
func (p *preparation) startEmpty() (door, error) {
	cert, key, client, err := certificate(p.work)
	if err != nil {
		return door{}, err
	}
	addresses, err := freePorts(1)
	if err != nil {
		return door{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return door{}, err
	}
	return p.startDoor("empty", exec.Command(self, "-admit-everything", addresses[0]+","+cert+","+key), client, addresses[0], "https://"+addresses[0]+"/readyz")
}

// startDoor starts a webhook and returns when it answers on the page ready.
func (p *preparation) startDoor(name string, cmd *exec.Cmd, client *http.Client, address, ready string) (door, error) {
	file := filepath.Join(p.work, name+".log")
	running, err := process.Start(cmd, file)
	if err != nil {
		return door{}, err
	}
	d := door{url: "https://" + address + "/validate", client: client, p: running}
	for deadline := time.Now().Add(readyIn); ; time.Sleep(50 * time.Millisecond) {
		resp, err := client.Get(ready)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return d, nil
			}
			err = errors.New(resp.Status)
		}
		select {
		case <-running.Ended:
			return door{}, fmt.Errorf("%s ended: %w\n%s", name, running.Err, process.Tail(file, 20))
		case <-p.ctx.Done():
			running.Stop()
			return door{}, p.ctx.Err()
		default:
		}
		if time.Now().After(deadline) {
			running.Stop()
			return door{}, fmt.Errorf("%s is not ready: %w\n%s", name, err, process.Tail(file, 20))
		}
	}
}

// admitEverything is the webhook that the gate is compared with. where is its address, certificate and key.
func admitEverything(where string) error {
	parts := strings.Split(where, ",")
	if len(parts) != 3 {
		return errors.New("flag -admit-everything: expected ADDRESS,CERTIFICATE,KEY")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /validate", func(w http.ResponseWriter, r *http.Request) {
		var review struct {
			Request struct {
				UID string `json:"uid"`
			} `json:"request"`
		}
		text, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(text, &review)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":%q,"allowed":true}}`, review.Request.UID)
	})
	s := &http.Server{Addr: parts[0], Handler: mux, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	return s.ListenAndServeTLS(parts[1], parts[2])
}

// certificate writes a certificate for the loopback address, and returns a client that trusts it.
func certificate(dir string) (cert, key string, client *http.Client, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", nil, err
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &private.PublicKey, private)
	if err != nil {
		return "", "", nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", nil, err
	}
	name := strconv.FormatInt(time.Now().UnixNano(), 36)
	cert, key = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := errors.Join(os.WriteFile(cert, public, 0o600), os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600)); err != nil {
		return "", "", nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(public)
	client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}}
	return cert, key, client, nil
}

// freePorts are loopback addresses that were free a moment ago.
func freePorts(n int) ([]string, error) {
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all are held until all are known
		out = append(out, l.Addr().String())
	}
	return out, nil
}

// cpuOf is how long a process has computed, in its own and in the system's code.
func cpuOf(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("this system does not say what a process used: %w", err)
	}
	// The name of the program, in parentheses, may have spaces; behind it the fields are counted from the state, the third.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	const user, system, ticks = 11, 12, 100 // USER_HZ is 100 on every Linux
	if len(fields) <= system {
		return 0, errors.New("the system says less of a process than expected")
	}
	u, err := strconv.ParseInt(fields[user], 10, 64)
	s, err2 := strconv.ParseInt(fields[system], 10, 64)
	return time.Duration(u+s) * time.Second / ticks, errors.Join(err, err2)
}

// memory is what a process has in memory (VmRSS), or the most that it has had (VmHWM), in MiB.
func memory(pid int, what string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("this system does not say what a process used: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, what+":"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			return kb / 1024, err
		}
	}
	return 0, errors.New("the system does not say what memory a process had")
}
