package main

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

const (
	// defaultACMECache is where certificates are kept unless a flag says otherwise.
	defaultACMECache = "simplechat-acme"
	// acmeReportTime is the least time between two log lines about a certificate that
	// cannot be obtained: each client that connects tries again.
	acmeReportTime = time.Minute
)

// checkACME returns an error that names the flag whose value is not valid.
func (f *tlsFlags) checkACME() error {
	for _, domain := range f.ACMEDomain {
		if !strings.Contains(strings.Trim(domain, "."), ".") || strings.ContainsAny(domain, ":/*@ ") {
			return fmt.Errorf("--acme-domain %q: it must be a whole name such as chat.example.com, without a scheme, a port and *", domain)
		}
	}
	if u, err := url.Parse(f.ACMEDirectory); err != nil || !strings.HasPrefix(f.ACMEDirectory, "https://") || u.Host == "" {
		return fmt.Errorf("--acme-directory %q: it must be the https URL of an ACME server's directory", f.ACMEDirectory)
	}
	return nil
}

// acmeCache returns the directory for certificates.
func (f *tlsFlags) acmeCache() string { return cmp.Or(f.ACMECache, defaultACMECache) }

// explainACMECache adds to an error what to do.
func explainACMECache(err error) error {
	return fmt.Errorf("--acme-cache: %w: let this user write there, or name another directory: each start would ask for certificates again, which authorities limit", err)
}

// acme returns settings with certificates that an ACME server issues, by the
// challenge tls-alpn-01 on the server's own port: no second port must be open.
func (f *tlsFlags) acme(logger *slog.Logger) (*tls.Config, error) {
	cache := f.acmeCache()
	err := os.MkdirAll(cache, 0o700)
	if err == nil {
		err = canWrite(cache)
	}
	if err != nil {
		return nil, explainACMECache(err)
	}
	source := &acmeCertificates{domains: f.ACMEDomain, directory: f.ACMEDirectory, logger: logger, manager: &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		HostPolicy: autocert.HostWhitelist(f.ACMEDomain...),
		Cache:      autocert.DirCache(cache),
		Client:     &acme.Client{DirectoryURL: f.ACMEDirectory},
	}}
	return &tls.Config{
		GetCertificate: source.get,
		NextProtos:     []string{"h2", "http/1.1", acme.ALPNProto},
		MinVersion:     tls.VersionTLS12,
	}, nil
}

// acmeCertificates obtains the certificates of some domains, and logs why one cannot be
// obtained. It is safe for concurrent use.
type acmeCertificates struct {
	domains   []string
	directory string
	manager   *autocert.Manager
	logger    *slog.Logger

	mu       sync.Mutex // guards reported
	reported time.Time
}

// get returns the certificate for a handshake, and obtains it for the first one.
func (a *acmeCertificates) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	certificate, err := a.manager.GetCertificate(hello)
	// Other names are not logged: strangers may ask for any name.
	if err != nil && slices.Contains(a.domains, strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))) && !isACMEChallenge(hello) {
		a.report(hello.ServerName, err)
	}
	return certificate, err
}

// isACMEChallenge reports whether the authority itself connects.
func isACMEChallenge(hello *tls.ClientHelloInfo) bool {
	return slices.Equal(hello.SupportedProtos, []string{acme.ALPNProto})
}

// report logs why there is no certificate, at most once in acmeReportTime.
func (a *acmeCertificates) report(domain string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.reported.IsZero() && time.Since(a.reported) < acmeReportTime {
		return
	}
	a.reported = time.Now()
	// If the authority could not reach the server, the error does not contain its reason.
	advice := "see that the name leads to this server, and that its port 443 is open to the whole internet"
	var unreached *url.Error
	var answered *acme.Error
	switch {
	case errors.As(err, &unreached):
		advice = "see that this machine reaches --acme-directory, and trusts its certificate"
	case errors.As(err, &answered):
		advice = "do as the authority says; after too many requests, wait"
	}
	a.logger.Error("no certificate was obtained: clients cannot connect", "domain", domain, "directory", a.directory, "error", err, "advice", advice)
}
