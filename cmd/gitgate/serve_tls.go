package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"gitgate.dev/gitgate/webhook/certs"
)

// tlsFlags say where the serving certificate comes from, and who may connect.
type tlsFlags struct {
	cert, key   string
	clientCA    string
	clientNames []string
}

func (f *tlsFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.cert, "tls-cert", "", "PEM file of the serving certificate; read again when it changes")
	flags.StringVar(&f.key, "tls-key", "", "PEM file of its key")
	flags.StringVar(&f.clientCA, "client-ca", "", "PEM file of the authorities of clients' certificates: only the API server may connect then")
	flags.StringArrayVar(&f.clientNames, "client-name", nil, "a name that a client's certificate has to have, repeatable: common name or DNS name")
}

func (f *tlsFlags) validate() error {
	switch {
	case f.cert == "" || f.key == "":
		return usage("serve: needs --tls-cert and --tls-key")
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
	files := &certs.Files{Cert: g.abs(g.flags.tls.cert), Key: g.abs(g.flags.tls.key), Keeper: keeper}
	if _, err := files.Load(); err != nil {
		return nil, usage("--tls-cert: %v", err)
	}
	go files.Watch(ctx, certificateInterval, g.tellCertificate("certificate", keeper))
	if g.flags.tls.clientCA == "" {
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
