package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"gitgate.dev/gitgate/webhook/certs"
)

// tlsFlags say where the serving certificate comes from, and who may connect.
type tlsFlags struct {
	cert, key   string
	secret      string // namespace/name
	names       []string
	webhook     string
	clientCA    string
	clientNames []string
}

func (f *tlsFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.cert, "tls-cert", "", "PEM file of the serving certificate; read again when it changes")
	flags.StringVar(&f.key, "tls-key", "", "PEM file of its key")
	flags.StringVar(&f.secret, "tls-secret", "", "instead of files: NAMESPACE/NAME of a Secret for an authority of gitgate's own, which it makes, renews and signs its certificate with")
	flags.StringArrayVar(&f.names, "tls-name", nil, "with --tls-secret: DNS name or IP address of the certificate, repeatable (gitgate.NAMESPACE.svc)")
	flags.StringVar(&f.webhook, "webhook-configuration", "", "with --tls-secret: name of the ValidatingWebhookConfiguration that is told the authority")
	flags.StringVar(&f.clientCA, "client-ca", "", "PEM file of the authorities of clients' certificates: only the API server may connect then")
	flags.StringArrayVar(&f.clientNames, "client-name", nil, "a name that a client's certificate has to have, repeatable: common name or DNS name")
}

func (f *tlsFlags) validate() error {
	namespace, name, _ := strings.Cut(f.secret, "/")
	switch {
	case f.secret == "" && (f.cert == "" || f.key == ""):
		return usage("serve: needs a certificate: --tls-cert and --tls-key, or --tls-secret and --tls-name")
	case f.secret != "" && (f.cert != "" || f.key != ""):
		return usage("--tls-secret: does not go with --tls-cert and --tls-key")
	case f.secret != "" && (namespace == "" || name == "" || strings.Contains(name, "/")):
		return usage("--tls-secret %s: expected NAMESPACE/NAME", f.secret)
	case f.secret != "" && len(f.names) == 0:
		return usage("--tls-secret: needs --tls-name, the name by which the API server calls")
	case f.secret == "" && (len(f.names) > 0 || f.webhook != ""):
		return usage("--tls-name and --webhook-configuration: need --tls-secret")
	case f.clientCA == "" && len(f.clientNames) > 0:
		return usage("--client-name: needs --client-ca")
	}
	return nil
}

// certificateInterval is how often files are looked at: a mounted Secret changes within a minute.
const certificateInterval = 10 * time.Second

// openTLS loads the certificate and keeps it fresh until ctx ends.
func (g *gate) openTLS(ctx context.Context, registry prometheus.Registerer) (*tls.Config, error) {
	keeper := &certs.Keeper{}
	expires := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gitgate_certificate_expiry_timestamp_seconds", Help: "When the serving certificate ends.",
	}, func() float64 { return float64(keeper.Expires().Unix()) })
	if err := registry.Register(expires); err != nil {
		return nil, err
	}
	if g.flags.tls.secret != "" {
		if g.cluster == nil {
			return nil, usage("--tls-secret: needs a cluster: run in one, or give --kubeconfig")
		}
		if err := g.openAuthority(ctx, keeper); err != nil {
			return nil, err
		}
	} else {
		files := &certs.Files{Cert: g.abs(g.flags.tls.cert), Key: g.abs(g.flags.tls.key), Keeper: keeper}
		if _, err := files.Load(); err != nil {
			return nil, usage("--tls-cert: %v", err)
		}
		go files.Watch(ctx, certificateInterval, g.tellCertificate("certificate", keeper))
	}
	if g.flags.tls.clientCA == "" {
		g.log.Warn("clients are not verified: who reaches the port of the webhook can ask what Git declares, but for values of Secrets; --client-ca lets only the API server connect")
		return certs.Config(keeper, nil), nil
	}
	clients := &certs.Clients{File: g.abs(g.flags.tls.clientCA), Names: g.flags.tls.clientNames}
	if _, err := clients.Load(); err != nil {
		return nil, usage("--client-ca: %v", err)
	}
	go clients.Watch(ctx, certificateInterval, g.tellCertificate("authorities of clients", keeper))
	return certs.Config(keeper, clients), nil
}

func (g *gate) tellCertificate(what string, keeper *certs.Keeper) func(bool, error) {
	return func(changed bool, err error) {
		if err != nil {
			g.metrics.certificateFailed()
			g.log.Error(fmt.Sprintf("%s cannot be read; that of before stays", what), "error", err.Error(), "expires", keeper.Expires())
			return
		}
		g.log.Info(what+" was read anew", "expires", keeper.Expires())
	}
}
