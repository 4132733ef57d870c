# What may be given several times is all kept; a stronger source replaces a weaker one's.
printf 'keyframe = f.png@1\nkeyframe = g.png@2\n' >c.ini
keys() {
  $reelm generate --config-file c.ini "$@" --print-config | sed -n 's/^keyframe = //p' | tr '\n' ' '
}
[ "$(keys)" = "f.png@1 g.png@2 " ] || exit 99
export REELM_KEYFRAME=e.png@3
[ "$(keys)" = "e.png@3 " ] || exit 98
[ "$(keys --keyframe a.png@4 --keyframe=b.png@5)" = "a.png@4 b.png@5 " ] || exit 97
