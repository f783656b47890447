package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"

	"github.com/google/uuid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/wire"
)

// A line is the least that a word between gates costs: TCP and TLS 1.3 over the
// loopback between two goroutines, with the bytes of a claim one way and those of
// its answer back.
type line struct {
	near, far     *tls.Conn
	claim, answer []byte
	arrived       chan time.Time
	oneWay        samples // of the claim
	roundTrip     samples
}

func openLine() (_ *line, err error) {
	l := &line{arrived: make(chan time.Time, 1)}
	if l.claim, l.answer, err = typicalWords(); err != nil {
		return nil, err
	}
	cfg, err := selfSigned()
	if err != nil {
		return nil, err
	}
	socket, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		return nil, fmt.Errorf("line of TLS: %w", err)
	}
	defer func() { err = errors.Join(err, socket.Close()) }()
	accepted := make(chan error, 1)
	go func() {
		far, err := socket.Accept()
		if err == nil {
			l.far = far.(*tls.Conn)
			err = l.far.Handshake()
		}
		accepted <- err
	}()
	l.near, err = tls.Dial("tcp", socket.Addr().String(), cfg)
	if err := errors.Join(err, <-accepted); err != nil {
		return nil, fmt.Errorf("line of TLS: %w", errors.Join(err, l.close()))
	}
	go l.serve()
	return l, nil
}

// typicalWords are a claim and an answer to it, as the mesh frames them.
func typicalWords() (claim, answer []byte, err error) {
	now := time.Now()
	claim, err = wire.AppendPeer(nil, &syncproto.PeerMessage{Claim: &syncproto.Claim{
		ID: 1000, Incarnation: uuid.New(), Ticket: 10_000, Type: 1, T: syncproto.HLCAt(now), MS: now.UnixMilli(), ErrMS: 5,
		Kind: syncproto.KindAdmit, Lane: "N1", Zone: "main", Ask: true,
	}})
	if err != nil {
		return nil, nil, err
	}
	answer, err = wire.AppendPeer(nil, &syncproto.PeerMessage{Answer: &syncproto.ClaimAnswer{ID: 1000, OK: true}})
	return claim, answer, err
}

// selfSigned is TLS with one certificate that either side shows and nobody asks
// after.
func selfSigned() (*tls.Config, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make keys: %w", err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		InsecureSkipVerify: true, //nolint:gosec // it is both ends itself
	}, nil
}

// serve notes when a claim is there whole, and answers it.
func (l *line) serve() {
	got := make([]byte, len(l.claim))
	for {
		if _, err := io.ReadFull(l.far, got); err != nil {
			return
		}
		l.arrived <- time.Now()
		if _, err := l.far.Write(l.answer); err != nil {
			return
		}
	}
}

// send sends one claim and waits for its answer.
func (l *line) send() error {
	got := make([]byte, len(l.answer))
	start := time.Now()
	if _, err := l.near.Write(l.claim); err != nil {
		return fmt.Errorf("line of TLS: %w", err)
	}
	if _, err := io.ReadFull(l.near, got); err != nil {
		return fmt.Errorf("line of TLS: %w", err)
	}
	l.roundTrip = append(l.roundTrip, time.Since(start))
	l.oneWay = append(l.oneWay, (<-l.arrived).Sub(start))
	return nil
}

// close breaks the line off without a farewell.
func (l *line) close() error {
	var err error
	for _, end := range []*tls.Conn{l.near, l.far} {
		if end != nil {
			err = errors.Join(err, end.NetConn().Close())
		}
	}
	return err
}
