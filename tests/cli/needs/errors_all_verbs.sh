# stdout: nothing
# Every verb meets every kind of wrong input with one line on stderr and the code for it.
printf 'no media\n' >text
: >empty
mkdir folder model
printf '{' >model/config.json
ffmpeg -v error -f lavfi -i testsrc2=size=32x32:rate=8 -frames:v 3 -y film.mp4 || exit 99
ffmpeg -v error -f lavfi -i sine=440:duration=1 -y tone.wav || exit 98
try() { # CODES ARGUMENTS...
  local codes=$1 code
  shift
  timeout 60 "$reelm" "$@" >out 2>err </dev/null
  code=$?
  if [[ ! $code =~ ^($codes)$ ]] || [ "$(grep -c '' err)" -ne 1 ] || [ -s out ] || ! grep -q '^reelm: ...' err; then
    echo "reelm $*: exit $code, expected $codes; said:"
    cat err
    head -3 out
  fi
}
# VERB, where FILE goes, what else it needs
files=(
  "animate FILE -o a.mp4" "generate -i FILE -o a.mp4" "generate --keyframe FILE@-1 -o a.mp4" "animate film.mp4 --end-img FILE -o a.mp4"
  "extend FILE --seconds 0.2 -o a.mp4" "edit FILE --mask-box 0,0,8,8 -o a.mp4" "edit film.mp4 --mask FILE -o a.mp4" "stylize FILE -o a.mp4"
  "stylize --control depth=FILE -o a.mp4" "stylize --control flow=FILE -o a.mp4" "sound FILE -o a.mp4" "visualize FILE -o a.mp4"
  "encode FILE -o a.rtok" "decode FILE -o a.mp4" "tokens FILE" "tokens FILE -o b.rtok" "probe FILE" "metadata FILE"
  "generate --from-metadata FILE -o a.mp4" "generate --resume FILE -o a.mp4"
)
for line in "${files[@]}"; do
  for file in nothere empty folder text tone.wav; do
    case "$file $line" in
      "tone.wav visualize"* | "tone.wav encode"* | "tone.wav probe"*) continue ;; # those are right
    esac
    codes="3"
    [ $file = nothere ] && codes="6"
    [ $file = folder ] && codes="3|6"
    [ $file = tone.wav ] && codes="2|3"
    # shellcheck disable=SC2086
    try "$codes" ${line/FILE/$file}
  done
done
# text files
for file in nothere folder; do
  for line in "generate --prompt-file FILE" "generate --prompts-file FILE" "generate --config-file FILE" "serve --api-key-file FILE --port 0"; do
    # shellcheck disable=SC2086
    try "2|3|6" ${line/FILE/$file}
  done
done
# model directories
for dir in nothere empty folder text model; do
  for line in "generate -m DIR -o a.mp4" "extend film.mp4 --seconds 1 -m DIR -o a.mp4" "encode film.mp4 -m DIR -o a.rtok" "info -m DIR" \
    "serve -m DIR --port 0" "convert DIR --weights int8 -o m.conv.DIR" "assemble DIR -o m.asm.DIR" "eval video film.mp4 -m DIR"; do
    # shellcheck disable=SC2086
    try "3|4|6" ${line//DIR/$dir}
  done
done
# numbers
for line in "generate --frames 0" "generate --frames 257" "generate --fps 0" "generate --seconds -1" "generate -W 15" "generate --size 8x8" "generate --size 99999x16" \
  "generate --temp -1" "generate --temp nan" "generate --top-p 0" "generate --top-k -1" "generate --min-p 2" "generate --cfg-scale 31" "generate --seed -2" \
  "generate --seed 1e300" "generate -b 0" "generate -t 99999999" "generate --preview-interval 0" "generate --keyframe film.mp4@x" "generate --keyframe film.mp4@99" \
  "generate --keyframe @1" "extend film.mp4 --seconds 0" "extend film.mp4 --seconds 601" "edit film.mp4 --mask-box 0,0" "edit film.mp4 --mask-box 0,0,99,99" \
  "edit film.mp4 --mask-box 0,0,8,8@9-12" "edit film.mp4 --mask-box 0,0,8,8@2-1" "edit film.mp4 --outpaint 1,2" "edit film.mp4 --outpaint -1,0,0,0" \
  "edit film.mp4 --outpaint 9999,0,0,0" "sound film.mp4 --span 2-1" "sound film.mp4 --span x" "sound film.mp4 --span 0-1" "visualize tone.wav --frames 0" \
  "encode film.mp4 -o a.rtok --start -1" "world -o w --count 0" "world -o w --size 1x1" "world -o w --seed -1" "serve --port 65536" "serve --queue 0" "serve --max-upload 0" \
  "train lm --data folder --out r --steps 0" "train lm --data folder --out r --lr 0" "eval video film.mp4 --limit 0" "eval world film.mp4 --seed -1" "bench -t x"; do
  # shellcheck disable=SC2086
  try 2 $line
done
# unknown words
for verb in generate animate extend edit stylize sound visualize encode decode tokens train assemble convert world serve eval info probe metadata bench completion manual; do
  try 2 $verb --no-such-option
  try 2 $verb -Z
done
for line in "serve x" "manual x" "info x" "completion" "completion zsh" "probe" "probe a b" "metadata" "tokens" "encode" "decode" "train" "train tea --data folder --out r" "eval" \
  "eval tea film.mp4" "convert model" "convert model --weights f9 -o m2" "stylize" "sound" "visualize" "animate" "edit film.mp4" "edit" "extend film.mp4"; do
  # shellcheck disable=SC2086
  try 2 $line
done
# outputs
one="--frames 1 --size 16x16 --no-audio -s 1"
for out in nowhere/a.mp4 folder /proc/1/none/a.mp4; do
  for line in "generate $one -o OUT" "animate film.mp4 $one -o OUT" "encode film.mp4 -o OUT"; do
    # shellcheck disable=SC2086
    try 6 ${line/OUT/$out}
  done
done
try 6 generate $one -o a.gif --save-tokens nowhere/t.rtok
try 6 generate $one -o /dev/full --format mp4
try 6 encode film.mp4 -o /dev/full
try 1 generate -o a.doc
try 1 decode film.mp4 -o a
try 2 generate -o -
try "1|2" generate $one --frames 2 -o a.png
# what does not go together
for line in "generate -p a --prompt-file text" "generate --frames 3 --seconds 2" "generate --prompts-file text -p x" \
  "generate --from-metadata a --resume b" "generate -b 2 -o -" "tokens film.mp4 --cut 0:1" "generate --strict --seconds 0.2"; do
  # shellcheck disable=SC2086
  try "2|3" $line
done
try 2 serve --host 0.0.0.0 --port 0
true
