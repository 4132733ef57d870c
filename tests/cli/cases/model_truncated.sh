# exit: 4
# stderr: *lm.safetensors*
# stderr: one line
cp -r "$model" m
chmod -R u+w m
truncate -s 1000 m/lm.safetensors
$reelm generate -m m -o out.mp4
