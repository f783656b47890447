#!/usr/bin/env bash
# generate.sh [DIR]   makes the code and the collection of central/api/openapi.yaml, in DIR instead of central/api if one is named.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
oapi=$("$root/scripts/tool.sh" oapi-codegen)
out=${1:-$root/central/api}
cd "$root/central/api"
"$oapi" -config oapi.yaml -o "$out/gen.go" openapi.yaml
GOFLAGS=-buildvcs=false go run -C "$root/tools" ./collection "$root/central/api/openapi.yaml" "$out/collection.json"
