package serialscan

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func testFramer(change func(*Config)) *framer {
	cfg := Config{Device: "/dev/test"}
	if change != nil {
		change(&cfg)
	}
	return newFramer(cfg.defaults())
}

// frames feeds the chunks and returns the codes as text.
func frames(f *framer, chunks ...string) []string {
	var got []string
	for _, chunk := range chunks {
		f.Feed([]byte(chunk), func(code []byte) { got = append(got, string(code)) })
	}
	return got
}

func TestFramerCutsCodes(t *testing.T) {
	t.Parallel()
	full, over := strings.Repeat("A", DefaultLineMax), strings.Repeat("A", DefaultLineMax+1)
	for name, c := range map[string]struct {
		terms  Terminators
		prefix string
		in     []string
		want   []string
		counts frameCounts
	}{
		"cr":                        {in: []string{"ONE\rTWO\r"}, want: []string{"ONE", "TWO"}},
		"lf":                        {in: []string{"ONE\nTWO\n"}, want: []string{"ONE", "TWO"}},
		"crlf":                      {in: []string{"ONE\r\nTWO\r\n"}, want: []string{"ONE", "TWO"}},
		"tab":                       {in: []string{"ONE\tTWO\t"}, want: []string{"ONE", "TWO"}},
		"crlf across reads":         {in: []string{"ONE\r", "\nTWO\r", "\n"}, want: []string{"ONE", "TWO"}},
		"split":                     {in: []string{"O", "", "N", "E\rTW", "O\r"}, want: []string{"ONE", "TWO"}},
		"unfinished":                {in: []string{"ONE\rTW"}, want: []string{"ONE"}},
		"empty lines":               {in: []string{"\r\n\r\n\t\n\rONE\r\r"}, want: []string{"ONE"}},
		"only cr":                   {terms: CR, in: []string{"A\tB\nC\r"}, want: []string{"A\tB\nC"}, counts: frameCounts{noisy: 1}},
		"only lf":                   {terms: LF, in: []string{"ONE\r\nTWO\n"}, want: []string{"ONE\r", "TWO"}, counts: frameCounts{noisy: 1}},
		"lf and crlf":               {terms: LF | CRLF, in: []string{"ONE\r\nTWO\n"}, want: []string{"ONE", "TWO"}},
		"only crlf":                 {terms: CRLF, in: []string{"A\rB\nC\r", "\nD\r\r\n"}, want: []string{"A\rB\nC", "D\r"}, counts: frameCounts{noisy: 2}},
		"only tab":                  {terms: Tab, in: []string{"ONE\tTWO\r\n\t"}, want: []string{"ONE", "TWO\r\n"}, counts: frameCounts{noisy: 1}},
		"aim":                       {in: []string{"]Q1ONE\r]C1TWO\r]d2THREE\r"}, want: []string{"ONE", "TWO", "THREE"}},
		"aim split":                 {in: []string{"]", "Q", "1", "ONE\r"}, want: []string{"ONE"}},
		"aim alone is empty":        {in: []string{"]Q1\r"}},
		"aim once":                  {in: []string{"]Q1]Q1ONE\r"}, want: []string{"]Q1ONE"}},
		"not aim":                   {in: []string{"]1QONE\r]Q\r]Q-ONE\rA]Q1B\r"}, want: []string{"]1QONE", "]Q", "]Q-ONE", "A]Q1B"}},
		"prefix":                    {prefix: "T:", in: []string{"T:ONE\rTWO\r"}, want: []string{"ONE", "TWO"}},
		"prefix then aim":           {prefix: "T:", in: []string{"T:]Q1ONE\r"}, want: []string{"ONE"}},
		"prefix alone is empty":     {prefix: "T:", in: []string{"T:\r"}},
		"short noise":               {in: []string{"\x00\xff\x80\rONE\r"}, want: []string{"ONE"}, counts: frameCounts{noise: 1}},
		"garbage is somebody's":     {in: []string{"\x00\xff\x80\x01\rONE\r"}, want: []string{"\x00\xff\x80\x01", "ONE"}, counts: frameCounts{noisy: 1}},
		"one bad byte":              {in: []string{"O\xceE\rONE\r"}, want: []string{"O\xceE", "ONE"}, counts: frameCounts{noisy: 1}},
		"one good byte":             {in: []string{"\x00A\r"}, want: []string{"\x00A"}, counts: frameCounts{noisy: 1}},
		"longest":                   {in: []string{full + "\r"}, want: []string{full}},
		"longest before crlf":       {terms: CRLF, in: []string{full + "\r\n"}, want: []string{full}},
		"over-long":                 {in: []string{over + "\rONE\r"}, want: []string{"ONE"}, counts: frameCounts{long: 1}},
		"over-long, split":          {in: []string{over, over, "\r", "\nONE\r"}, want: []string{"ONE"}, counts: frameCounts{long: 1}},
		"over-long twice":           {in: []string{over + "\r" + over + "\rONE\r"}, want: []string{"ONE"}, counts: frameCounts{long: 2}},
		"over-long and an inner cr": {terms: CRLF, in: []string{over + "\rX\r\nONE\r\n"}, want: []string{"ONE"}, counts: frameCounts{long: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := testFramer(func(cfg *Config) { cfg.Terminators, cfg.Prefix = c.terms, c.prefix })
			require.Equal(t, c.want, frames(f, c.in...))
			require.Equal(t, c.counts, f.counts)
		})
	}
}

