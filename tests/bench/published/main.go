// Command published serves Dapr's sidecar injector as its module has it: handler, decisions, patch, metrics and log
// lines are Dapr's. Only what it asks a cluster for is answered here, at once: the settings of its control plane, which
// it asks its API server for at each review, the number of its schedulers, and the identity that it serves with.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"log"
	"net"
	"strconv"

	"github.com/dapr/dapr/pkg/apis/configuration/v1alpha1"
	dapr "github.com/dapr/dapr/pkg/client/clientset/versioned"
	configuration "github.com/dapr/dapr/pkg/client/clientset/versioned/typed/configuration/v1alpha1"
	"github.com/dapr/dapr/pkg/healthz"
	"github.com/dapr/dapr/pkg/injector/service"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	apps "k8s.io/client-go/kubernetes/typed/apps/v1"
)

// Each of these answers the one call that is made of it, and panics at any other.
type kube struct{ kubernetes.Interface }
type kubeApps struct{ apps.AppsV1Interface }
type statefulSets struct{ apps.StatefulSetInterface }

func (kube) AppsV1() apps.AppsV1Interface                                { return kubeApps{} }
func (kubeApps) StatefulSets(namespace string) apps.StatefulSetInterface { return statefulSets{} }
func (statefulSets) Get(context.Context, string, metav1.GetOptions) (*appsv1.StatefulSet, error) {
	replicas := int32(1)
	return &appsv1.StatefulSet{Spec: appsv1.StatefulSetSpec{Replicas: &replicas}}, nil
}

type control struct{ dapr.Interface }
type controlConfigurations struct {
	configuration.ConfigurationV1alpha1Interface
}
type configurations struct {
	configuration.ConfigurationInterface
}

var settings v1alpha1.Configuration

func (control) ConfigurationV1alpha1() configuration.ConfigurationV1alpha1Interface {
	return controlConfigurations{}
}
func (controlConfigurations) Configurations(namespace string) configuration.ConfigurationInterface {
	return configurations{}
}
func (configurations) Get(string, metav1.GetOptions) (*v1alpha1.Configuration, error) {
	return &settings, nil
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8443", "where to listen")
	certificate := flag.String("cert", "", "the certificate, PEM")
	key := flag.String("key", "", "its key, PEM")
	user := flag.String("user", "", "the uid of the user who may create injected pods")
	flag.Parse()
	pair, err := tls.LoadX509KeyPair(*certificate, *key)
	if err != nil {
		log.Fatal(err)
	}
	host, portText, err := net.SplitHostPort(*listen)
	if err != nil {
		log.Fatal(err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		log.Fatal(err)
	}
	if err := service.InitMetrics(); err != nil {
		log.Fatal(err)
	}
	// from the environment, as in a cluster: SIDECAR_IMAGE, NAMESPACE, KUBE_CLUSTER_DOMAIN
	config, err := service.GetConfig()
	if err != nil {
		log.Fatal(err)
	}
	injector, err := service.NewInjector(service.Options{
		AuthUIDs: []string{*user}, Config: config, DaprClient: control{}, KubeClient: kube{},
		Port: port, ListenAddress: host, Healthz: healthz.New(), ControlPlaneNamespace: "dapr-system",
		ControlPlaneTrustDomain: config.ControlPlaneTrustDomain,
	})
	if err != nil {
		log.Fatal(err)
	}
	sentry := spiffeid.RequireFromString("spiffe://cluster.local/ns/dapr-system/dapr-sentry")
	anchors := func(context.Context) ([]byte, error) { return []byte("-----BEGIN CERTIFICATE-----"), nil }
	log.Fatal(injector.Run(context.Background(), &tls.Config{Certificates: []tls.Certificate{pair}}, sentry, anchors))
}
