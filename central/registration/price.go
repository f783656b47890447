package registration

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gatehouse/syncproto"
)

// PromoKind says what a code does.
type PromoKind string

// The kinds of codes.
const (
	Percent PromoKind = "percent" // off each ticket
	Amount  PromoKind = "amount"  // minor units off each ticket, to nothing at most
	Access  PromoKind = "access"  // the types can be had with such a code only
)

// Promo is a code that makes tickets cheaper, or available.
type Promo struct {
	ID    int64
	Rev   int64
	Code  string // upper case
	Kind  PromoKind
	Value int64
	Types []syncproto.TypeNo // empty: all
	Max   int                // orders; 0 is not limited
	Used  int
	From  time.Time // zero: at once
	Until time.Time // zero: to the end
}

func (p *Promo) covers(typ syncproto.TypeNo) bool {
	return len(p.Types) == 0 || slices.Contains(p.Types, typ)
}

// price is what a ticket of a type costs with the code. Halves of the smallest unit go
// to the buyer.
func (p *Promo) price(typ syncproto.TypeNo, price int64) int64 {
	if p == nil || !p.covers(typ) {
		return price
	}
	switch p.Kind {
	case Percent:
		return price/100*(100-p.Value) + price%100*(100-p.Value)/100
	case Amount:
		return max(price-p.Value, 0)
	}
	return price
}

// NormalCode is a code as it is stored: people write it as they like.
func NormalCode(code string) string { return strings.ToUpper(strings.TrimSpace(code)) }

// Question is what holders of some types are asked.
type Question struct {
	ID       int64
	Rev      int64
	Key      string
	Label    string
	Kind     QuestionKind
	Choices  []string
	Required bool               // before the ticket lets anybody in
	Types    []syncproto.TypeNo // empty: all
	Position int
}

// QuestionKind says what an answer is.
type QuestionKind string

// The kinds of questions.
const (
	Text   QuestionKind = "text"
	Choice QuestionKind = "choice" // one of Choices
	YesNo  QuestionKind = "yes_no" // "yes" or "no"
)

// AnswerBytesMax bounds an answer.
const AnswerBytesMax = 1000

func (q *Question) asks(typ syncproto.TypeNo) bool {
	return len(q.Types) == 0 || slices.Contains(q.Types, typ)
}

func (q *Question) check(answer string) error {
	field := "answers." + q.Key
	switch {
	case len(answer) > AnswerBytesMax:
		return invalid(field, fmt.Sprintf("is longer than %d bytes", AnswerBytesMax))
	case strings.ContainsRune(answer, 0):
		return invalid(field, "has a character that cannot be stored")
	case q.Kind == YesNo && answer != "yes" && answer != "no":
		return invalid(field, "is yes or no")
	case q.Kind == Choice && !slices.Contains(q.Choices, answer):
		return invalid(field, "is one of: "+strings.Join(q.Choices, ", "))
	}
	return nil
}

// checkAnswers looks at what was answered for a ticket of a type, and says whether
// nothing that is required is missing. Empty answers are none.
func checkAnswers(questions []Question, typ syncproto.TypeNo, answers map[string]string) (complete bool, err error) {
	complete, known := true, 0
	for i := range questions {
		q := &questions[i]
		if !q.asks(typ) {
			continue
		}
		answer, given := answers[q.Key]
		if given {
			known++
		}
		if strings.TrimSpace(answer) == "" {
			complete = complete && !q.Required
			continue
		}
		if err := q.check(answer); err != nil {
			return false, err
		}
	}
	if known == len(answers) {
		return complete, nil
	}
	for key := range answers {
		if !slices.ContainsFunc(questions, func(q Question) bool { return q.Key == key && q.asks(typ) }) {
			return false, invalid("answers", fmt.Sprintf("%.40q is not asked for this ticket", key))
		}
	}
	return complete, nil
}

// quote checks what somebody wants against what is on offer, and says what each ticket
// costs.
func quote(shop *Shop, desk *counter, in *NewOrder, now time.Time) ([]Item, string, error) {
	if len(in.Items) == 0 || len(in.Items) > ItemsMax {
		return nil, "", invalid("items", fmt.Sprintf("an order has 1 to %d tickets", ItemsMax))
	}
	promo, err := desk.promo(in, now)
	if err != nil {
		return nil, "", err
	}
	items, currency, helped := make([]Item, len(in.Items)), "", false
	counts := map[string]int{}
	for i := range in.Items {
		w := &in.Items[i]
		offer, ok := shop.Types[w.Type]
		if !ok {
			return nil, "", ErrNoType
		}
		if !offer.From.IsZero() && now.Before(offer.From) || !offer.Until.IsZero() && !now.Before(offer.Until) || desk.hidden(offer.No, promo) {
			return nil, "", ErrNotSold
		}
		if offer.Price > 0 && currency != "" && currency != offer.Currency {
			return nil, "", invalid("items", "tickets in "+currency+" and in "+offer.Currency+" cannot be in one order")
		}
		if offer.Price > 0 {
			currency = offer.Currency
		}
		if desk.waited[offer.No] || desk.full[offer.No] || desk.full[0] {
			return nil, "", ErrSoldOut
		}
		counts[w.Type]++
		helped = helped || promo != nil && promo.covers(offer.No)
		items[i] = Item{No: i + 1, Type: w.Type, TypeNo: offer.No, Price: promo.price(offer.No, offer.Price), Name: w.Name, Email: w.Email, Answers: w.Answers}
		if items[i].Name == "" {
			items[i].Name = in.Name
		}
		if items[i].Email == "" {
			items[i].Email = in.Email
		}
		complete, err := checkAnswers(desk.questions, offer.No, w.Answers)
		if err != nil {
			return nil, "", err
		}
		items[i].Status = syncproto.StatusIncomplete
		if complete {
			items[i].Status = syncproto.StatusPaid
		}
	}
	if promo != nil && !helped {
		return nil, "", ErrPromo
	}
	return items, currency, within(shop, counts)
}

// within checks the limits of an order.
func within(shop *Shop, counts map[string]int) error {
	for key, n := range counts {
		offer := shop.Types[key]
		if n < offer.Min {
			return invalid("items", fmt.Sprintf("of %q an order takes at least %d", key, offer.Min))
		}
		if offer.Max > 0 && n > offer.Max {
			return invalid("items", fmt.Sprintf("of %q an order takes at most %d", key, offer.Max))
		}
	}
	return nil
}

// counter is what is known of an event when an order is taken.
type counter struct {
	given     *Promo // the code that was named, if there is one
	access    []Promo
	questions []Question
	waited    map[syncproto.TypeNo]bool // somebody is on the wait list
	full      map[syncproto.TypeNo]bool // there was no place left; 0 is the whole event
}

// promo is the code that an order names; nil where it names none.
func (c *counter) promo(in *NewOrder, now time.Time) (*Promo, error) {
	p := c.given
	switch {
	case in.Promo == "":
		return nil, nil
	case p == nil, !p.From.IsZero() && now.Before(p.From), !p.Until.IsZero() && !now.Before(p.Until), p.Max > 0 && p.Used >= p.Max:
		return nil, ErrPromo
	}
	return p, nil
}

// hidden reports whether a type can be had with an access code only, and promo is none
// for it.
func (c *counter) hidden(typ syncproto.TypeNo, promo *Promo) bool {
	if promo != nil && promo.Kind == Access && promo.covers(typ) {
		return false
	}
	return slices.ContainsFunc(c.access, func(p Promo) bool { return p.covers(typ) })
}
