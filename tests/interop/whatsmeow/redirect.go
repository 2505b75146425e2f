package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"

	"go.mau.fi/whatsmeow"
)

// trustRoot makes whatsmeow accept certificate chains under the simulator's root instead of WhatsApp's.
func trustRoot(text string) error {
	key, err := hex.DecodeString(text)
	if err != nil || len(key) != len(whatsmeow.WACertPubKey) {
		return fmt.Errorf("root_key: want %d bytes in hex", len(whatsmeow.WACertPubKey))
	}
	copy(whatsmeow.WACertPubKey[:], key)
	return nil
}

// redirect answers with an HTTP client that reaches the simulator at target whatever host is asked for: whatsmeow
// always dials the host of the real service over TLS. A ws target gets the bare connection, a wss target gets
// TLS that is verified against the name in target.
func redirect(target, caFile string) (*http.Client, error) {
	parsed, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	var config *tls.Config
	host := parsed.Host
	switch parsed.Scheme {
	case "ws":
		host = withPort(parsed, "80")
	case "wss":
		host = withPort(parsed, "443")
		config = &tls.Config{ServerName: parsed.Hostname(), NextProtos: []string{"http/1.1"}}
		if caFile != "" {
			if config.RootCAs, err = readPool(caFile); err != nil {
				return nil, err
			}
		}
	default:
		return nil, fmt.Errorf("url: want ws:// or wss://, have %q", target)
	}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		plain, err := new(net.Dialer).DialContext(ctx, network, host)
		if err != nil || config == nil {
			return plain, err
		}
		secure := tls.Client(plain, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = plain.Close()
			return nil, err
		}
		return secure, nil
	}
	return &http.Client{Transport: &http.Transport{DialTLSContext: dial}}, nil
}

func withPort(parsed *url.URL, port string) string {
	if parsed.Port() != "" {
		port = parsed.Port()
	}
	return net.JoinHostPort(parsed.Hostname(), port)
}

func readPool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate", file)
	}
	return pool, nil
}
