#!/usr/bin/env bash
# Pipes both ways: ffmpeg cuts and scales, the tokenizers code and decode, ffmpeg puts original and
# round trip side by side.   pipeline.sh INPUT OUTPUT.mp4
set -euo pipefail
reelm=${REELM:-reelm}
ffmpeg -v error -i "$1" -t 2 -r 8 -vf scale=128:128 -pix_fmt yuv444p -f yuv4mpegpipe - |
  "$reelm" encode - -o - -q |
  "$reelm" decode - -o - --format y4m -q |
  ffmpeg -v error -y -t 2 -i "$1" -f yuv4mpegpipe -i - \
    -filter_complex "[0:v]fps=8,scale=128:128[a];[1:v]scale=128:128[b];[a][b]hstack=shortest=1" \
    -pix_fmt yuv420p "$2"
