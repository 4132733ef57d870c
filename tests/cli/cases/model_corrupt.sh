# exit: 4
# stderr: *video.safetensors*sha256*
# stderr: one line
cp -r "$model" m
chmod -R u+w m
printf 'x' | dd of=m/video.safetensors bs=1 seek=100000 conv=notrunc 2>/dev/null
$reelm info -m m