func TestFramerDropsALineLeftQuiet(t *testing.T) {
	t.Parallel()
	f := testFramer(nil)
	require.Empty(t, frames(f, "HALF A CO"))
	f.Quiet(DefaultStale - time.Millisecond)
	require.Equal(t, []string{"HALF A CODE"}, frames(f, "DE\r"), "a short pause is no end")

	require.Empty(t, frames(f, "HALF A CO"))
	f.Quiet(DefaultStale / 2)
	require.Empty(t, frames(f, "D"), "a byte starts the quiet anew")
	f.Quiet(DefaultStale / 2)
	require.Equal(t, []string{"HALF A CODE"}, frames(f, "E\r"))
	require.Zero(t, f.counts.partial)

	require.Empty(t, frames(f, "HALF A CO"))
	f.Quiet(DefaultStale / 2)
	f.Quiet(DefaultStale / 2)
	require.Equal(t, []string{"WHOLE"}, frames(f, "WHOLE\r"))
	f.Quiet(time.Hour)
	require.EqualValues(t, 1, f.counts.partial, "an empty line is no partial one")
}

func TestFramerEndsAnOverlongLineThatIsLeftQuiet(t *testing.T) {
	t.Parallel()
	f := testFramer(nil)
	require.Empty(t, frames(f, strings.Repeat("A", DefaultLineMax+1)))
	f.Quiet(DefaultStale)
	require.Equal(t, []string{"ONE"}, frames(f, "ONE\r"))
	require.Equal(t, frameCounts{long: 1}, f.counts, "counted once, by its first fault")
}

func TestFramerForgetsACRThatWasLeftQuiet(t *testing.T) {
	t.Parallel()
	f := testFramer(func(cfg *Config) { cfg.Terminators = CRLF })
	require.Empty(t, frames(f, "ONE\r"))
	f.Quiet(DefaultStale)
	require.Equal(t, []string{"\nTWO"}, frames(f, "\nTWO\r\n"))
	require.EqualValues(t, 1, f.counts.partial)
}

// drawStream draws bytes that mean something to a framer.
func drawStream(t *rapid.T) []byte {
	piece := rapid.OneOf(
		rapid.SampledFrom([]string{"\r", "\n", "\r\n", "\t", "]Q1", "P:", "\x00", "\xff"}),
		rapid.StringMatching(`[A-Z0-9]{1,20}`),
		rapid.Just(strings.Repeat("Z", 40)),
	)
	return []byte(strings.Join(rapid.SliceOfN(piece, 0, 60).Draw(t, "pieces"), ""))
}

func TestFramerDoesNotCareHowBytesWereRead(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		stream := drawStream(t)
		shape := func(cfg *Config) {
			cfg.LineMax, cfg.Prefix, cfg.Stale = 32, "P:", time.Second
		}
		terms := Terminators(rapid.IntRange(0, 15).Draw(t, "terms"))
		whole := testFramer(func(cfg *Config) { shape(cfg); cfg.Terminators = terms })
		want := frames(whole, string(stream))

		cut := testFramer(func(cfg *Config) { shape(cfg); cfg.Terminators = terms })
		var got []string
		for rest := stream; len(rest) > 0; {
			n := rapid.IntRange(0, len(rest)).Draw(t, "chunk")
			got = append(got, frames(cut, string(rest[:n]))...)
			if n > 0 {
				cut.Quiet(time.Duration(rapid.IntRange(0, 999).Draw(t, "quiet ms")) * time.Millisecond)
			}
			rest = rest[n:]
		}
		if len(want) != len(got) || strings.Join(want, "|") != strings.Join(got, "|") {
			t.Fatalf("whole %q, cut %q", want, got)
		}
		if whole.counts != cut.counts {
			t.Fatalf("whole %+v, cut %+v", whole.counts, cut.counts)
		}
	})
}

func FuzzFramer(f *testing.F) {
	f.Add([]byte("ONE\rTWO\r\n]Q1THREE\t"), uint8(0), uint8(3))
	f.Add([]byte("\x00\xff\x80\r\x00\x01\x02\x03\n"), uint8(CR|LF), uint8(1))
	f.Add(bytes.Repeat([]byte("A"), 80), uint8(CRLF), uint8(7))
	f.Add([]byte("P:]C1X\r\rY\r\n"), uint8(CRLF), uint8(2))
	f.Fuzz(func(t *testing.T, stream []byte, terms, chunk uint8) {
		shape := func(cfg *Config) {
			cfg.Terminators, cfg.LineMax, cfg.Prefix = Terminators(terms)%16, 64, "P:"
		}
		whole, cut := testFramer(shape), testFramer(shape)
		want := frames(whole, string(stream))
		var got []string
		for part := range slices.Chunk(stream, int(chunk)+1) {
			got = append(got, frames(cut, string(part))...)
		}
		require.Equal(t, want, got)
		require.Equal(t, whole.counts, cut.counts)
		total := 0
		for _, code := range want {
			require.NotEmpty(t, code)
			require.LessOrEqual(t, len(code), 64)
			if whole.terms&CR != 0 {
				require.NotContains(t, code, "\r")
			}
			if whole.terms&LF != 0 {
				require.NotContains(t, code, "\n")
			}
			if whole.terms&Tab != 0 {
				require.NotContains(t, code, "\t")
			}
			total += len(code) + 1
		}
		require.LessOrEqual(t, total, len(stream), "codes hold more than was sent")
		whole.Quiet(DefaultStale)
		next := frames(whole, "NEXT\r\n\t")
		require.NotEmpty(t, next, "the framer is stuck")
		require.True(t, strings.HasPrefix(next[0], "NEXT"), "the framer mixes codes: %q", next)
	})
}
