package api

import (
	"errors"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"gatehouse/central/staff"
	"gatehouse/central/web"
	"gatehouse/syncproto"
)

// access says who may ask for an operation.
type access struct {
	need  staff.Permission
	event string // path parameter that names the event it is asked for; empty for none
	// later: the handler asks, because it takes the body, or what the path names, to know
	// for which event. It is refused here to those who may do it at none.
	later bool
}

// accesses has every operation of the document. One that is missing is refused to all.
func accesses() map[string]access {
	all := programmeAccesses()
	maps.Copy(all, identityAccesses())
	maps.Copy(all, orderAccesses())
	maps.Copy(all, attendeeAccesses())
	return all
}

func programmeAccesses() map[string]access {
	return map[string]access{
		"listEvents":          {need: staff.EventRead},
		"createEvent":         {need: staff.EventCreate},
		"getEvent":            {need: staff.EventRead, event: "id"},
		"updateEvent":         {need: staff.EventWrite, event: "id"},
		"deleteEvent":         {need: staff.EventCreate, event: "id"},
		"getEventLive":        {need: staff.EventRead, event: "id"},
		"setEventStatus":      {need: staff.EventStatus, event: "id"},
		"exportEvent":         {need: staff.EventWrite, event: "id"},
		"importEvent":         {need: staff.EventCreate},
		"listSchedule":        {need: staff.EventRead},
		"listScheduleToday":   {need: staff.EventRead},
		"listScheduleOfVenue": {need: staff.EventRead},
		"getEventCalendar":    {need: staff.EventRead, event: "id"},
		"getStageCalendar":    {need: staff.EventRead},
		"listSessions":        {need: staff.EventRead, event: "id"},
		"createSession":       {need: staff.ProgrammeWrite, event: "id"},
		"getSession":          {need: staff.EventRead},
		"updateSession":       {need: staff.ProgrammeWrite, later: true},
		"deleteSession":       {need: staff.ProgrammeWrite, later: true},
		"listConflicts":       {need: staff.ProgrammeWrite, event: "id"},
		"listTicketTypes":     {need: staff.EventRead, event: "id"},
		"createTicketType":    {need: staff.ProgrammeWrite, event: "id"},
		"updateTicketType":    {need: staff.ProgrammeWrite, event: "id"},
		"deleteTicketType":    {need: staff.ProgrammeWrite, event: "id"},
		"listVenues":          {need: staff.EventRead},
		"createVenue":         {need: staff.VenueWrite},
		"getVenue":            {need: staff.EventRead},
		"updateVenue":         {need: staff.VenueWrite, later: true},
		"deleteVenue":         {need: staff.VenueWrite, later: true},
		"listStages":          {need: staff.EventRead},
		"createStage":         {need: staff.VenueWrite, later: true},
		"updateStage":         {need: staff.VenueWrite, later: true},
		"deleteStage":         {need: staff.VenueWrite, later: true},
		"listCategories":      {need: staff.EventRead},
		"createCategory":      {need: staff.ProgrammeWrite},
		"updateCategory":      {need: staff.ProgrammeWrite},
		"deleteCategory":      {need: staff.ProgrammeWrite},
		"listPerformers":      {need: staff.EventRead},
		"createPerformer":     {need: staff.ProgrammeWrite, later: true},
		"getPerformer":        {need: staff.EventRead},
		"updatePerformer":     {need: staff.ProgrammeWrite, later: true},
		"deletePerformer":     {need: staff.ProgrammeWrite, later: true},
	}
}

func identityAccesses() map[string]access {
	return map[string]access{
		"login":               {need: staff.EventRead},
		"refresh":             {need: staff.EventRead},
		"logout":              {need: staff.EventRead},
		"signIn":              {need: staff.EventRead},
		"signOut":             {need: staff.Self},
		"forgotPassword":      {need: staff.EventRead},
		"resetPassword":       {need: staff.EventRead},
		"requestVerification": {need: staff.Self},
		"verifyEmail":         {need: staff.EventRead},
		"changePassword":      {need: staff.Self},
		"changeEmail":         {need: staff.Self},
		"listSignIns":         {need: staff.Self},
		"endSignIn":           {need: staff.Self},
		"endOtherSignIns":     {need: staff.Self},
		"enrolFactor":         {need: staff.Self},
		"confirmFactor":       {need: staff.Self},
		"exportAccount":       {need: staff.Self},
		"eraseAccount":        {need: staff.Self},
		"listUsers":           {need: staff.AccountRead},
		"createUser":          {need: staff.AccountWrite},
		"getUser":             {need: staff.AccountRead},
		"eraseUser":           {need: staff.AccountWrite},
		"setUserRole":         {need: staff.AccountWrite},
		"disableUser":         {need: staff.AccountWrite},
		"enableUser":          {need: staff.AccountWrite},
		"removeFactor":        {need: staff.AccountWrite},
		"listAPIKeys":         {need: staff.APIKeyWrite, later: true},
		"createAPIKey":        {need: staff.APIKeyWrite, later: true},
		"revokeAPIKey":        {need: staff.APIKeyWrite, later: true},
		"searchAudit":         {need: staff.AuditRead, later: true},
	}
}

