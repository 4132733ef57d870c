# stdout: nothing
# An option that a verb could not follow is not one of its options; settings that hold it still serve.
for line in "edit --frames" "edit --seconds" "sound --frames" "sound --seconds" "sound --no-audio" "extend --frames"; do
  # shellcheck disable=SC2086
  $reelm $line 3 >out 2>err
  [ $? -eq 2 ] && grep -qE 'belongs to|unknown option' err || echo "reelm $line: $(cat err)"
  ! $reelm ${line% *} --help | grep -qE -- "(^|[ ,])${line#* }( |,|$)" || echo "help of $line"
done
$reelm world -c 1 --size 16x16 --frames 3 --no-truth -q -o w || exit 99
$reelm edit w/000000.mp4 --mask-box 0,0,4,4 -q -s 1 -o a.mp4 || exit 98
printf 'frames = 9\nsize = 64x64\n' >c.ini
$reelm edit w/000000.mp4 --from-metadata a.mp4 -q --config-file c.ini --size 16x16 -o b.mp4 || exit 97
$reelm sound w/000000.mp4 -q -s 1 --config-file c.ini -o s.mp4 && $reelm sound w/000000.mp4 -q --from-metadata s.mp4 -o t.mp4 || exit 96
