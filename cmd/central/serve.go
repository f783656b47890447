package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/central"
	"gatehouse/central/api"
	"gatehouse/central/api/live"
)

// serveFlags are the flags of serve.
type serveFlags struct {
	where
	sales          salesFlags
	wallets        walletFlags
	mail           mailFlags
	listen, public string
	pprof          string
	cert, key      string
	insecure       bool
	proxies        []string
	origins        []string
	rate           int
	live, liveEach int
	level          slog.Level
}

func serveCommand(a *app) *cobra.Command {
	f := serveFlags{where: where{makes: true}}
	c := &cobra.Command{
		Use:   "serve --data DIR --listen ADDR",
		Short: "Serve the gates, the REST API and the pages until it is stopped",
		Long: `Serve the gates, the REST API and the pages until it is stopped by a signal. When it
serves it prints one line: central ready URL.

On a loopback address it speaks plain HTTP. Any other address needs --tls-cert and
--tls-key, or --insecure-http where something in front of it ends TLS.`,
		Example: "  central serve --data /var/lib/gatehouse --listen 127.0.0.1:8080\n  central serve --data /var/lib/gatehouse --listen :443 --tls-cert cert.pem --tls-key key.pem --public-url https://tickets.example.org",
		Args:    arguments(),
		RunE:    func(c *cobra.Command, _ []string) error { return a.runServe(c.Context(), &f) },
	}
	f.add(c)
	f.sales.add(c)
	f.wallets.add(c)
	f.mail.add(c)
	flags := c.Flags()
	flags.StringVar(&f.listen, "listen", "", "address to listen on, host:port; port 0 takes a free one (required)")
	flags.StringVar(&f.public, "public-url", "", "URL by which gates and people reach this central; enrolment tokens and ticket links carry it\n(default: the address it listens on, unless that is every address)")
	flags.StringVar(&f.cert, "tls-cert", "", "file of the TLS certificate and its chain, PEM")
	flags.StringVar(&f.key, "tls-key", "", "file of the TLS key, PEM")
	flags.BoolVar(&f.insecure, "insecure-http", false, "speak plain HTTP on an address that others can reach: whoever shares the network\ncan read the attendance page and the gates' traffic, though not forge it;\nuse it behind a proxy that ends TLS")
	flags.StringArrayVar(&f.proxies, "trusted-proxy", nil, "network of a proxy in front, such as 10.0.0.0/8, whose X-Forwarded-For is believed;\nmay be repeated (default: none)")
	flags.StringArrayVar(&f.origins, "allow-origin", nil, "site whose scripts may use the REST API in a browser, such as https://fair.example;\nmay be repeated (default: none but central's own)")
	flags.IntVar(&f.live, "live-max", live.StreamsMax, "live streams at once; each takes a file descriptor and some 7 KiB")
	flags.IntVar(&f.liveEach, "live-address-max", live.AddressMax, "live streams at once of one address")
	flags.IntVar(&f.rate, "rate-limit", api.RateDefault, "API requests a minute for an account, an API key, or the visitors at one address; 0 for no limit")
	flags.StringVar(&f.pprof, "pprof", "", "loopback address, host:port, to serve profiles on for go tool pprof; whoever is on this machine\ncan read them (default: nowhere)")
	flags.TextVar(&f.level, "log-level", slog.LevelInfo, "least level of what is logged: DEBUG, INFO, WARN or ERROR")
	needs(c, "listen")
	return c
}

