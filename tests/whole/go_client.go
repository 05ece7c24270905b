// Visits /session with Go's crypto/tls, as often as asked, and prints a line of JSON for each.
// Its argument: {"port": …, "ca": "ca.pem", "version": "TLSv1.3", "clients": 10, "visits": 3}
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

const (
	request = "GET /session HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
	timeout = 20 * time.Second
)

var versions = map[string]uint16{"TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13}

type told struct {
	Port            int
	CA, Version     string
	Clients, Visits int
}

type seen struct {
	Client  int             `json:"client"`
	Resumed bool            `json:"resumed"`
	Session json.RawMessage `json:"session"`
}

func main() {
	if err := visitAll(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func visitAll(argument string) error {
	var told told
	if err := json.Unmarshal([]byte(argument), &told); err != nil {
		return err
	}
	ca, err := os.ReadFile(told.CA)
	if err != nil {
		return err
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(ca)
	address := fmt.Sprintf("127.0.0.1:%d", told.Port)
	lines := json.NewEncoder(os.Stdout)
	for client := 0; client < told.Clients; client++ {
		settings := &tls.Config{
			ServerName:         "localhost",
			RootCAs:            trusted,
			MinVersion:         versions[told.Version],
			MaxVersion:         versions[told.Version],
			ClientSessionCache: tls.NewLRUClientSessionCache(1),
		}
		for count := 0; count < told.Visits; count++ {
			resumed, session, err := visit(address, settings)
			if err != nil {
				return err
			}
			if err := lines.Encode(seen{client, resumed, session}); err != nil {
				return err
			}
		}
	}
	return nil
}

// visit returns whether it resumed, by the client's own word, and what /session answered.
func visit(address string, settings *tls.Config) (bool, []byte, error) {
	dialer := &net.Dialer{Timeout: timeout}
	connection, err := tls.DialWithDialer(dialer, "tcp", address, settings)
	if err != nil {
		return false, nil, err
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(timeout))
	if _, err := io.WriteString(connection, request); err != nil {
		return false, nil, err
	}
	answer, err := io.ReadAll(connection) // and TLS 1.3's sessions with it
	if err != nil {
		return false, nil, err
	}
	_, session, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
	return connection.ConnectionState().DidResume, session, nil
}
