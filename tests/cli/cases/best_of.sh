# stdout: *chosen of seeds 3 to 5, shows * of 3 facts*same tokens*
# The clip that is kept is that of its seed alone, its tokens and settings with it; nothing else stays.
$reelm generate -p "a red ball" --frames 1 --no-audio -s 3 --best-of 3 -o best.mp4 --save-tokens best.rtok || exit 1
[ "$(ls | wc -l)" -eq 2 ] || exit 1
seed=$($reelm metadata best.mp4 | awk '$1 == "seed" { print $2 }')
[ "$seed" -ge 3 ] && [ "$seed" -le 5 ] || exit 1
$reelm generate --from-metadata best.mp4 -o alone.mp4 --save-tokens alone.rtok || exit 1
$reelm metadata alone.mp4 | grep -q chosen && exit 1
cmp best.rtok alone.rtok && echo same tokens
