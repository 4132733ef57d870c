# stdout: *"prompt":[[:space:]]"two"*"width":[[:space:]]48,*"height":[[:space:]]16,*"frames":[[:space:]]4,*
# With --from-metadata what is said on the command line wins, under whichever name it is said.
printf '{"mode":"generate","prompt":"one","seed":7,"width":32,"height":32,"frames":1,"seconds":0.125}' >old.json
echo two >words.txt
$reelm generate --from-metadata old.json --size 48x16 --seconds 0.5 --prompt-file words.txt \
  --no-audio --dry-run --json -o b.mp4
