# stdout: *bits_per_second*level 1:*
$reelm eval audio --world 1 --levels 2 >out.txt 2>/dev/null || exit 1
[ "$(grep -c '^level' out.txt)" -eq 2 ] || exit 1
cat out.txt
