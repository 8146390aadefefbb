package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilversion "k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apimachinery/pkg/version"
)

// ErrConflict says that somebody else has written a Secret since it was read: read it again.
var ErrConflict = errors.New("it was written meanwhile")

// Secret is the data of a Secret and the version of it that was read.
type Secret struct {
	Data    map[string][]byte // nil when there is none
	version string
}

// ReadSecret reads a Secret. One that does not exist has no data.
func (c *Cluster) ReadSecret(ctx context.Context, namespace, name string) (Secret, error) {
	s, err := c.kubernetes.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return Secret{}, nil
	case err != nil:
		return Secret{}, fmt.Errorf("secret %s/%s: %w", namespace, name, err)
	}
	data := s.Data
	if data == nil {
		data = map[string][]byte{}
	}
	return Secret{Data: data, version: s.ResourceVersion}, nil
}

// WriteSecret replaces the data of a Secret that was read before, or makes it. ErrConflict says that another was faster.
func (c *Cluster) WriteSecret(ctx context.Context, namespace, name string, old Secret, data map[string][]byte) error {
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, ResourceVersion: old.version},
		Type:       corev1.SecretTypeOpaque, Data: data,
	}
	secrets := c.kubernetes.CoreV1().Secrets(namespace)
	var err error
	if old.Data == nil {
		_, err = secrets.Create(ctx, s, metav1.CreateOptions{})
	} else {
		// A patch of the data alone keeps the labels by which a chart knows its Secret.
		var patch []byte
		patch, err = json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": old.version}, "data": data})
		if err == nil {
			_, err = secrets.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
		}
	}
	switch {
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return fmt.Errorf("secret %s/%s: %w", namespace, name, ErrConflict)
	case err != nil:
		return fmt.Errorf("secret %s/%s: %w", namespace, name, err)
	}
	return nil
}

// Self is the user name that the API server knows this process by.
func (c *Cluster) Self(ctx context.Context) (string, error) {
	review, err := c.kubernetes.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("own identity: %w", err)
	}
	if review.Status.UserInfo.Username == "" {
		return "", errors.New("own identity: the answer names nobody")
	}
	return review.Status.UserInfo.Username, nil
}

// Version is the cluster's version of Kubernetes, such as "1.36". When ctx ends first the question goes on, for half a minute at most:
// client-go bounds it and takes no context.
func (c *Cluster) Version(ctx context.Context) (string, error) {
	type told struct {
		info *version.Info
		err  error
	}
	asked := make(chan told, 1)
	go func() {
		info, err := c.kubernetes.Discovery().ServerVersion()
		asked <- told{info, err}
	}()
	select {
	case <-ctx.Done():
		return "", fmt.Errorf("version of the cluster: %w", context.Cause(ctx))
	case t := <-asked:
		if t.err != nil {
			return "", fmt.Errorf("version of the cluster: %w", t.err)
		}
		parsed, err := utilversion.ParseGeneric(t.info.GitVersion)
		if err != nil {
			return "", fmt.Errorf("version of the cluster: %w", err)
		}
		return fmt.Sprintf("%d.%d", parsed.Major(), parsed.Minor()), nil
	}
}

// TrustAuthority puts a certificate authority into every webhook of a ValidatingWebhookConfiguration that does not have it, and says
// whether it had to. A configuration that does not exist is an error.
func (c *Cluster) TrustAuthority(ctx context.Context, name string, authority []byte) (changed bool, err error) {
	configurations := c.kubernetes.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	found, err := configurations.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return false, fmt.Errorf("webhook configuration %s: %w", name, err)
	}
	// A test before each replacement, so that a configuration which changes meanwhile is not spoilt.
	var patch []map[string]any
	for i, w := range found.Webhooks {
		if bytes.Equal(w.ClientConfig.CABundle, authority) {
			continue
		}
		patch = append(patch,
			map[string]any{"op": "test", "path": fmt.Sprintf("/webhooks/%d/name", i), "value": w.Name},
			map[string]any{"op": "add", "path": fmt.Sprintf("/webhooks/%d/clientConfig/caBundle", i), "value": authority})
	}
	if len(patch) == 0 {
		return false, nil
	}
	text, err := json.Marshal(patch)
	if err != nil {
		return false, fmt.Errorf("webhook configuration %s: %w", name, err)
	}
	if _, err := configurations.Patch(ctx, name, types.JSONPatchType, text, metav1.PatchOptions{}); err != nil {
		return false, fmt.Errorf("webhook configuration %s: %w", name, err)
	}
	return true, nil
}
