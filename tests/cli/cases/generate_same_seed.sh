# stdout: *same
a=$($reelm generate -p "a ball" --frames 5 -s 3 -q --save-tokens a.rtok -o a.mp4 && sha256sum <a.rtok)
b=$($reelm generate -p "a ball" --frames 5 -s 3 -q --save-tokens b.rtok -o b.mp4 && sha256sum <b.rtok)
test -n "$a" -a "$a" = "$b" && echo same
