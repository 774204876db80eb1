package main

import (
	"cmp"
	"crypto/tls"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// defaultACMECache is where certificates are kept unless a flag says otherwise.
const defaultACMECache = "simplechat-acme"

// acme returns settings with certificates that an ACME server issues, by the
// challenge tls-alpn-01 on the server's own port: no second port must be open.
func (f *tlsFlags) acme() *tls.Config {
	manager := &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		HostPolicy: autocert.HostWhitelist(f.ACMEDomain...),
		Cache:      autocert.DirCache(cmp.Or(f.ACMECache, defaultACMECache)),
		Client:     &acme.Client{DirectoryURL: f.ACMEDirectory},
	}
	return &tls.Config{
		GetCertificate: manager.GetCertificate,
		NextProtos:     []string{"h2", "http/1.1", acme.ALPNProto},
		MinVersion:     tls.VersionTLS12,
	}
}
