package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// A figure is a measured value beside its limit, which was measured in the same
// run. Limit and ratio (value over limit) are null in JSON where nothing
// physical bounds the value.
type figure struct {
	Name  string   `json:"name"`
	Value float64  `json:"value"`
	Unit  string   `json:"unit"`
	Limit *float64 `json:"limit"`
	Ratio *float64 `json:"ratio"`

	against string // what the limit is
	reach   reach
}

// A reach is what a figure should be; a bound of 0 does not hold.
type reach struct {
	ratioMax, ratioMin, valueMax, valueMin float64
}

func newFigure(name string, value float64, unit string, r reach) figure {
	return figure{Name: name, Value: value, Unit: unit, reach: r}
}

// beside sets the limit, in the figure's unit. A limit of 0 was too short to
// measure and counts as none.
func (f figure) beside(limit float64, what string) figure {
	if limit == 0 {
		return f
	}
	ratio := f.Value / limit
	f.Limit, f.Ratio, f.against = &limit, &ratio, what
	return f
}

// met tells whether every bound holds.
func (f figure) met() bool {
	r := f.reach
	return (r.ratioMax == 0 || f.Ratio != nil && *f.Ratio <= r.ratioMax) &&
		(r.ratioMin == 0 || f.Ratio != nil && *f.Ratio >= r.ratioMin) &&
		(r.valueMax == 0 || f.Value <= r.valueMax) && (r.valueMin == 0 || f.Value >= r.valueMin)
}

func (f figure) verdict() string {
	switch {
	case f.reach == reach{}:
		return ""
	case f.met():
		return "met"
	}
	return "missed"
}

// describe is the reach in words.
func (r reach) describe(unit string) string {
	var parts []string
	if r.ratioMax != 0 {
		parts = append(parts, "≤ "+number(r.ratioMax)+" × limit")
	}
	if r.ratioMin != 0 {
		parts = append(parts, "≥ "+number(r.ratioMin)+" × limit")
	}
	if r.valueMax != 0 {
		parts = append(parts, "≤ "+number(r.valueMax)+" "+unit)
	}
	if r.valueMin != 0 {
		parts = append(parts, "≥ "+number(r.valueMin)+" "+unit)
	}
	return strings.Join(parts, ", ")
}

// number shows three significant digits, and whole numbers in full.
func number(v float64) string {
	if v >= 100 || v == math.Trunc(v) {
		return strconv.FormatFloat(math.Round(v), 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func optional(v *float64) string {
	if v == nil {
		return "–"
	}
	return number(*v)
}

// printTable writes the figures, and below them what the limits are.
func printTable(w io.Writer, figures []figure) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "figure\tvalue\tunit\tlimit\tratio\treach\t\tlimit is")
	for _, f := range figures {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.Name, number(f.Value), f.Unit, optional(f.Limit), optional(f.Ratio),
			f.reach.describe(f.Unit), f.verdict(), f.against)
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	return nil
}
