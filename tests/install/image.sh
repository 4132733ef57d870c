#!/usr/bin/env bash
# The image of packaging/Dockerfile without Docker: for each FROM a Debian root (debootstrap), its RUN and COPY
# steps as they stand there, by chroot; then the container's command as its user, and its HEALTHCHECK.
# Skipped (77) without root, debootstrap or the mirror. Compiles the whole tree: suite long.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
file=$root/packaging/Dockerfile
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
for tool in debootstrap chroot unshare setpriv git python3; do
  command -v $tool >/dev/null || { echo "skipped: no $tool"; exit 77; }
done
[ "$(id -u)" -eq 0 ] || { echo "skipped: chroot needs root"; exit 77; }
work=$(mktemp -d)
server=
cleanup() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  for stage in 1 2; do umount "$work/$stage/proc" "$work/$stage/dev" 2>/dev/null || true; done
  [ -n "${KEEP:-}" ] || rm -rf --one-file-system "$work"
}
trap cleanup EXIT
# One instruction a line, continued lines joined: NAME ARGUMENTS
python3 - "$file" >"$work/steps" <<'END'
import re, sys
text = re.sub(r"\\\n\s*", " ", open(sys.argv[1]).read())
print("\n".join(line for line in text.splitlines() if line and not line.startswith("#")))
END
stage=0 entry= user= health=
declare -a environment=()
while IFS= read -r step <&3; do
  name=${step%% *} rest=${step#* }
  case $name in
  FROM)
    stage=$((stage + 1))
    [[ $rest = debian:12-slim* ]] || { echo "FAIL unknown base $rest"; exit 1; }
    if [ -d "$work/base" ]; then cp -a "$work/base" "$work/$stage"; else
      debootstrap --variant=minbase bookworm "$work/base" "$mirror" >"$work/log" 2>&1 || { tail -3 "$work/log"; echo "skipped: no mirror"; exit 77; }
      cp -a "$work/base" "$work/$stage"
    fi
    mount -t proc proc "$work/$stage/proc"
    mount --bind /dev "$work/$stage/dev"
    cp /etc/resolv.conf "$work/$stage/etc/" ;;
  RUN)
    chroot "$work/$stage" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin ${http_proxy:+http_proxy="$http_proxy"} DEBIAN_FRONTEND=noninteractive /bin/sh -c "$rest" >"$work/log" 2>&1 ||
      { tail -30 "$work/log"; echo "FAIL RUN ${rest:0:60}"; exit 1; } ;;
  COPY)
    if [ "$rest" = ". /src" ]; then
      mkdir "$work/$stage/src" && (cd "$root" && git ls-files -z --cached | xargs -0 tar c 2>/dev/null) | tar x -C "$work/$stage/src"
    elif [ "$rest" = "--from=build /out/ /" ]; then cp -a "$work/1/out/." "$work/$stage/"
    else echo "FAIL unknown COPY $rest"; exit 1; fi ;;
  ENV) read -ra environment <<<"$rest" ;;
  USER) user=$rest ;;
  HEALTHCHECK) health=${rest#*CMD } ;;
  ENTRYPOINT | CMD) entry="$entry $(tr -d '[]",' <<<"$rest")" ;;
  VOLUME | EXPOSE | SHELL) ;;
  *) echo "FAIL unknown step $name"; exit 1 ;;
  esac
done 3<"$work/steps"
[ $stage -eq 2 ] && [ -n "$user" ] && [ -n "$health" ] || { echo "FAIL the file is read wrongly"; exit 1; }
passed=0 failed=0
check() { if eval "$2"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAIL $1"; fi; }
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# the container: its user, no privileges, a root that cannot be written but for /state and /tmp
container=(unshare --mount bash -c 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && mount -t tmpfs -o mode=1777 tmp "$0/tmp" && mount -t tmpfs -o mode=1777 state "$0/state" && mount -t proc proc "$0/proc" && exec chroot "$0" /usr/bin/setpriv --reuid 65532 --regid 65532 --clear-groups --no-new-privs --bounding-set=-all /usr/bin/env -i PATH=/usr/bin:/bin "$@"' "$work/2" "${environment[@]}" "REELM_PORT=$port")
# shellcheck disable=SC2086
check "no key, no start" '! "${container[@]}" $entry >"$work/said" 2>&1 && grep -q "api-key" "$work/said"'
# shellcheck disable=SC2086
"${container[@]}" REELM_API_KEY=a-long-secret $entry >"$work/said" 2>&1 &
server=$!
for _ in $(seq 600); do grep -q http "$work/said" && break; kill -0 "$server" 2>/dev/null || break; sleep 0.2; done
healthy() { for _ in $(seq 50); do "${container[@]}" /bin/bash -c "$health" 2>/dev/null && return 0; kill -0 "$server" 2>/dev/null || break; sleep 0.5; done; cat "$work/said"; return 1; }
check "healthy" healthy
ask() { python3 - "$port" "$@" <<'END'
import json, sys, urllib.request
port, method, path, body = (sys.argv[1:] + [""])[:4]
r = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body.encode() or None, {"Authorization": "Bearer a-long-secret", "Content-Type": "application/json"}, method=method)
sys.stdout.buffer.write(urllib.request.urlopen(r, timeout=600).read())
END
}
check "a clip" 'ask POST /v1/videos/sync "{\"prompt\":\"a red ball\",\"size\":\"32x32\",\"num_frames\":5,\"seed\":1}" >"$work/clip.mp4" && [ "$(head -c 8 "$work/clip.mp4" | tail -c 4)" = ftyp ]'
check "no compiler in the image" '[ ! -e "$work/2/usr/bin/gcc" ]'
check "hardened" 'bash "$root/tests/install/hardening.sh" "$work/2/usr/bin/reelm"'
echo "$(du -sm --one-file-system "$work/2" | cut -f1) MB"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
