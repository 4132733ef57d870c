#!/usr/bin/env bash
# What the Dockerfile installs is what the program needs: every package named in it exists, the first
# stage has what meson.build asks for, the second every library that the program is linked with. Needs no Docker.
root=$(cd "$(dirname "$0")/../.." && pwd)
elf=${1:-$REELM}
for tool in readelf dpkg-query apt-cache pkg-config; do
  command -v $tool >/dev/null || { echo "skipped: no $tool"; exit 77; }
done
stage() { awk -v want="$1" '/^FROM/ { n++ } n == want' "$root/packaging/Dockerfile" | tr '\\\n' '  ' | sed 's/.*no-install-recommends//; s/&&.*//'; }
owners() { xargs -r realpath | xargs -r dpkg-query -S 2>/dev/null | cut -d: -f1 | sort -u; } # of files
failed=0
say() { echo "FAIL $*"; failed=1; }
# a package, and what it depends on
with_all() { apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$@" 2>/dev/null | grep '^[a-z0-9]'; }
build=$(stage 1) run=$(stage 2)
# shellcheck disable=SC2086
known=$(apt-cache show --no-all-versions $build $run 2>/dev/null | grep -c '^Package:')
[ "$known" -eq "$(wc -w <<<"$build $run")" ] || [ "$known" -eq 0 ] || say "$known packages of $(wc -w <<<"$build $run") are known"
# shellcheck disable=SC2086
closure=$(with_all $run)
lacking=$(ldd "$elf" | awk '$3 ~ "^/" { print $3 }' | owners | grep -vxF "$closure")
[ -z "$lacking" ] || say "the image lacks" $lacking
# shellcheck disable=SC2086
closure=$(with_all $build)
lacking=$(grep -ho "dependency('[a-zA-Z0-9_+-]*'" "$root/meson.build" "$root/src/meson.build" | cut -d"'" -f2 | sort -u | while read -r name; do
  dir=$(pkg-config --variable=pcfiledir "$name" 2>/dev/null) && echo "$dir/$name.pc"
done | owners | grep -vxF "$closure")
[ -z "$lacking" ] || say "the first stage lacks" $lacking
exit $failed
