#!/usr/bin/env bash
# dpkg-buildpackage makes the packages; what is in them. Skipped (77) without debhelper. Compiles the
# whole tree once more: suite long.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
for tool in dpkg-buildpackage dh fakeroot git; do
  command -v $tool >/dev/null || { echo "skipped: no $tool"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/reelm-0.1.0"
cd "$root"
git ls-files -z --cached | xargs -0 tar c 2>/dev/null | tar x -C "$work/reelm-0.1.0"
cp -r packaging/debian "$work/reelm-0.1.0/debian"
cd "$work/reelm-0.1.0"
[ -d /usr/lib/ccache ] && export PATH=/usr/lib/ccache:$PATH CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1 CCACHE_DIR=${CCACHE_DIR:-$HOME/.cache/ccache}
export DEB_BUILD_OPTIONS="nocheck noddebs parallel=${JOBS:-2}"
dpkg-buildpackage -b -us -uc >../log 2>&1 || { tail -30 ../log; exit 1; }
cd ..
passed=0
failed=0
check() {
  if eval "$2" >/dev/null 2>&1; then passed=$((passed + 1)); else failed=$((failed + 1)) && echo "FAIL $1"; fi
}
check "four packages" '[ "$(ls *.deb | wc -l)" -eq 4 ]'
for deb in *.deb; do mkdir "x-${deb%%_*}" && dpkg-deb -x "$deb" "x-${deb%%_*}"; done
check "program" 'test -x x-reelm/usr/bin/reelm'
check "manual" 'ls x-reelm/usr/share/man/man1/reelm.1*'
check "service" 'test -s x-reelm/usr/lib/systemd/system/reelm.service -o -s x-reelm/lib/systemd/system/reelm.service'
check "defaults" 'test -s x-reelm/etc/default/reelm'
check "library" 'ls x-libreelm0/usr/lib/*/libreelm.so.0.1.0'
check "header" 'test -s x-libreelm-dev/usr/include/reelm/reelm.h'
check "model" 'test -s x-reelm-model/usr/share/reelm/models/default/config.json'
check "judge" 'test -s x-reelm-model/usr/share/reelm/world/judge.safetensors'
mkdir all && for d in x-*; do cp -r $d/. all/; done
check "the packaged program runs" 'all/usr/bin/reelm info | grep -q share/reelm/models/default'
check "hardened" 'bash "$root/tests/install/hardening.sh" all/usr/bin/reelm'
check "no native instructions forced" '! grep -q -- -march=native log'
if command -v lintian >/dev/null; then
  # the address is for whoever publishes to fill in
  lintian --suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog --fail-on error --tag-display-limit 0 ./*.changes >lint 2>&1 || { failed=$((failed + 1)); cat lint; }
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
