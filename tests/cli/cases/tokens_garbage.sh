# exit: 3
# stderr: *bad.rtok*
# stderr: one line
head -c 5000 /dev/urandom >bad.rtok
$reelm decode bad.rtok -o out.mp4
