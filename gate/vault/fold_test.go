package vault

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/syncproto"
	"gatehouse/syncproto/holder"
)

func TestWordsAreFolded(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                         "",
		"  ,;  ":                   "",
		"Ada Lovelace":             "ada lovelace",
		"ÉLODIE  d’Ånström-Müller": "elodie danstrom muller",
		"Straße ẞ Æsir Œuvre Ørsted Łódź":            "strasse ss aesir oeuvre orsted lodz",
		"Þór Đorđe İstanbul ısı Νίκος":               "thor dorde istanbul isi νικοσ",
		"O'Brien O’Brien OBrien":                     "obrien obrien obrien",
		"ada.lovelace+fair@Example.ORG":              "ada lovelace fair example org",
		"فاطِمة الفِهري":                             "فاطمه الفهري",
		"أحمد إحمد آحمد ٱحمد":                        "احمد احمد احمد احمد",
		"مـــحـــمـــد":                              "محمد",
		"موسى موسي موسی":                             "موسي موسي موسي",
		"رؤى مسؤول رئيس":                             "روي مسوول رييس",
		"كريم کریم":                                  "كريم كريم",
		"ب-٢٠٢٦ ۱۲۳ 007":                             "ب 2026 123 007",
		"ﻻ ﷲ":                                        "لا الله",
		"ＡＤＡ ℡ ½":                                    "ada tel 1 2",
		"山田 太郎":                                      "山田 太郎",
		"A\x00B\nC\tD":                               "a b c d",
		"zero\u200bwidth\u200djoin soft\u00adhyphen": "zerowidthjoin softhyphen",
	} {
		require.Equal(t, strings.Fields(want), append([]string{}, Words(text)...), "%q", text)
	}
}