func orderAccesses() map[string]access {
	return map[string]access{
		"createOrder":      {need: staff.EventRead},
		"getOrder":         {need: staff.EventRead}, // this and the next: to whom it belongs
		"payOrder":         {need: staff.EventRead},
		"cancelOrder":      {need: staff.EventRead},
		"markOrderPaid":    {need: staff.RegistrationWrite, later: true},
		"refundOrder":      {need: staff.OrderRefund, later: true},
		"hearPayment":      {need: staff.EventRead}, // signed by the provider
		"listOrders":       {need: staff.RegistrationRead, event: "id"},
		"getRevenue":       {need: staff.ReportRead, event: "id"},
		"listPromoCodes":   {need: staff.RegistrationWrite, event: "id"},
		"createPromoCode":  {need: staff.RegistrationWrite, event: "id"},
		"updatePromoCode":  {need: staff.RegistrationWrite, event: "id"},
		"deletePromoCode":  {need: staff.RegistrationWrite, event: "id"},
		"listQuestions":    {need: staff.EventRead, event: "id"},
		"createQuestion":   {need: staff.RegistrationWrite, event: "id"},
		"updateQuestion":   {need: staff.RegistrationWrite, event: "id"},
		"deleteQuestion":   {need: staff.RegistrationWrite, event: "id"},
		"listWaitList":     {need: staff.RegistrationRead, event: "id"},
		"joinWaitList":     {need: staff.EventRead, event: "id"},
		"getWaitListPlace": {need: staff.EventRead}, // whoever has its id
		"leaveWaitList":    {need: staff.EventRead},
		"transferTicket":   {need: staff.EventRead}, // to whom it belongs
		"answerQuestions":  {need: staff.EventRead},
	}
}

func attendeeAccesses() map[string]access {
	return map[string]access{
		"getAgenda":         {need: staff.Self},
		"addToAgenda":       {need: staff.Self},
		"removeFromAgenda":  {need: staff.Self},
		"linkAgenda":        {need: staff.Self},
		"unlinkAgenda":      {need: staff.Self},
		"getAgendaCalendar": {need: staff.EventRead}, // whoever has the link
		"register":          {need: staff.EventRead},
		"getProfile":        {need: staff.Self},
		"updateProfile":     {need: staff.Self},
		"checkIn":           {need: staff.CheckinWrite, later: true},
		"checkInBatch":      {need: staff.CheckinWrite, later: true},
	}
}

// authenticate finds out who asks, and puts that into the request's context.
func (s *Server) authenticate(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		from := originOf(c)
		who := staff.Principal{Origin: from}
		if text := c.Request().Header.Get(echo.HeaderAuthorization); text != "" {
			scheme, token, ok := strings.Cut(text, " ")
			if !ok || !strings.EqualFold(scheme, "Bearer") {
				return refuse(http.StatusUnauthorized, CodeUnauthenticated, "Authorization has to be a bearer token.")
			}
			var err error
			if strings.HasPrefix(token, apiKeyPrefix) {
				who, err = s.cfg.Staff.APIKeys.ByAPIKey(c.Request().Context(), token, from)
			} else {
				who, err = s.cfg.Staff.SignIns.ByAccess(c.Request().Context(), token, from)
			}
			if err != nil {
				return errors.Join(err, s.count(c, keyOwner(staff.Principal{Origin: from})))
			}
		} else if cookie, err := c.Cookie(SessionCookie); err == nil {
			if who, err = s.byCookie(c, cookie.Value, from); err != nil {
				return err
			}
		}
		c.SetRequest(c.Request().WithContext(staff.NewContext(c.Request().Context(), who)))
		return next(c)
	}
}

// byCookie finds out whose browser asks. A change that the page of another site asks for
// is refused: the browser says so (Fetch Metadata), or the Origin does. A cookie that is
// good no longer is a visitor's.
func (s *Server) byCookie(c echo.Context, value string, from staff.Origin) (staff.Principal, error) {
	nobody := staff.Principal{Origin: from}
	who, err := s.cfg.Staff.SignIns.ByCookie(c.Request().Context(), value, from)
	if errors.Is(err, staff.ErrToken) {
		return nobody, s.count(c, keyOwner(nobody))
	}
	if err != nil {
		return nobody, err
	}
	if err := s.crossOrigin.Check(c.Request()); err != nil {
		return nobody, refuse(http.StatusForbidden, CodeForbidden, "Another site asked for this in your name.")
	}
	return who, nil
}

// apiKeyPrefix begins every API key.
const apiKeyPrefix = "ghk_"

func originOf(c echo.Context) staff.Origin {
	return staff.Origin{Address: web.Address(c), UserAgent: c.Request().UserAgent()}
}

// authorise refuses who may not ask for an operation.
func (s *Server) authorise(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		route := s.operations[c.Request().Method+" "+c.Path()]
		if route == nil {
			return next(c)
		}
		who := staff.FromContext(c.Request().Context())
		a, ok := s.accesses[route.Operation.OperationID]
		if !ok {
			return forbidden(who)
		}
		if a.later {
			if !who.MaySome(a.need) {
				return forbidden(who)
			}
			return next(c)
		}
		var event syncproto.EventNo
		if a.event != "" {
			no, err := strconv.ParseUint(c.Param(a.event), 10, 31)
			if err != nil {
				return refuse(http.StatusNotFound, CodeNotFound, "There is no such event.")
			}
			event = syncproto.EventNo(no)
		}
		if !who.May(a.need, event) {
			return forbidden(who)
		}
		return next(c)
	}
}

// forbidden tells somebody who is not signed in to sign in, and anybody else no.
func forbidden(who staff.Principal) error {
	if who.Kind == "" {
		return refuse(http.StatusUnauthorized, CodeUnauthenticated, "Sign in first.")
	}
	return refuse(http.StatusForbidden, CodeForbidden, "You may not do that.")
}
