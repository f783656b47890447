#!/usr/bin/env bash
# install-deps.sh GROUP...   makes sure that what a make target needs is on this machine.
#
#   go     Go 1.26 or newer (checked, never installed)
#   demo   go, and the server programs of Postgres 15 or newer
#   test   demo, and qrencode, zbarimg, pdftoppm, openssl, strace and ip, which the tests drive
#   race   go, and a C compiler with its headers, which the race detector links with
#
# When all is present it says nothing and returns at once. What is missing is installed with apt-get where this user
# may do that (root, or sudo without a password); anyone else gets the one command to run, and nothing is changed.
set -euo pipefail

readonly postgres_major_min=15
readonly go_minor_min=26
readonly createcluster_conf=/etc/postgresql-common/createcluster.conf

die() {
	printf '%s\n' "$*" >&2
	exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

check_go() {
	have go || die "Go 1.$go_minor_min or newer is needed and there is no go in PATH: install it from https://go.dev/dl/."
	local version minor
	version=$(GOTOOLCHAIN=local go version | awk '{print $3}')
	minor=$(sed -nE 's/^go1\.([0-9]+).*/\1/p' <<<"$version")
	# A development build names no release; it is taken to be newer than any.
	if [ -n "$minor" ] && [ "$minor" -lt "$go_minor_min" ]; then
		die "Go 1.$go_minor_min or newer is needed and this is $version: install it from https://go.dev/dl/ and put it first in PATH."
	fi
}

# have_postgres looks where central looks: PATH, then Debian's folder for each major.
have_postgres() {
	local program major
	for program in "$(command -v postgres || true)" /usr/lib/postgresql/*/bin/postgres; do
		[ -x "$program" ] && [ -x "$(dirname "$(readlink -f "$program")")/initdb" ] || continue
		major=$("$program" --version | sed -nE 's/^[^0-9]*([0-9]+).*/\1/p')
		[ "${major:-0}" -ge "$postgres_major_min" ] && return 0
	done
	return 1
}

# missing_packages prints the Debian packages that would supply what the groups lack.
missing_packages() {
	local group
	for group; do
		case $group in
		go) ;;
		demo) have_postgres || echo postgresql ;;
		test)
			missing_packages demo
			have qrencode || echo qrencode
			have zbarimg || echo zbar-tools
			have pdftoppm || echo poppler-utils
			have openssl || echo openssl
			have strace || echo strace
			have ip || [ -x /usr/sbin/ip ] || echo iproute2
			;;
		race)
			have gcc || echo gcc
			[ -e /usr/include/stdlib.h ] || echo libc6-dev
			;;
		*) die "install-deps.sh: there is no group \"$group\"; the groups are go, demo, test and race." ;;
		esac
	done
}

apt_install() {
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
}

# keep_postgres_down stops Debian's postgresql package from creating and starting a cluster of its own, which nothing
# here uses. A configuration that somebody already has is left as it is.
keep_postgres_down() {
	[ ! -e "$createcluster_conf" ] || return 0
	echo "Writing $createcluster_conf, so that the package starts no server of its own."
	"${as_root[@]}" mkdir -p "$(dirname "$createcluster_conf")"
	echo 'create_main_cluster = false' | "${as_root[@]}" tee "$createcluster_conf" >/dev/null
}

install_packages() {
	echo "Installing $*, which this machine lacks."
	case " $* " in *" postgresql "*) keep_postgres_down ;; esac
	# A fresh machine has no package lists and an old one has stale ones; either way the first try fails before
	# anything is unpacked.
	if ! apt_install "$@" >/dev/null 2>&1; then
		"${as_root[@]}" apt-get update -q -o DPkg::Lock::Timeout=300
		apt_install "$@"
	fi
}

[ $# -gt 0 ] || die "usage: install-deps.sh GROUP..., where a group is go, demo, test or race."
listed=$(missing_packages "$@") || exit 1
check_go
[ -n "$listed" ] || exit 0
mapfile -t packages <<<"$listed"

have apt-get || die "These Debian packages, or what your system calls them, are needed first: ${packages[*]}."
as_root=()
if [ "$(id -u)" -ne 0 ]; then
	sudo -n true 2>/dev/null || die "Run this once, then try again: sudo apt-get install -y --no-install-recommends ${packages[*]}"
	as_root=(sudo -n)
fi
install_packages "${packages[@]}"
listed=$(missing_packages "$@")
[ -z "$listed" ] ||
	die "apt-get installed ${packages[*]}, and still missing is what newer versions of these supply: ${listed//$'\n'/ } (Postgres must be $postgres_major_min or newer)."
