#!/usr/bin/env bash
# generate.sh [FILE]   makes the code of central/api/openapi.yaml, in FILE instead of central/api/gen.go if one is named.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
oapi=$("$root/scripts/tool.sh" oapi-codegen)
cd "$root/central/api"
"$oapi" -config oapi.yaml -o "${1:-gen.go}" openapi.yaml
