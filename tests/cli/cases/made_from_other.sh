# stdout: *same kernels*
# Settings go with the files they were made from: another source is refused where a run goes on, and said where a clip
# is made again; so are keyframes that are missing.
for s in 1 2; do $reelm world -s $s -c 1 --size 16x16 --frames 5 --no-truth --no-audio -q -o w || exit 99; done
ffmpeg -v error -i w/000002.mp4 -frames:v 1 end.png
one="--no-audio --seconds 0.5"
said() { # CODE GLOB ARGUMENTS...
  local want=$1 glob=$2
  shift 2
  $reelm "$@" >out 2>err
  code=$?
  # shellcheck disable=SC2053
  [ $code -eq "$want" ] && [[ $(cat err) == $glob ]] || {
    echo "reelm $*: exit $code"
    cat err
    exit 98
  }
}
said 0 "" extend w/000001.mp4 $one -s 1 -q --save-tokens x.rtok -o x.mp4
said 0 "" extend w/000001.mp4 --resume x.rtok -q -o y.mp4
said 3 "reelm: x.rtok: was made from another file*" extend w/000002.mp4 --resume x.rtok -q -o y.mp4
said 0 "*x.mp4: was made from another file*" extend w/000002.mp4 --from-metadata x.mp4 -o y.mp4 --progress off
said 2 "*--strict: x.mp4: was made from another file*" extend w/000002.mp4 --from-metadata x.mp4 --fps 8 --strict -o y.mp4
said 0 "" generate --frames 5 --size 16x16 --no-audio -s 1 -q --end-img end.png -o k.mp4
said 0 "*k.mp4: was made with keyframes*" generate --from-metadata k.mp4 -o l.mp4 --progress off
said 2 "*--strict: k.mp4: was made with keyframes*" generate --from-metadata k.mp4 --strict -o l.mp4
said 0 "*with other keyframes*" generate --from-metadata k.mp4 --keyframe end.png@0 -o l.mp4 --progress off
said 0 "" generate --from-metadata k.mp4 --end-img end.png -o l.mp4 --progress off
for key in weights cache_type kernels; do $reelm metadata k.mp4 | grep -q "^$key " || exit 97; done
$reelm metadata k.mp4 --json | sed 's/"token_sha256":[^"]*"./&0/; s/"kernels":[^,]*/"kernels": "other"/' >k.json
said 0 "*l.mp4: not the tokens that k.json records, made with kernels other*" \
  generate --from-metadata k.json --end-img end.png -o l.mp4 --progress off
said 0 "" generate --from-metadata k.json --end-img end.png -s 2 -o l.mp4 --progress off
echo same kernels
