# stdout: nothing
# What can be known of names and options is said before the model is opened.
try() { # CODE GLOB ARGUMENTS...
  local want=$1 glob=$2
  shift 2
  timeout 20 $reelm "$@" -m nomodel >out 2>err
  code=$?
  # shellcheck disable=SC2053
  [ $code -eq "$want" ] && [ ! -s out ] && [ "$(grep -c '' err)" -eq 1 ] && [[ $(cat err) == $glob ]] || {
    echo "reelm $*: exit $code"
    cat err
  }
}
touch film.mp4
try 2 "*sound alone*" generate --no-audio -o x.wav
try 2 "*sound alone*" generate --no-audio -o - --format flac
try 2 "*several are made*" generate --frames 5 -o f.png
try 2 "*several are made*" generate --frames 5 -o seqx_%s.png
try 2 "*exactly one %d*" generate --frames 5 -o seqx_%d_%d.png
try 2 "*one picture*" generate -o - --format png --frames 5
try 6 "*nodir*" generate -o a.mp4 --preview-path nodir/p.png
try 1 "*p.doc*" generate -o a.mp4 --preview-path p.doc
try 6 "*nodir*" generate -o a.mp4 --save-tokens nodir/t
try 6 "*nodir*" encode film.mp4 -o nodir/x
try 2 "*name it FILE.rtok" encode film.mp4 -o x.mp4
try 2 "*name it FILE.rtok" encode film.mp4 -o X.WEBM
[ ! -s film.mp4 ] || echo written