func (a *app) runServe(ctx context.Context, f *serveFlags) error {
	secure, err := f.check(ctx)
	if err != nil {
		return err
	}
	proxies, err := f.trusted()
	if err != nil {
		return err
	}
	orders, err := f.sales.config()
	if err != nil {
		return err
	}
	wallets, err := f.wallets.config()
	if err != nil {
		return err
	}
	letters, err := f.mail.config(f.sales.back)
	if err != nil {
		return err
	}
	// Before the database, which takes seconds to start: an address that is taken
	// is found at once.
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return fmt.Errorf("%w; choose another address with --listen", err)
	}
	logger := a.logger(f.level)
	tellFiles(logger, f.live)
	local, public := f.urls(listener.Addr())
	wallets.URL = public
	s, err := a.open(ctx, &f.where, central.Config{Logger: logger, Orders: orders, Handout: wallets, Mail: letters})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	cfg := central.ServeConfig{
		Listener: listener, TLS: secure, PublicURL: public, TrustedProxies: proxies, RateLimit: f.rate, AllowOrigins: f.origins,
		LiveMax: f.live, LiveAddressMax: f.liveEach,
		OnReady: func() {
			logger.Info("serving", "url", local)
			fmt.Fprintf(a.out, "central ready %s\n", local) // one write
		},
	}
	cfg.Background = map[string]func(context.Context) error{}
	if s.cluster != nil {
		cfg.Background["postgres"] = s.cluster.Watch
	}
	if f.pprof != "" {
		cfg.Background["pprof"] = profiles(f.pprof, a.out)
	}
	return errors.Join(s.Serve(ctx, cfg), s.close())
}

// check reads the certificate and refuses to speak plainly where others listen.
func (f *serveFlags) check(ctx context.Context) (*tls.Config, error) {
	host, _, err := net.SplitHostPort(f.listen)
	if err != nil {
		return nil, misused("--listen %q is not an address such as 127.0.0.1:8080", f.listen)
	}
	if at, _, err := net.SplitHostPort(f.pprof); f.pprof != "" && (err != nil || !loopback(ctx, at)) {
		return nil, misused("--pprof %q is not a loopback address such as 127.0.0.1:6060", f.pprof)
	}
	if u, err := url.Parse(f.public); f.public != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return nil, misused("--public-url %q is not a URL such as https://tickets.example.org", f.public)
	}
	if (f.cert == "") != (f.key == "") {
		return nil, misused("--tls-cert and --tls-key belong together: give both")
	}
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, fmt.Errorf("read TLS certificate: %w", err)
		}
		return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
	}
	if !f.insecure && !loopback(ctx, host) {
		return nil, misused("--listen %s can be reached by others: give --tls-cert and --tls-key, or --insecure-http behind a proxy that ends TLS", f.listen)
	}
	return nil, nil
}

// trusted reads the networks of proxies, and looks at what else says who may ask.
func (f *serveFlags) trusted() ([]netip.Prefix, error) {
	switch {
	case f.rate < 0:
		return nil, misused("--rate-limit cannot be less than 0")
	case f.live < 1 || f.liveEach < 1:
		return nil, misused("--live-max and --live-address-max cannot be less than 1")
	}
	for _, text := range f.origins {
		if u, err := url.Parse(text); text != "*" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" || u.RawQuery != "") {
			return nil, misused("--allow-origin %q is not a site such as https://fair.example", text)
		}
	}
	out := make([]netip.Prefix, len(f.proxies))
	for i, text := range f.proxies {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, misused("--trusted-proxy %q is not a network such as 10.0.0.0/8", text)
		}
		out[i] = p
	}
	return out, nil
}

// loopback reports whether only this machine reaches host.
func loopback(ctx context.Context, host string) bool {
	if host == "" {
		return false
	}
	addresses, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	for _, a := range addresses {
		if !a.IP.IsLoopback() {
			return false
		}
	}
	return err == nil && len(addresses) > 0
}

// urls are where this machine reaches the server, and where gates do: nowhere
// that is known, if it listens on every address and nobody says.
func (f *serveFlags) urls(addr net.Addr) (local, public string) {
	scheme := "http"
	if f.cert != "" {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return scheme + "://" + addr.String(), f.public
	}
	everywhere := net.ParseIP(host).IsUnspecified()
	if everywhere {
		host = "127.0.0.1"
	}
	local = scheme + "://" + net.JoinHostPort(host, port)
	switch {
	case f.public != "":
		public = strings.TrimRight(f.public, "/")
	case !everywhere:
		public = local
	}
	return local, public
}
