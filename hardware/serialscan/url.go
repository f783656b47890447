package serialscan

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ParseURL reads the address of a scanner, in either spelling:
//
//	serial:/dev/ttyACM0?baud=9600
//	serial:///dev/serial/by-path/pci-0000:00:14.0-usb-0:1:1.0?term=cr&prefix=T
//
// The path is absolute. The keys are:
//
//	baud       speed in bit/s; default 9600 (USB scanners take any)
//	term       terminators: cr, lf, crlf, tab, as a list with commas or as the
//	           key repeated; default all four
//	prefix     text that the scanner sends before each code, to be stripped
//	settle     longest time during which input is dropped after the port was
//	           opened; 0 drops nothing; default 300ms
//	stale      quiet after which an unfinished code is dropped; default 500ms
//	retry      first, and for an absent device every, pause before the port
//	           is opened again; default 250ms
//	retry_max  longest such pause; default 5s
//
// Any other key, and any key but term given twice, is an error: a misspelt
// option must not be ignored at a door.
func ParseURL(raw string) (Config, error) {
	cfg, err := parseURL(raw)
	if err != nil {
		return Config{}, fmt.Errorf("scanner address %q: %w", raw, err)
	}
	return cfg, nil
}

func parseURL(raw string) (Config, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return Config{}, errors.Unwrap(err)
	}
	switch {
	case u.Scheme != "serial":
		return Config{}, errors.New("it must begin with serial:, as in serial:/dev/ttyACM0?baud=9600")
	case u.Host != "" || u.User != nil || u.Opaque != "" || len(u.Path) < 2:
		return Config{}, errors.New("name the device by its full path, as in serial:/dev/ttyACM0?baud=9600")
	case u.Fragment != "":
		return Config{}, errors.New("write # as %23")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Config{}, err
	}
	cfg := Config{Device: u.Path}
	for key, values := range query {
		if err := cfg.set(key, values); err != nil {
			return Config{}, err
		}
	}
	return cfg, cfg.defaults().check()
}

// set applies one query key.
func (c *Config) set(key string, values []string) error {
	if key == "term" {
		return c.setTerminators(strings.Split(strings.Join(values, ","), ","))
	}
	if len(values) != 1 {
		return fmt.Errorf("%s is given %d times", key, len(values))
	}
	var err error
	switch value := values[0]; key {
	case "baud":
		c.Baud, err = strconv.Atoi(value)
	case "prefix":
		c.Prefix = value
	case "settle":
		if c.Settle, err = parseDuration(value); c.Settle == 0 {
			c.Settle = -1 // in a Config, zero stands for the default
		}
	case "stale":
		c.Stale, err = parsePositive(value)
	case "retry":
		c.RetryMin, err = parsePositive(value)
	case "retry_max":
		c.RetryMax, err = parsePositive(value)
	default:
		return fmt.Errorf("unknown key %q: use baud, term, prefix, settle, stale, retry or retry_max", key)
	}
	if err != nil {
		return fmt.Errorf("key %s: %w", key, err)
	}
	return nil
}

func (c *Config) setTerminators(names []string) error {
	for _, name := range names {
		switch name {
		case "cr":
			c.Terminators |= CR
		case "lf":
			c.Terminators |= LF
		case "crlf":
			c.Terminators |= CRLF
		case "tab":
			c.Terminators |= Tab
		default:
			return fmt.Errorf("unknown terminator %q: use cr, lf, crlf or tab", name)
		}
	}
	return nil
}

func parseDuration(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err == nil && d < 0 {
		err = fmt.Errorf("%s is negative", value)
	}
	return d, err
}

func parsePositive(value string) (time.Duration, error) {
	d, err := parseDuration(value)
	if err == nil && d == 0 {
		err = errors.New("it must be over zero, as in 500ms")
	}
	return d, err
}
