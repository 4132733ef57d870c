#!/usr/bin/env bash
# Run the cases of a folder of tests/cli: run.sh PATH_TO_REELM [NAME_START [FOLDER]] (cases; needs: slower, one
# for each need of docs/NEEDS.md). A case is a shell script whose first comments
# say what must come out:
#   # exit: N            exit code (default 0)
#   # stdout: GLOB       the whole of stdout matches (bash pattern); may be repeated: all must match
#   # stderr: GLOB       the same for stderr; "one line" means exactly one
# It runs in an empty folder with $reelm, $root (the sources) and $model (the bundled model).
set -u
reelm=$(realpath "$1")
root=$(cd "$(dirname "$0")/../.." && pwd)
model=${REELM_TEST_MODEL:-$root/assets/models/default}
work=$(mktemp -d)
export reelm root model REELM_MODEL=$model XDG_CONFIG_HOME=$work/xdg
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

# check NAME WHAT FILE GLOB
matches() {
  local text
  text=$(tr -d '\0' <"$3")
  if [ "$4" = "one line" ]; then
    [ "$(grep -c '' "$3")" -eq 1 ] && return 0
  elif [ "$4" = "nothing" ]; then
    [ ! -s "$3" ] && return 0
  else
    # shellcheck disable=SC2053
    [[ $text == $4 ]] && return 0
  fi
  echo "FAIL $1: $2 is not '$4':"
  head -c 600 "$3"
  return 1
}

run_case() {
  local file=$1 name want code good=0 key value
  name=$(basename "$file" .sh)
  mkdir -p "$work/$name"
  want=$(sed -n 's/^# exit: //p' "$file")
  (cd "$work/$name" && timeout ${CASE_SECONDS:-240} bash "$file" >"$work/$name.out" 2>"$work/$name.err" </dev/null)
  code=$?
  if [ "$code" -ne "${want:-0}" ]; then
    echo "FAIL $name: exit code $code, expected ${want:-0}"
    tail -5 "$work/$name.err"
    good=1
  fi
  while IFS= read -r line; do
    key=${line%%: *}
    value=${line#*: }
    case $key in
      '# stdout') matches "$name" stdout "$work/$name.out" "$value" || good=1 ;;
      '# stderr') matches "$name" stderr "$work/$name.err" "$value" || good=1 ;;
    esac
  done < <(grep '^# std' "$file")
  rm -rf "${work:?}/$name"
  return $good
}

for file in "$root/tests/cli/${3:-cases}/${2:-}"*.sh; do
  if run_case "$file"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
