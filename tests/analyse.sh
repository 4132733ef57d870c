#!/usr/bin/env bash
# tests/analyse.sh [cppcheck|gcc|tidy ...]: static analysers over every C file of the product, or those
# in $ANALYSE_FILES; no finding is the only good end. Configuration: tests/analyse/ and .clang-tidy. Needs
# cppcheck, gcc, clang-tidy; minutes of each core.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${ANALYSE_DIR:-/tmp/reelm-analyse}
jobs=${ANALYSE_JOBS:-$(nproc)}
tools=("$@")
[ ${#tools[@]} -gt 0 ] || tools=(cppcheck gcc tidy)
[ -f "$build/compile_commands.json" ] || meson setup "$build" -Dtests=false >/dev/null
mapfile -t files < <(git ls-files 'src/*.c' 'model/*.c' 'tokenizers/*.c' 'prompts/*.c')
if [ -n "${ANALYSE_FILES:-}" ]; then read -ra files <<<"$ANALYSE_FILES"; fi
status=0

# One line of arguments a file, as the build has them.
arguments() {
  python3 - "$build" "$@" <<'P'
import json, os, shlex, sys
build = sys.argv[1]
for c in json.load(open(build + "/compile_commands.json")):
    path = os.path.relpath(os.path.join(c["directory"], c["file"]))
    words = shlex.split(c["command"])
    keep = [w for w in words[1:] if w.startswith(("-I", "-D", "-m", "-std", "-ffp"))]
    keep = [("-I" + os.path.normpath(os.path.join(c["directory"], w[2:]))) if w.startswith("-I") else w for w in keep]
    if path.endswith(".c") and not path.startswith(".."):
        print(path, *map(shlex.quote, dict.fromkeys(keep)))
P
}

run_cppcheck() {
  cppcheck --std=c11 --language=c --quiet --inline-suppr -j "$jobs" --error-exitcode=1 \
    --enable=warning,performance,portability --suppressions-list=tests/analyse/cppcheck.txt \
    --max-ctu-depth=2 -I . --include=tests/analyse/cppcheck.h -DRLM_HAVE_BLAS -DRLM_HAVE_DNNL -D__x86_64__ -D__linux__ -D__BYTE_ORDER__=1234 \
    -D__ORDER_LITTLE_ENDIAN__=1234 --template='{file}:{line}: {severity}: {id}: {message}' "${files[@]}"
}

run_gcc() {
  arguments | grep -F -f <(printf '%s \n' "${files[@]}") | sed 's/^\([^ ]*\) \(.*\)$/-O1 -c -o \/dev\/null -fanalyzer -Wno-pedantic \2 \1/' |
    xargs -P "$jobs" -d '\n' -I{} sh -c "gcc {} 2>&1" | tee "$build/gcc.log" |
    grep -E 'error: |warning: .*\[-Wanalyzer' | grep -vEf <(grep -v '^#' tests/analyse/gcc.txt)
  local ends=("${PIPESTATUS[@]}")
  [ "${ends[3]}" -eq 0 ] && [ "${ends[6]}" -ne 0 ] # every file was read, and nothing is left
}

run_tidy() {
  printf '%s\n' "${files[@]}" | xargs -P "$jobs" -n 1 clang-tidy -p "$build" --quiet 2>/dev/null |
    grep -E '(warning|error): ' | sort -u
  local ends=("${PIPESTATUS[@]}")
  [ "${ends[1]}" -eq 0 ] && [ "${ends[2]}" -ne 0 ]
}

for tool in "${tools[@]}"; do
  if "run_$tool"; then echo "$tool: no findings in ${#files[@]} files"; else echo "$tool: findings"; status=1; fi
done
exit $status
