# stdout: *wide: bf16 weights*small: int8 weights*same for any team*light: decoders in int8*same codes*
# A model with int8 weights is smaller, keeps its tokenizers, and draws the same for any team; one
# with 8-bit decoders is smaller still and encodes to the same codes.
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
$reelm convert "$model" --decoders int8 -o light
cmp "$model/lm.safetensors" light/lm.safetensors
for part in video audio; do
  [ "$(stat -c %s light/$part.safetensors)" -lt "$(($(stat -c %s "$model/$part.safetensors") * 9 / 10))" ]
done
for m in "$model" light; do
  $reelm encode 1.mp4 -m "$m" -q -o codes.rtok
  $reelm tokens codes.rtok -q -o "$(basename "$m").npy"
done
cmp "$(basename "$model").npy" light.npy
$reelm decode codes.rtok -m light -q -o again.mp4
echo "same codes"
