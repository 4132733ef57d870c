# stderr: nothing
# What takes less than ten seconds says nothing where nobody watches; --progress off never does.
$reelm generate --frames 1 --size 32x32 --no-audio -s 1 -q -o a.gif && $reelm generate --frames 1 --size 32x32 --no-audio -s 1 --progress off -o a.gif
