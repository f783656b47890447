// Package migrations embeds the schema of every database of Gatehouse as goose
// migrations: Postgres at central, and the SQLite files of a gate.
package migrations

import (
	"embed"
	"io/fs"
)

//go:embed central/*.sql gate/replica/*.sql gate/journal/*.sql gate/carry/*.sql
var files embed.FS

// Central is the Postgres schema.
func Central() fs.FS { return sub("central") }

// Replica is the SQLite schema of a gate's replica, which is disposable.
func Replica() fs.FS { return sub("gate/replica") }

// Journal is the SQLite schema of a gate's journal, which is never rebuilt.
func Journal() fs.FS { return sub("gate/journal") }

// Carry is the SQLite schema of what a gate keeps for other gates.
func Carry() fs.FS { return sub("gate/carry") }

func sub(dir string) fs.FS {
	f, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // only an invalid path constant above can cause it
	}
	return f
}
