#!/usr/bin/env bash
# What `meson install` puts where, and that it works there: install.sh BUILD_DIR PREFIX
# The example program is built against the staged tree through pkg-config and run.
set -u
build=$1
prefix=${2:-/usr/local}
root=$(cd "$(dirname "$0")/../.." && pwd)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
passed=0
failed=0
check() {
  if eval "$2" >"$stage/log" 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAIL $1"
    tail -5 "$stage/log"
  fi
}
meson install -C "$build" --no-rebuild --destdir "$stage/root" >"$stage/log" 2>&1 || {
  tail -5 "$stage/log"
  echo "0 passed, 1 failed"
  exit 1
}
at=$stage/root$prefix
lib=$(dirname "$(find "$at" -name 'libreelm.so.0' | head -1)")
export PKG_CONFIG_PATH=$lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$stage/root XDG_CONFIG_HOME=$stage
unset REELM_MODEL
for file in bin/reelm include/reelm/reelm.h share/man/man1/reelm.1 share/man/man3/reelm.3 \
  share/bash-completion/completions/reelm share/reelm/models/default/config.json \
  share/reelm/configs/lm-tiny.json \
  lib/systemd/system/reelm.service; do
  check "$file is there" "test -s '$at/$file'"
done
check "the library has its name" "readelf -dW '$lib/libreelm.so.0' | grep -q 'SONAME.*libreelm.so.0'"
check "symbols have a version" "readelf --dyn-syms -W '$lib/libreelm.so.0' | grep -q 'rlm_open@@REELM_0'"
check "nothing else is exported" \
  "! readelf --dyn-syms -W '$lib/libreelm.so.0' | awk '\$7 != \"UND\" && \$5 == \"GLOBAL\" { print \$8 }' | grep -v '^rlm_\|^REELM_0'"
check "the header is the only one" "test \"\$(ls '$at/include/reelm')\" = reelm.h"
check "pkg-config knows the version" "test \"\$(pkg-config --modversion reelm)\" = 0.1.0"
check "the example builds" \
  "cc -Wall -Werror '$root/examples/minimal.c' -o '$stage/minimal' \$(pkg-config --cflags --libs reelm)"
check "the example is 40 lines at most" "test \"\$(grep -c . '$root/examples/minimal.c')\" -le 40"
check "the example runs" "LD_LIBRARY_PATH='$lib' '$stage/minimal' '$at/share/reelm/models/default' \
  'a red ball' '$stage/out.mp4' 1 && test -s '$stage/out.mp4'"
check "the example complains" "! LD_LIBRARY_PATH='$lib' '$stage/minimal' /nowhere x '$stage/x.mp4'"
check "the program finds its model" "cd / && '$at/bin/reelm' info | grep -q 'share/reelm/models/default'"
check "the program finds its judge" "cd '$stage' && '$at/bin/reelm' generate -p 'a red ball' --frames 1 \
  --no-audio --best-of 2 -o best.mp4 && '$at/bin/reelm' eval world best.mp4 -p 'a red ball'"
check "the completion is sound" "bash -n '$at/share/bash-completion/completions/reelm'"
check "the service calls the installed program" \
  "grep -q 'ExecStart=$prefix/bin/reelm serve' '$at/lib/systemd/system/reelm.service'"
if command -v groff >/dev/null; then
  for page in man1/reelm.1 man3/reelm.3; do
    check "$page is sound" "test -z \"\$(groff -man -Tutf8 -ww -z '$at/share/man/$page' 2>&1)\""
  done
fi
# every function of the header stands in reelm.3
for name in $(grep -o 'rlm_[a-z_0-9]*(' "$root/src/reelm.h" | tr -d '(' | sort -u); do
  check "reelm.3 names $name" "grep -q '$name' '$at/share/man/man3/reelm.3'"
done
if command -v systemd-analyze >/dev/null; then
  sed "s,$prefix/bin/reelm,$at/bin/reelm," "$at/lib/systemd/system/reelm.service" >"$stage/reelm.service"
  check "systemd takes the service" "systemd-analyze verify --man=no '$stage/reelm.service'"
  check "systemd finds it hardened" \
    "systemd-analyze security --offline=true --threshold=35 '$stage/reelm.service'"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
