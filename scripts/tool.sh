#!/usr/bin/env bash
# tool.sh NAME   prints the path of a development tool, building it first if this machine has not got it yet.
#
# tools/go.mod pins the tools, apart from go.mod, so that their dependencies stay out of ours. A built tool is kept
# outside the checkout, by its own version and by Go's, and every clone on the machine shares it.
set -euo pipefail

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")/../tools" && pwd)
name=${1:?usage: tool.sh NAME}
package=$(awk -v name="$name" '$1 != "tool" && NF == 1 && $1 ~ "/" name "$" {print $1}' "$tools/go.mod")
[ -n "$package" ] || {
	echo "tool.sh: tools/go.mod has no tool named $name." >&2
	exit 1
}
version=$(awk -v package="$package" 'NF >= 2 && $2 ~ /^v/ && index(package, $1) == 1 {print $2; exit}' "$tools/go.mod")
dir=${XDG_CACHE_HOME:-$HOME/.cache}/gatehouse/tools/$name-$version-$(go env GOVERSION)

if [ ! -x "$dir/$name" ]; then
	echo "Building $name $version, once for this machine; golangci-lint and k6 take a minute or two." >&2
	mkdir -p "$dir"
	# Built aside and renamed, so that two builds at a time, or a build cut short, leave no half of a program.
	part=$(mktemp "$dir/.$name.XXXXXX")
	trap 'rm -f "$part"' EXIT
	CGO_ENABLED=0 go build -C "$tools" -buildvcs=false -trimpath -o "$part" "$package" >&2
	chmod 755 "$part"
	mv "$part" "$dir/$name"
fi
echo "$dir/$name"
