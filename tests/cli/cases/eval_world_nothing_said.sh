# exit: 2
# stderr: *nothing of the playground is said*
$reelm world -s 4 -c 1 --size 32x32 --frames 2 --no-truth -q -o made || exit 1
$reelm eval world made/000004.mp4 -p "waves on a beach"
