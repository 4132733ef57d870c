# All that the world makes is the same; how H.264 rounds it is the encoder's matter.
$reelm world -q -c 3 --size 48x48 --frames 3 --format png -t 1 -o one &&
  $reelm world -q -c 3 --size 48x48 --frames 3 --format png -t 2 -o two &&
  diff -r -x '*.mp4' one two
