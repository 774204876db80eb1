package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"time"
)

// tlsFlags configure the server's certificate.
type tlsFlags struct {
	TLSCert       string   `placeholder:"FILE" help:"Certificate chain in PEM. With it the server speaks TLS only. It is read again when it changes, and on SIGHUP."`
	TLSKey        string   `placeholder:"FILE" help:"The certificate's key in PEM."`
	TLSSelfSigned bool     `name:"tls-self-signed" env:"SIMPLECHAT_TLS_SELF_SIGNED" help:"Speak TLS with a certificate that is made at each start, for a first try: the log has its fingerprint."`
	ACMEDomain    []string `name:"acme-domain" env:"SIMPLECHAT_ACME_DOMAIN" placeholder:"HOST" help:"Speak TLS with a certificate for this name from --acme-directory, which must reach this server as HOST:443; may be repeated."`
	ACMECache     string   `name:"acme-cache" env:"SIMPLECHAT_ACME_CACHE" type:"path" placeholder:"DIR" help:"Directory to keep such certificates in (./simplechat-acme)."`
	ACMEDirectory string   `name:"acme-directory" env:"SIMPLECHAT_ACME_DIRECTORY" default:"https://acme-v02.api.letsencrypt.org/directory" placeholder:"URL" help:"ACME server that issues them (${default})."`
}

// isOn reports whether the server speaks TLS.
func (f *tlsFlags) isOn() bool {
	return f.TLSCert != "" || f.TLSKey != "" || f.TLSSelfSigned || len(f.ACMEDomain) > 0
}

// checkWays returns an error if there is more than one way to get a certificate.
func (f *tlsFlags) checkWays() error {
	ways := 0
	for _, given := range []bool{f.TLSCert != "" || f.TLSKey != "", f.TLSSelfSigned, len(f.ACMEDomain) > 0} {
		if given {
			ways++
		}
	}
	if ways > 1 {
		return errors.New("--tls-cert with --tls-key, --tls-self-signed and --acme-domain contradict each other: give one of them")
	}
	return nil
}

// load returns the settings for TLS, nil for none. The files are read again by
// files.
func (f *tlsFlags) load(files *reloader, logger *slog.Logger) (*tls.Config, error) {
	if err := f.checkWays(); err != nil {
		return nil, err
	}
	switch {
	case !f.isOn():
		return nil, nil //nolint:nilnil // no TLS is no error
	case f.TLSSelfSigned:
		certificate, err := selfSigned()
		if err != nil {
			return nil, fmt.Errorf("--tls-self-signed: %w", err)
		}
		logger.Warn("the certificate is self-signed: when a client asks, compare its fingerprint", "sha256", fingerprint(certificate))
		return &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}, nil
	case len(f.ACMEDomain) > 0:
		if err := f.checkACME(); err != nil {
			return nil, err
		}
		return f.acme(logger)
	case f.TLSCert == "" || f.TLSKey == "":
		return nil, errors.New("--tls-cert and --tls-key belong together: give both")
	}
	pair := &keyPair{cert: f.TLSCert, key: f.TLSKey}
	if err := pair.load(); err != nil {
		return nil, err
	}
	files.add("certificate", pair.load, f.TLSCert, f.TLSKey)
	return &tls.Config{GetCertificate: pair.get, MinVersion: tls.VersionTLS12}, nil
}

// keyPair is a certificate and its key in two files. It is safe for concurrent
// use.
type keyPair struct {
	cert, key string
	current   atomic.Pointer[tls.Certificate]
}

// load reads the files. If they do not fit together, the pair from before stays.
func (p *keyPair) load() error {
	certificate, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		return fmt.Errorf("--tls-cert, --tls-key: %w", err)
	}
	p.current.Store(&certificate)
	return nil
}

func (p *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.current.Load(), nil }

// selfSignedTime is how long a certificate of --tls-self-signed is valid.
const selfSignedTime = 365 * 24 * time.Hour

// selfSigned makes a certificate for loopback and localhost.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "simplechat"},
		NotBefore:             time.Now().Add(-time.Hour), // a client's clock may be slow
		NotAfter:              time.Now().Add(selfSignedTime),
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// fingerprint returns the SHA-256 of a certificate as browsers and openssl show it.
func fingerprint(c tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[0])
	return strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":")
}
