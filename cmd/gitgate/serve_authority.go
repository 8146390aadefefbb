package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"gitgate.dev/gitgate/cluster"
	"gitgate.dev/gitgate/webhook/certs"
)

// The keys of the Secret of an authority. tls.crt and tls.key are those of a Secret of the type kubernetes.io/tls.
const (
	keyCA      = "ca.crt"
	keyCAKey   = "ca.key"
	keyCert    = "tls.crt"
	keyCertKey = "tls.key"
)

// authorityInterval is how often the Secret is looked at: another replica may have renewed it.
const authorityInterval = time.Minute

// secretAttempts bounds how often replicas that start together get in each other's way.
const secretAttempts = 5

// authority keeps three things in step: the Secret of the authority, the certificate that is served, and the webhook's
// configuration, which has to trust the authority before its certificate is served.
type authority struct {
	cluster         *cluster.Cluster
	namespace, name string
	names           []string
	webhook         string // "" for none
	keeper          *certs.Keeper
	served          certs.Authority
}

// openAuthority makes or reads the authority, and keeps it fresh until ctx ends.
func (g *gate) openAuthority(ctx context.Context, keeper *certs.Keeper) error {
	a := &authority{cluster: g.cluster, names: g.flags.tls.names, webhook: g.flags.tls.webhook, keeper: keeper}
	a.namespace, a.name, _ = strings.Cut(g.flags.tls.secret, "/")
	changed, err := a.turn(ctx, time.Now())
	if err != nil && !changed {
		return exitWith(exitUnjudged, fmt.Errorf("--tls-secret: %w", err))
	}
	if err != nil {
		g.tellCertificate("authority", keeper)(false, err)
	}
	go func() {
		tick := time.NewTicker(authorityInterval)
		defer tick.Stop()
		hurry := make(chan os.Signal, 1)
		signal.Notify(hurry, syscall.SIGHUP)
		defer signal.Stop(hurry)
		for {
			select {
			case <-ctx.Done():
				return
			case <-hurry:
			case <-tick.C:
			}
			if changed, err := a.turn(ctx, time.Now()); changed || err != nil && ctx.Err() == nil {
				g.tellCertificate("authority", keeper)(changed, err)
			}
		}
	}()
	return nil
}

// turn looks at the Secret, renews what is due, and serves what it has. changed says that another certificate is served, also with an
// error: the webhook's configuration may come later than the first replica.
func (a *authority) turn(ctx context.Context, now time.Time) (changed bool, err error) {
	next, err := a.renewed(ctx, now)
	if err != nil {
		return false, err
	}
	var untrusted error
	for told, attempt := a.webhook != "", 1; told && attempt <= secretAttempts; attempt++ {
		if told, untrusted = a.cluster.TrustAuthority(ctx, a.webhook, next.CA); !told {
			break
		}
		// Another replica may have renewed the Secret since it was read here, and told its authority first: then this one's word is the older.
		before := next.CA
		if next, err = a.renewed(ctx, now); err != nil {
			return false, err
		}
		told = !bytes.Equal(next.CA, before)
	}
	if next.Equal(a.served) || untrusted != nil && now.Before(a.keeper.Expires()) {
		return false, untrusted // the certificate of before is trusted still
	}
	pair, err := next.Pair()
	if err != nil {
		return false, err
	}
	a.keeper.Set(pair)
	a.served = next
	return true, untrusted
}

// renewed is the authority of the Secret, made or renewed when that is due.
func (a *authority) renewed(ctx context.Context, now time.Time) (certs.Authority, error) {
	for attempt := 1; ; attempt++ {
		secret, err := a.cluster.ReadSecret(ctx, a.namespace, a.name)
		if err != nil {
			return certs.Authority{}, err
		}
		has := certs.Authority{CA: secret.Data[keyCA], CAKey: secret.Data[keyCAKey], Cert: secret.Data[keyCert], CertKey: secret.Data[keyCertKey]}
		next, changed, err := has.Renew(a.names, now)
		if err != nil || !changed {
			return next, err
		}
		err = a.cluster.WriteSecret(ctx, a.namespace, a.name, secret, map[string][]byte{
			keyCA: next.CA, keyCAKey: next.CAKey, keyCert: next.Cert, keyCertKey: next.CertKey,
		})
		if err == nil || attempt == secretAttempts || !errors.Is(err, cluster.ErrConflict) {
			return next, err
		}
	}
}
