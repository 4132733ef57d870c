#!/usr/bin/env bash
# The release program is position independent, its relocations are read-only and bound at start, its
# stack is not executable and guarded, and libc's checked functions are used. hardening.sh PROGRAM
elf=$1
command -v readelf >/dev/null || { echo "skipped: no readelf"; exit 77; }
passed=0
failed=0
check() {
  if eval "$2"; then passed=$((passed + 1)); else failed=$((failed + 1)) && echo "FAIL $1"; fi
}
check "position independent" 'readelf -hW "$elf" | grep -q "Type: *DYN"'
check "bound at start" 'readelf -dW "$elf" | grep -q "BIND_NOW\|FLAGS_1.*NOW"'
check "read-only relocations" 'readelf -lW "$elf" | grep -q GNU_RELRO'
check "no executable stack" 'readelf -lW "$elf" | grep GNU_STACK | grep -qv "RWE"'
check "no text relocations" '! readelf -dW "$elf" | grep -q TEXTREL'
check "guarded stack" 'readelf -sW --dyn-syms "$elf" | grep -q __stack_chk_fail'
check "checked functions" 'readelf -sW --dyn-syms "$elf" | grep -q "__\(sn\|vsn\|mem\|f\|str\)[a-z]*_chk"'
check "no path of libraries" '! readelf -dW "$elf" | grep -q "R.*PATH.*home"'
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
