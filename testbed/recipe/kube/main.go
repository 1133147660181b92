// Command testbed-kube is kube-apiserver (with its etcd inside), kube-controller-manager and kube-scheduler in one binary:
// the first argument names the part to run, the rest are that part's own flags. One binary, because the three share nearly
// all of their code: it builds in half the time and takes a third of the disk.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"
	"os"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	cm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	sched "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

const usage = `usage: testbed-kube PART [FLAGS]
  kube-apiserver            with etcd inside; TESTBED_ETCD_DIR is its data, TESTBED_ETCD_URL where it listens
  kube-controller-manager
  kube-scheduler
  service-account-key FILE  writes a new signing key for service account tokens`

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "testbed-kube: "+format+"\n", args...)
	os.Exit(2)
}

func env(name string) string {
	value := os.Getenv(name)
	if value == "" {
		fail("%s is not set\n%s", name, usage)
	}
	return value
}

// startEtcd returns when etcd serves. It lives in this process, so that a kill -9 of the API server takes its storage along,
// as a lost control plane node does, and a restart on the same directory goes on with the same resourceVersions.
func startEtcd(dir, listen string) {
	client, err := url.Parse(listen)
	if err != nil {
		fail("TESTBED_ETCD_URL: %v", err)
	}
	cfg := embed.NewConfig()
	cfg.Dir = dir
	cfg.ListenClientUrls = []url.URL{*client}
	cfg.AdvertiseClientUrls = []url.URL{*client}
	// A single member has no peers; port 0 keeps two test beds from wanting the same one.
	cfg.ListenPeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	cfg.LogLevel = "error"
	// What a killed process wrote survives in the page cache; only a power cut would need the fsync.
	cfg.UnsafeNoFsync = true
	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		fail("etcd: %v", err)
	}
	select {
	case <-etcd.Server.ReadyNotify():
	case err := <-etcd.Err():
		fail("etcd: %v", err)
	case <-time.After(60 * time.Second):
		fail("etcd is not ready after 60 s (data in %s)", dir)
	}
	// An API server without its etcd would answer errors for ever: end, so that the death is seen.
	go func() {
		if err, open := <-etcd.Err(); open && err != nil {
			fail("etcd: %v", err)
		}
	}()
}

func writeServiceAccountKey(path string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		fail("service account key: %v", err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		fail("service account key: %v", err)
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(path, data, 0o600); err != nil {
		fail("service account key: %v", err)
	}
}

func main() {
	if len(os.Args) < 2 {
		fail("no part named\n%s", usage)
	}
	part := os.Args[1]
	// The parts read os.Args themselves and take the first for their own name.
	os.Args = append([]string{part}, os.Args[2:]...)
	switch part {
	case "kube-apiserver":
		startEtcd(env("TESTBED_ETCD_DIR"), env("TESTBED_ETCD_URL"))
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "kube-controller-manager":
		os.Exit(cli.Run(cm.NewControllerManagerCommand()))
	case "kube-scheduler":
		os.Exit(cli.Run(sched.NewSchedulerCommand()))
	case "service-account-key":
		if len(os.Args) != 2 {
			fail("service-account-key takes one file\n%s", usage)
		}
		writeServiceAccountKey(os.Args[1])
	default:
		fail("unknown part %q\n%s", part, usage)
	}
}
