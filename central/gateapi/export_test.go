package gateapi

import "github.com/labstack/echo/v4"

// Serve is the handler of every path of a.
func Serve(a *API) echo.HandlerFunc { return a.serve }
