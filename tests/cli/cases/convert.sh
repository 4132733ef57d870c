# stdout: *wide: bf16 weights*small: int8 weights*same for any team*
# A model with int8 weights is smaller, keeps its tokenizers, and draws the same for any team.
set -e
$reelm convert "$model" --weights bf16 -o wide
$reelm convert wide --weights int8 -o small
cmp "$model/video.safetensors" small/video.safetensors
cmp "$model/audio.safetensors" small/audio.safetensors
[ "$(stat -c %s small/lm.safetensors)" -lt "$(($(stat -c %s wide/lm.safetensors) * 2 / 3))" ]
for t in 1 2; do
  $reelm generate -m small -p ball --size 32x32 --frames 5 --no-audio -s 3 --temp 0 -t $t -q \
    --cache-type int8 --save-tokens $t.rtok -o $t.mp4
done
cmp 1.rtok 2.rtok
echo "same for any team"
