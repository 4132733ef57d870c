#!/usr/bin/env bash
# Shared by ./demo and ./check: system packages and a release build. Sourced, not run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

reelm_packages="meson ninja-build gcc g++ pkg-config libopenblas-openmp-dev libdnnl-dev
  libsentencepiece-dev libsndfile1-dev libavformat-dev libavcodec-dev libavutil-dev libswscale-dev
  libswresample-dev libcjson-dev libmicrohttpd-dev"

# Install what is missing with apt; says what it will do; without root prints the one line to run.
reelm_install() {
  local missing=() p
  command -v dpkg-query >/dev/null || return 0
  for p in "$@"; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  local line="apt-get install -y --no-install-recommends ${missing[*]}"
  if [ "$(id -u)" -ne 0 ]; then
    echo "Some system packages are missing. Please run this line, then start again:"
    echo "  sudo apt-get update && sudo $line"
    exit 1
  fi
  echo "Installing missing system packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >/dev/null
  $line >/dev/null
}

# Configure (once) and compile a build folder, all of it (TARGET all) or what is asked for:
# reelm_build DIR TARGET [meson options...]
reelm_build() {
  local dir=$1 target=$2
  shift 2
  if [ ! -f "$dir/build.ninja" ]; then
    meson setup "$dir" --buildtype=release -Dhardening=true "$@" >"$dir.log" 2>&1 || { cat "$dir.log"; exit 1; }
    rm -f "$dir.log"
  fi
  ninja -C "$dir" --quiet "$target" >"$dir/compile.log" 2>&1 || { tail -40 "$dir/compile.log"; exit 1; }
}
