package main

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"gatehouse/central"
	"gatehouse/central/pass"
)

// walletFlags say which wallets tickets can be taken into.
type walletFlags struct {
	appleCert, appleKey, appleWWDR string
	googleKey, googleIssuer        string
}

func (f *walletFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.appleCert, "apple-pass-cert", "", "file of a certificate for a pass type id, PEM, to have tickets for Apple Wallet")
	flags.StringVar(&f.appleKey, "apple-pass-key", "", "file of its key, PEM without a passphrase")
	flags.StringVar(&f.appleWWDR, "apple-wwdr", "", "file of Apple's WWDR certificate that signed it, PEM")
	flags.StringVar(&f.googleKey, "google-wallet-key", "", "file of a service account's key, JSON, to have tickets for Google Wallet")
	flags.StringVar(&f.googleIssuer, "google-wallet-issuer", "", "number of the issuer at Google Wallet")
}

// config reads what the flags name.
func (f *walletFlags) config() (central.HandoutConfig, error) {
	var cfg central.HandoutConfig
	var err error
	if f.appleCert != "" || f.appleKey != "" || f.appleWWDR != "" {
		if cfg.Apple, err = f.apple(); err != nil {
			return cfg, err
		}
	}
	if f.googleKey == "" && f.googleIssuer == "" {
		return cfg, nil
	}
	if f.googleKey == "" || f.googleIssuer == "" {
		return cfg, misused("--google-wallet-key and --google-wallet-issuer belong together: give both")
	}
	body, err := os.ReadFile(f.googleKey)
	if err != nil {
		return cfg, fmt.Errorf("read key of Google Wallet: %w", err)
	}
	account, key, err := pass.ReadGoogleKey(body)
	if err != nil {
		return cfg, fmt.Errorf("%s: %w", f.googleKey, err)
	}
	cfg.Google, err = pass.NewGoogle(pass.GoogleConfig{Issuer: f.googleIssuer, Account: account, Key: key})
	return cfg, err
}

func (f *walletFlags) apple() (*pass.Apple, error) {
	if f.appleCert == "" || f.appleKey == "" || f.appleWWDR == "" {
		return nil, misused("--apple-pass-cert, --apple-pass-key and --apple-wwdr belong together: give all three")
	}
	var cfg pass.AppleConfig
	var err error
	if cfg.Certificate, err = readCertificate(f.appleCert); err != nil {
		return nil, err
	}
	if cfg.Intermediate, err = readCertificate(f.appleWWDR); err != nil {
		return nil, err
	}
	block, err := readPEM(f.appleKey)
	if err != nil {
		return nil, err
	}
	if cfg.Key, err = privateKey(block); err != nil {
		return nil, fmt.Errorf("%s: %w", f.appleKey, err)
	}
	return pass.NewApple(cfg)
}

func readCertificate(name string) (*x509.Certificate, error) {
	block, err := readPEM(name)
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(block)
	if err != nil {
		return nil, fmt.Errorf("%s is not a certificate: %w", name, err)
	}
	return c, nil
}

// readPEM is the first block of a PEM file.
func readPEM(name string) ([]byte, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read papers of Apple Wallet: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s is not a PEM file: convert it with openssl, such as `openssl x509 -inform DER -in FILE`", name)
	}
	return block.Bytes, nil
}

// privateKey reads a key as openssl writes it.
func privateKey(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("not a key without a passphrase: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of kind %T signs nothing", key)
	}
	return signer, nil
}
