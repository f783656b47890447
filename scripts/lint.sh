#!/usr/bin/env bash
# lint.sh   checks format, generated code, go vet and golangci-lint over the whole module, and names what is wrong.
set -euo pipefail

scripts=$(dirname "${BASH_SOURCE[0]}")
gofumpt=$("$scripts/tool.sh" gofumpt)
golangci=$("$scripts/tool.sh" golangci-lint)

unformatted=$("$gofumpt" -l .)
if [ -n "$unformatted" ]; then
	printf 'not formatted; run %s -w on:\n%s\n' "$gofumpt" "$unformatted" >&2
	exit 1
fi
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"$scripts/generate.sh" "$fresh"
for made in gen.go collection.json; do
	cmp -s "$fresh/$made" "central/api/$made" || {
		echo "central/api/$made is not what central/api/openapi.yaml makes; run make generate" >&2
		exit 1
	}
done
go vet ./...
"$golangci" run ./...
