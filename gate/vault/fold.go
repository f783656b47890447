package vault

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// article is the Arabic definite article, which is written as a part of the word.
const (
	article    = "ال"
	articleMin = 5 // letters of a word that begins with it, for it to be one
)

// Words are what a text is searched by: in lower case, without accents and other
// marks, with the forms of an Arabic letter and of a digit made one, cut where
// anything but a letter or digit stands. Words of Words are the same words.
func Words(text string) []string {
	if plain(text) {
		return plainWords(text)
	}
	var words []string
	var word strings.Builder
	end := func() {
		if word.Len() > 0 {
			words = append(words, word.String())
			word.Reset()
		}
	}
	for _, r := range norm.NFKD.String(text) {
		r = unicode.ToLower(r)
		switch {
		case unicode.Is(unicode.M, r), silent(r):
		case unicode.IsLetter(r), unicode.IsDigit(r):
			word.WriteString(fold(r))
		default:
			end()
		}
	}
	end()
	return words
}

// plain reports whether a text is ASCII without what is silent, as most are.
func plain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c >= 0x80 || c == '\'' || c == '`' {
			return false
		}
	}
	return true
}

// plainWords is Words of a plain text, for which nothing has to be folded.
func plainWords(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
}

// silent are characters within a word that make no other word of it: apostrophes of
// all kinds, the Arabic kashida, and what only steers the shaping of letters.
func silent(r rune) bool {
	switch r {
	case '\'', '’', '‘', 'ʼ', 'ʻ', '`', '´', 'ʹ', 'ـ', '\u00ad', '\u200b', '\u200c', '\u200d', '\u2060':
		return true
	}
	return false
}

// fold is a letter in the one form that it is searched by. What Unicode takes for an
// accented letter has lost its accent already.
func fold(r rune) string {
	switch r {
	case 'ß':
		return "ss"
	case 'æ':
		return "ae"
	case 'œ':
		return "oe"
	case 'þ':
		return "th"
	case 'ø':
		return "o"
	case 'đ', 'ð':
		return "d"
	case 'ł':
		return "l"
	case 'ħ':
		return "h"
	case 'ı':
		return "i"
	case 'ŋ':
		return "n"
	case 'ς':
		return "σ"
	case 'ٱ':
		return "ا"
	case 'ى', 'ی':
		return "ي"
	case 'ة', 'ہ', 'ھ', 'ە':
		return "ه"
	case 'ک':
		return "ك"
	}
	switch {
	case r >= '٠' && r <= '٩':
		r += '0' - '٠'
	case r >= '۰' && r <= '۹':
		r += '0' - '۰'
	}
	return string(r)
}

// withoutArticle is an Arabic word without its article; empty where it has none.
func withoutArticle(word string) string {
	rest, ok := strings.CutPrefix(word, article)
	if !ok || len([]rune(word)) < articleMin {
		return ""
	}
	return rest
}
