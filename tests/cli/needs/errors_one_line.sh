# stdout: nothing
# Whatever goes wrong by a user's hand says one line that names the thing and exits with the code for it.
printf 'no media' >text.mp4
: >empty.mp4
printf '{"format": "reelm"' >broken.json
mkdir folder badmodel
printf '{' >badmodel/config.json
head -c 3000 /dev/urandom >bad.rtok
printf 'width=x\n' >bad.ini
try() { # CODE GLOB ARGUMENTS...
  local want=$1 glob=$2 code
  shift 2
  "$reelm" "$@" >out 2>err </dev/null
  code=$?
  # shellcheck disable=SC2053
  if [ $code -ne "$want" ] || [ "$(grep -c '' err)" -ne 1 ] || [ -s out ] || [[ $(cat err) != reelm:\ $glob ]]; then
    echo "reelm $*: exit $code, expected $want; said:"
    cat err
    cat out
  fi
}
try 2 "*verb*" ""
try 2 "*unknown verb 'gen'*" gen
try 2 "*needs a value (TEXT)" generate -p
try 2 "*unknown option -Z*" generate -Z
try 2 "*'1O' is not a number" generate --frames 1O
try 2 "*is not a whole number" generate --frames 1.5
try 2 "*outside 1 to 256" generate --frames 0
try 2 "*is not WxH*" generate --size 64
try 2 "*outside*" generate --temp 99
try 2 "*one argument too many" generate a.png b.png
try 6 "*nothere.txt*" generate --prompt-file nothere.txt
try 2 "*give one*" generate -p a --prompt-file b
try 6 "*nothere.png*" generate -i nothere.png
try 3 "*text.mp4*" animate text.mp4
try 3 "*empty.mp4*" animate empty.mp4
try 3 "*folder*" animate folder
try 2 "*image is missing*" animate
try 6 "*folder nowhere*" generate -o nowhere/a.mp4
try 6 "*folder*" generate -o folder
try 1 "*known are mp4*" generate -o a.doc
try 2 "*format must be named*" generate -o -
try 6 "*nothere*" generate --prompts-file nothere
try 3 "*holds no prompt" generate --prompts-file empty.mp4
try 2 "*brings the prompts*" generate --prompts-file bad.ini -p x
try 6 "*bad.rtok.json*" generate --from-metadata bad.rtok.json
try 3 "*text.mp4*" metadata text.mp4
try 2 "*give one*" generate --from-metadata a --resume b
try 2 "*usage: reelm extend*" extend text.mp4
try 4 "*badmodel*" info -m badmodel
try 4 "*nomodel*" info -m nomodel
try 4 "*nomodel*" decode bad.rtok -o a.mp4 -m nomodel
try 2 "*FILE.rtok is missing*" encode text.mp4
try 3 "*text.mp4*" encode text.mp4 -o a.rtok
try 2 "*FILE is missing*" decode bad.rtok
try 3 "*bad.rtok*" tokens bad.rtok
try 6 "*nothere.rtok*" tokens nothere.rtok
try 2 "*usage: reelm tokens*" tokens
try 3 "*text.mp4*" probe text.mp4
try 6 "*nothere.mp4*" probe nothere.mp4
try 2 "*none of*" train nothing --out x
try 2 "*--out DIR is missing*" train lm --data folder
try 2 "*--data DIR is missing*" train lm --out x
try 2 "*-o DIR is missing*" world
try 2 "*none of photo, cartoon, pencil, neon" world --style oil -o x
try 2 "*-o MODEL_DIR is missing*" assemble folder
try 2 "*known is bash" completion zsh
try 2 "*bad.ini:1: width: 'x' is not a number" generate --config-file bad.ini
try 6 "*nothere.ini*" generate --config-file nothere.ini
try 2 "*none of auto, on, json, off" generate --progress=loud
try 2 "*takes no value*" generate --json=maybe
true
