# stdout: nothing
# Two inputs or sizes given are one too many.
try() {
  $reelm "$@" >out 2>err
  [ $? -eq 2 ] && [ "$(grep -c '' err)" -eq 1 ] && grep -q 'give one' err || {
    echo "reelm $*"
    cat err
  }
}
try animate p.png -i q.png -o a.mp4
try edit a.mp4 --init-video b.mp4 --mask-box 0,0,8,8 -o c.mp4
try extend a.mp4 --init-video b.mp4 --seconds 1 -o c.mp4
try generate --size 64x64 -W 96
try world --size 64x64 -H 96 -o w
