# exit: 3
# stderr: *fake.mp4*
# stderr: one line
echo "this is no video" >fake.mp4
$reelm encode fake.mp4 -o x.rtok
test ! -e x.rtok || exit 99
exit 3
