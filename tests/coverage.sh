#!/usr/bin/env bash
# tests/coverage.sh [meson test options]: lines that the suites reach, without the kernels for processor
# features (they have check_kernels). Needs lcov. Builds in $COVERAGE_DIR (/tmp/reelm-coverage).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${COVERAGE_DIR:-/tmp/reelm-coverage}
[ -f "$build/build.ninja" ] ||
  meson setup "$build" --buildtype=debugoptimized -Doptimization=2 -Db_coverage=true >/dev/null
ln -sfn "$PWD/assets" "$build/assets" # where the program looks for them
ninja -C "$build" --quiet all meson-test-prereq
lcov --quiet --directory "$build" --zerocounters
meson test -C "$build" --no-rebuild --num-processes 2 --timeout-multiplier 8 "$@" || true
lcov --quiet --directory "$build" --base-directory "$(realpath "$build")" --capture --output-file "$build/all.info" \
  --rc geninfo_unexecuted_blocks=0 2>/dev/null
lcov --quiet --extract "$build/all.info" "$PWD/src/*" "$PWD/model/*" "$PWD/tokenizers/*" "$PWD/prompts/*" \
  --output-file "$build/every.info"
lcov --quiet --remove "$build/every.info" '*/src/kernels/avx*' '*/src/kernels/amx*' '*/src/kernels/lanes*' --output-file "$build/own.info"
lcov --list "$build/own.info" | sort -t'|' -k2 -n | sed -n "1,${COVERAGE_LINES:-40}p"
lcov --summary "$build/own.info" 2>&1 | grep lines
