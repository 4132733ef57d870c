#!/usr/bin/env bash
# tests/fuzz/run.sh MINUTES [TARGET...]: fuzz the targets (all when none is named) in turn for MINUTES
# in all, with clang's libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer, in a build folder of
# its own. Needs clang, libclang-rt-14-dev (Debian). Environment:
#   FUZZ_DIR   build, working corpus, findings and log; default /tmp/reelm-fuzz
#   FUZZ_SLICE seconds of one target's turn; default 60
#   FUZZ_TIMEOUT seconds by the clock that one input may take; default 25, more on a busy machine
#   FUZZ_KEEP  add at most so many small files that reached new code to each tests/fuzz/corpus/NAME
# Prints and appends to $FUZZ_DIR/log.tsv: date, target, executions, CPU seconds, wall seconds, findings.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
minutes=${1:?"usage: tests/fuzz/run.sh MINUTES [TARGET...]"}
shift
dir=${FUZZ_DIR:-/tmp/reelm-fuzz}
slice=${FUZZ_SLICE:-60}
build=$dir/build
kept=${FUZZ_KEEP:-0}
timeout=${FUZZ_TIMEOUT:-25}
mkdir -p "$dir/findings" "$dir/logs" "$dir/small"
if [ ! -f "$build/build.ninja" ]; then
  CC=${CC:-clang} CXX=${CXX:-clang++} meson setup "$build" -Dfuzz=true -Doverlays=false --buildtype=debugoptimized \
    -Doptimization=1 -Db_lundef=false >"$dir/setup.log"
fi
known=$(ninja -C "$build" -t targets all | sed -n 's|^tests/fuzz_\([a-z_0-9]*\):.*|\1|p' | sort -u)
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets <<<"$known"
ninja -C "$build" --quiet "${targets[@]/#/tests/fuzz_}"
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1:max_allocation_size_mb=1024
export UBSAN_OPTIONS=print_stacktrace=1 OMP_NUM_THREADS=1

# Fuzz one target for so many seconds; a line of the log.
turn() {
  local name=$1 seconds=$2 log=$dir/logs/$1.log before after found=0 runs
  mkdir -p "$dir/corpus/$name"
  before=$(find "$dir/findings" -name "$name-*" ! -name "*-slow-unit-*" | wc -l)
  local times
  times=$( { TIMEFORMAT='%U %S %R'; time "$build/tests/fuzz_$name" -max_total_time="$seconds" \
    -max_len=16384 -rss_limit_mb=2048 -timeout="$timeout" -print_final_stats=1 \
    -artifact_prefix="$dir/findings/$name-" "$dir/corpus/$name" "tests/fuzz/corpus/$name" \
    >"$log" 2>&1 || true; } 2>&1 | tail -1)
  for f in "$dir/findings/$name-timeout-"*; do # none if it was the machine that was busy
    [ ! -f "$f" ] || ! "$build/tests/fuzz_$name" -timeout="$timeout" "$f" >/dev/null 2>&1 || rm "$f"
  done
  after=$(find "$dir/findings" -name "$name-*" ! -name "*-slow-unit-*" | wc -l)
  found=$((after - before))
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
  awk -v d="$(date -u +%FT%TZ)" -v t="$name" -v r="${runs:-0}" -v f="$found" -v x="$times" 'BEGIN {
    split(x, s, " "); printf "%s\t%s\t%d\t%.1f\t%.1f\t%d\n", d, t, r, s[1] + s[2], s[3], f }' |
    tee -a "$dir/log.tsv"
  if [ "$found" -gt 0 ]; then
    grep -E 'runtime error|ERROR:|SUMMARY|fuzz_.*\.c:[0-9]+:' "$log" | head -5 >&2
  fi
}

# Copy what reaches code that the committed corpus does not: small files only, at most so many.
keep() {
  local name=$1 new=$dir/merged/$1
  rm -rf "$new"
  mkdir -p "$new"
  cp tests/fuzz/corpus/"$name"/* "$new"
  find "$dir/corpus/$name" -type f -size -2k -print0 | xargs -0 -r cp -t "$dir/small"
  "$build/tests/fuzz_$name" -merge=1 "$new" "$dir/small" >/dev/null 2>&1 || true
  rm -f "$dir/small"/*
  for f in $(ls -S -r "$new" | head -"$kept"); do
    cp -n "$new/$f" "tests/fuzz/corpus/$name/"
  done
}

end=$(($(date +%s) + minutes * 60))
while now=$(date +%s) && [ "$now" -lt "$end" ]; do
  for name in "${targets[@]}"; do
    left=$((end - $(date +%s)))
    [ "$left" -gt 0 ] || break
    turn "$name" $((left < slice ? left : slice))
  done
done
if [ "$kept" -gt 0 ]; then
  for name in "${targets[@]}"; do keep "$name"; done
fi
# Sums over the whole log.
awk -F'\t' '{ r[$2] += $3; c[$2] += $4; f[$2] += $6; R += $3; C += $4; F += $6 }
  END { for (t in r) printf "%s: %d executions, %.2f CPU hours, %d findings\n", t, r[t], c[t] / 3600, f[t] | "sort"
        close("sort"); printf "all: %d executions, %.2f CPU hours, %d findings\n", R, C / 3600, F }' "$dir/log.tsv"
