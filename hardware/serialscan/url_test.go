package serialscan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]Config{
		"serial:/dev/ttyACM0":                 {Device: "/dev/ttyACM0"},
		"serial:///dev/ttyACM0":               {Device: "/dev/ttyACM0"},
		"serial:/dev/ttyACM0?baud=115200":     {Device: "/dev/ttyACM0", Baud: 115200},
		"serial:///dev/ttyACM0?baud=9600":     {Device: "/dev/ttyACM0", Baud: 9600},
		"serial:/dev/t?term=cr,lf":            {Device: "/dev/t", Terminators: CR | LF},
		"serial:/dev/t?term=crlf&term=tab":    {Device: "/dev/t", Terminators: CRLF | Tab},
		"serial:/dev/t?prefix=%02T%2B":        {Device: "/dev/t", Prefix: "\x02T+"},
		"serial:/dev/t?settle=50ms":           {Device: "/dev/t", Settle: 50 * time.Millisecond},
		"serial:/dev/t?settle=0":              {Device: "/dev/t", Settle: -1},
		"serial:/dev/t?stale=1s":              {Device: "/dev/t", Stale: time.Second},
		"serial:/dev/t?retry=1s&retry_max=1m": {Device: "/dev/t", RetryMin: time.Second, RetryMax: time.Minute},
		"serial:/dev/serial/by-path/pci-0000:00:14.0-usb-0:1:1.0": {
			Device: "/dev/serial/by-path/pci-0000:00:14.0-usb-0:1:1.0",
		},
	} {
		got, err := ParseURL(raw)
		require.NoError(t, err, raw)
		require.Equal(t, want, got, raw)
		_, err = New(got)
		require.NoError(t, err, raw)
	}
}

func TestParseURLRefuses(t *testing.T) {
	t.Parallel()
	for raw, why := range map[string]string{
		"":                                    "must begin with serial:",
		"/dev/ttyACM0":                        "must begin with serial:",
		"evdev:/dev/input/event0":             "must begin with serial:",
		"serial:":                             "full path",
		"serial:/":                            "full path",
		"serial:dev/ttyACM0":                  "full path",
		"serial://usb/0c2e:0aaa":              "full path",
		"serial:///dev/t#1":                   "%23",
		"serial:/dev/%zz":                     "invalid URL escape",
		"serial:/dev/t?a=%zz":                 "invalid URL escape",
		"serial:/dev/t?lane=N1":               `unknown key "lane"`,
		"serial:/dev/t?dir=in":                `unknown key "dir"`,
		"serial:/dev/t?Baud=9600":             `unknown key "Baud"`,
		"serial:/dev/t?baud=":                 "key baud",
		"serial:/dev/t?baud=fast":             "key baud",
		"serial:/dev/t?baud=250000":           "speed",
		"serial:/dev/t?baud=-9600":            "speed",
		"serial:/dev/t?baud=9600&baud=9600":   "given 2 times",
		"serial:/dev/t?term=":                 "unknown terminator",
		"serial:/dev/t?term=cr,nul":           "unknown terminator",
		"serial:/dev/t?settle=-1s":            "negative",
		"serial:/dev/t?settle=300":            "key settle",
		"serial:/dev/t?stale=0":               "over zero",
		"serial:/dev/t?retry=0s":              "over zero",
		"serial:/dev/t?retry=2s&retry_max=1s": "longest retry",
	} {
		_, err := ParseURL(raw)
		require.ErrorContains(t, err, why, raw)
		require.NotContains(t, err.Error(), "\n")
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	for _, cfg := range []Config{
		{},
		{Device: "ttyACM0"},
		{Device: "/dev/t", Baud: 1},
		{Device: "/dev/t", LineMax: -1},
		{Device: "/dev/t", NoiseMin: -1},
		{Device: "/dev/t", Stale: -1},
		{Device: "/dev/t", RetryMin: -1},
		{Device: "/dev/t", RetryMin: 2, RetryMax: 1},
	} {
		_, err := New(cfg)
		require.Error(t, err, "%+v", cfg)
	}
}
