package notify

// The languages of letters.
const (
	English = "en"
	Arabic  = "ar"
)

// words are what letters say in one language.
type words struct {
	lang, dir                          string
	hello, helloName                   string
	verify, verifyLead, verifyButton   string
	reset, resetLead, resetButton      string
	offer, offerLead, offerButton      string // of an event
	oneTicket, oneTicketLead           string // of an event
	moreTickets, moreTicketsLead       string // of an event
	ticketsNote                        string
	copyThis, until, notYou, automatic string
	Open, When, Where                  string
}

func (w *words) greet(name string) string {
	if name == "" {
		return w.hello
	}
	return w.helloName + " " + name + w.comma()
}

func (w *words) comma() string {
	if w.lang == Arabic {
		return "،"
	}
	return ","
}

func (w *words) tickets(n int) string {
	if n == 1 {
		return w.oneTicket
	}
	return w.moreTickets
}

func (w *words) ticketsLead(n int) string {
	if n == 1 {
		return w.oneTicketLead
	}
	return w.moreTicketsLead
}

// Automatic says that nobody reads answers.
func (w *words) Automatic() string { return w.automatic }

// wordsOf is a language; English for one that there is none of.
func wordsOf(lang string) *words {
	if lang == Arabic {
		return arabic()
	}
	return english()
}

func english() *words {
	return &words{
		lang: English, dir: "ltr", hello: "Hello,", helloName: "Hello",
		verify: "Confirm your e-mail address", verifyButton: "Confirm the address",
		verifyLead: "This address was given for an account. Confirm that mail reaches you here.",
		reset:      "Set a new password", resetButton: "Set a new password",
		resetLead: "Somebody asked for a new password for your account.",
		offer:     "A seat for you: %s", offerButton: "Take the seat",
		offerLead: "You waited for a ticket to %s. One has come back and is kept for you.",
		oneTicket: "Your ticket: %s", oneTicketLead: "Here is your ticket for %s.",
		moreTickets: "Your tickets: %s", moreTicketsLead: "Here are your tickets for %s.",
		ticketsNote: "Show the code at the entrance, on a screen or on paper. Whoever has the code can enter with it, so keep it to yourself.",
		copyThis:    "Enter this where you are asked for it:",
		until:       "It is good until %s.",
		notYou:      "If that was not you, do nothing.",
		automatic:   "This letter was written by a program; nobody reads answers to it.",
		Open:        "Open the ticket", When: "When", Where: "Where",
	}
}

func arabic() *words {
	return &words{
		lang: Arabic, dir: "rtl", hello: "مرحبًا،", helloName: "مرحبًا",
		verify: "تأكيد عنوان بريدك الإلكتروني", verifyButton: "تأكيد العنوان",
		verifyLead: "أُعطي هذا العنوان لحساب. يرجى تأكيد أن البريد يصلك هنا.",
		reset:      "تعيين كلمة مرور جديدة", resetButton: "تعيين كلمة مرور جديدة",
		resetLead: "طلب أحدهم كلمة مرور جديدة لحسابك.",
		offer:     "مقعد لك: %s", offerButton: "احجز المقعد",
		offerLead: "كنت في انتظار تذكرة إلى %s. توفرت تذكرة وهي محجوزة لك.",
		oneTicket: "تذكرتك: %s", oneTicketLead: "هذه تذكرتك لحضور %s.",
		moreTickets: "تذاكرك: %s", moreTicketsLead: "هذه تذاكرك لحضور %s.",
		ticketsNote: "أظهر الرمز عند المدخل على الشاشة أو على الورق. كل من يملك الرمز يستطيع الدخول به، فاحتفظ به لنفسك.",
		copyThis:    "أدخل ما يلي حيث يُطلب منك:",
		until:       "صالح حتى %s.",
		notYou:      "إذا لم تكن أنت من طلب ذلك فلا تفعل شيئًا.",
		automatic:   "كتب هذه الرسالة برنامج آلي، ولا يقرأ أحد الردود عليها.",
		Open:        "افتح التذكرة", When: "الموعد", Where: "المكان",
	}
}
