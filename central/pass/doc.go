// Package pass draws tickets: as PDF to be printed, as an Apple Wallet pass, as a link to
// Google Wallet, and their codes as QR codes.
//
// It is pure: values come in, bytes go out. What it shows of people and events is any
// text in any script that the fonts have; names are shaped as their script is written
// (Arabic letters joined, right to left), because a PDF library that draws letter by
// letter makes a name that its owner cannot read. DESIGN.md says more.
package pass
