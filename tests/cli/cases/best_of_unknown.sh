# exit: 2
# stderr: *--best-of has no effect*names nothing that the judge knows*--best-of has no effect*
# stdout: *out.mp4: *seed 4*
# Where the judge cannot choose, one clip is made and it is said; --strict refuses.
$reelm generate -p "waves on a beach" --best-of 4 --frames 1 --no-audio -s 4 -o out.mp4 || exit 1
$reelm generate -p "waves on a beach" --best-of 4 --strict -o out.mp4
