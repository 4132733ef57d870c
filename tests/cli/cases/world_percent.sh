# stdout: 000000_0000.png 000000_0001.png metadata.jsonl
# A folder's own % are no numbers of pictures.
$reelm world --format png --size 16x16 --frames 2 --no-truth --no-audio -q -o '50%d%' && ls '50%d%' | xargs