// Folding twice is folding once, whatever the text: the words in memory and the words
// of a query meet.
func TestFoldingIsStable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~]{0,30}`)).Draw(t, "text")
		words := Words(text)
		require.Equal(t, append([]string{}, words...), append([]string{}, Words(strings.Join(words, " "))...))
		// The quick way of a plain text is the way of all texts.
		require.Equal(t, append([]string{}, words...), append([]string{}, Words(text+" \u00b7")...))
		for _, w := range words {
			require.NotContains(t, w, " ")
			require.NotContains(t, w, "\n")
			require.NotContains(t, w, "\x00")
			require.True(t, utf8.ValidString(w))
		}
		require.Equal(t, append([]string{}, words...), append([]string{}, Words(strings.ToLower(text))...), "case does not matter")
	})
}

// Whoever is in the index is found by every beginning of every word, in any order,
// and nobody else is.
func TestEveryBeginningFinds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var x index
		names := rapid.SliceOfN(rapid.StringMatching(`[A-Za-zÀ-ÿأ-ي]{1,8}( [A-Za-zÀ-ÿأ-ي]{1,8}){0,3}`), 1, 30).Draw(t, "names")
		for i, name := range names {
			require.True(t, x.put(syncproto.TicketNo(i+1), 1, &holder.Holder{Name: name}))
		}
		query := rapid.SampledFrom(names).Draw(t, "whom")
		words := queryWords(query)
		if len(words) == 0 {
			return
		}
		var cut []string
		for _, w := range words {
			runes := []rune(w)
			cut = append(cut, string(runes[:rapid.IntRange(1, len(runes)).Draw(t, "letters")]))
		}
		cut = rapid.Permutation(cut).Draw(t, "order")
		got, more := x.find(cut, len(names))
		require.False(t, more)
		var want []syncproto.TicketNo
		for i, name := range names {
			if matches(name, cut) {
				want = append(want, syncproto.TicketNo(i+1))
			}
		}
		require.Equal(t, want, got)
		require.NotEmpty(t, got)
	})
}

// matches is what find does, told plainly.
func matches(name string, query []string) bool {
	for _, q := range query {
		ok := false
		for _, w := range Words(name) {
			ok = ok || strings.HasPrefix(w, q) || withoutArticle(w) != "" && strings.HasPrefix(withoutArticle(w), q)
		}
		if !ok {
			return false
		}
	}
	return true
}

func TestTheArabicArticleCanBeLeftOut(t *testing.T) {
	t.Parallel()
	var x index
	x.put(1, 1, &holder.Holder{Name: "فاطمة الفهري"})
	for _, q := range []string{"الفهري", "فهر", "ٱلفهري فاطمه"} {
		got, _ := x.find(queryWords(q), 5)
		require.Equal(t, []syncproto.TicketNo{1}, got, q)
	}
	require.Empty(t, withoutArticle("الى"), "a short word is one")
}

// A tombstone, a rename and what comes late leave the newest revision, in any order.
func TestTheNewestRevisionIsFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var x index
		newest := map[syncproto.TicketNo]int64{}
		for range rapid.IntRange(1, 60).Draw(t, "changes") {
			no, rev := syncproto.TicketNo(rapid.IntRange(0, 5).Draw(t, "no")), int64(rapid.IntRange(1, 9).Draw(t, "rev"))
			if x.older(no, rev) {
				require.GreaterOrEqual(t, newest[no], rev)
				continue
			}
			newest[no] = rev
			if rev%3 == 0 {
				require.True(t, x.put(no, rev, nil))
				continue
			}
			require.True(t, x.put(no, rev, &holder.Holder{Name: "N" + strings.Repeat("x", int(rev))}))
		}
		lines := 0
		for no, rev := range newest {
			got, _ := x.find([]string{"n" + strings.Repeat("x", int(rev))}, 99)
			if rev%3 == 0 {
				require.NotContains(t, got, no)
				continue
			}
			lines++
			require.Contains(t, got, no)
		}
		require.Equal(t, lines, x.lines)
	})
}

func TestLimitsOfTheIndex(t *testing.T) {
	t.Parallel()
	var x index
	long := strings.Repeat("word ", 400) + "beyond"
	require.True(t, x.put(1<<32-1, 1<<40, &holder.Holder{Name: long}))
	got, _ := x.find([]string{"word"}, 5)
	require.Equal(t, []syncproto.TicketNo{1<<32 - 1}, got, "one ticket, however often the word comes")
	got, _ = x.find([]string{"beyond"}, 5)
	require.Empty(t, got, "words beyond LineMax are not searched by")

	for i := range 30 {
		x.put(syncproto.TicketNo(i+1), 1, &holder.Holder{Name: "Smith"})
	}
	got, more := x.find([]string{"smi"}, 20)
	require.Len(t, got, 20)
	require.True(t, more)
	got, more = x.find([]string{"smi"}, 30)
	require.Len(t, got, 30)
	require.False(t, more)

	x.blocks = append(x.blocks, make([][]byte, blocksMax)...)
	x.blocks = x.blocks[:blocksMax]
	for i := range x.blocks {
		if x.blocks[i] == nil {
			x.blocks[i] = make([]byte, 0)
		}
	}
	x.blocks[blocksMax-1] = make([]byte, blockBytes)
	require.False(t, x.put(77, 1, &holder.Holder{Name: "Full"}), "an index that is full says so")
}

// Renaming everybody again and again takes no more memory than twice the names.
func TestReplacedLinesAreGivenBack(t *testing.T) {
	t.Parallel()
	var x index
	for rev := range int64(40) {
		for no := range syncproto.TicketNo(3000) {
			require.True(t, x.put(no, rev+1, &holder.Holder{Name: strings.Repeat("name ", 30), Email: "somebody@example.org"}))
		}
	}
	require.Equal(t, 3000, x.lines)
	require.LessOrEqual(t, x.size(), 4*blockBytes)
	got, _ := x.find([]string{"somebody"}, 5000)
	require.Len(t, got, 3000)
}

// Nothing of a name is left in the blocks after locking, nor of one that was replaced.
func TestWipingLeavesNothing(t *testing.T) {
	t.Parallel()
	var x index
	for no := range syncproto.TicketNo(20_000) {
		x.put(no, 1, &holder.Holder{Name: "Zebulon Quixote"})
	}
	x.put(5, 2, &holder.Holder{Name: "Sancho"})
	x.put(6, 2, nil)
	require.Equal(t, 19_998, strings.Count(string(join(x.blocks)), "zebulon"))
	blocks := x.blocks
	x.clear()
	for _, b := range blocks {
		require.Equal(t, make([]byte, cap(b)), b[:cap(b)])
	}
}

func join(blocks [][]byte) []byte {
	var all []byte
	for _, b := range blocks {
		all = append(all, b...)
	}
	return all
}
