package portal

import (
	"fmt"

	"gatehouse/central/staff"
)

// arabic is the language of pages that are not in English.
const arabic = "ar"

// accountWords are what a page about an account says, in one language.
type accountWords struct {
	Lang, Dir           string
	Title, Lead, Button string
	Label               string // of a password
	done, gone          string
	rule, busy          string
}

// accountWordsOf is what the page of a purpose says; English in a language that there is
// none of.
func accountWordsOf(lang string, purpose Purpose) *accountWords {
	if lang == arabic {
		return arabicAccount(purpose)
	}
	w := &accountWords{
		Lang: "en", Dir: "ltr",
		Title: "Confirm your e-mail address", Lead: "Confirm that mail reaches you at this address.", Button: "Confirm the address",
		done: "Your address is confirmed. You can close this page.",
		gone: "This link was used already, or its time is over. If it was not you who used it, ask for another one.",
		busy: "Many people are signing in at this moment. Try again in some seconds.",
	}
	if purpose == Reset {
		w.Title, w.Lead, w.Button = "Set a new password", "Choose a new password for your account.", "Set the password"
		w.Label = "New password"
		w.done = "Your password is set. You were signed out everywhere: sign in with it."
		w.rule = fmt.Sprintf("A password has at least %d characters on one line, and is not your e-mail address. Take several words.", staff.PasswordMin)
	}
	return w
}

func arabicAccount(purpose Purpose) *accountWords {
	w := &accountWords{
		Lang: arabic, Dir: "rtl",
		Title: "تأكيد عنوان بريدك الإلكتروني", Lead: "يرجى تأكيد أن البريد يصلك على هذا العنوان.", Button: "تأكيد العنوان",
		done: "تم تأكيد عنوانك. يمكنك إغلاق هذه الصفحة.",
		gone: "استُخدم هذا الرابط من قبل أو انتهت مدته. إن لم تكن أنت من استخدمه فاطلب رابطًا آخر.",
		busy: "يسجّل كثيرون الدخول في هذه اللحظة. حاول مجددًا بعد ثوانٍ.",
	}
	if purpose == Reset {
		w.Title, w.Lead, w.Button = "تعيين كلمة مرور جديدة", "اختر كلمة مرور جديدة لحسابك.", "تعيين كلمة المرور"
		w.Label = "كلمة المرور الجديدة"
		w.done = "تم تعيين كلمة المرور، وسُجّل خروجك من جميع الأجهزة. سجّل الدخول بها."
		w.rule = fmt.Sprintf("كلمة المرور %d أحرف على الأقل في سطر واحد، وليست عنوان بريدك. اختر عدة كلمات.", staff.PasswordMin)
	}
	return w
}
