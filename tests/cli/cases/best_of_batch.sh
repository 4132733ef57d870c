# stdout: *out-1.mp4: chosen of seeds 7 to 8, *out-2.mp4: chosen of seeds 9 to 10, *
# Clips of a batch try seeds of their own.
$reelm generate -p "a red ball" --frames 1 --no-audio -s 7 -b 2 --best-of 2 -o out.mp4
