# stdout: *2 clips*
$reelm world -s 3 -c 2 --size 64x48 --frames 4 -o made/here || exit 1
for n in 000003 000004; do
  for kind in mp4 wav control.mp4 depth.npy flow.npy mask.npy; do
    [ -s made/here/$n.$kind ] || exit 1
  done
done
[ "$(wc -l <made/here/metadata.jsonl)" -eq 2 ] || exit 1
[ "$(wc -c <made/here/000003.depth.npy)" -eq $((128 + 4 * 4 * 64 * 48)) ]
