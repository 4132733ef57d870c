# stdout: *3 clips in * a second*
$reelm world --time -c 3 --size 32x32 --frames 2
