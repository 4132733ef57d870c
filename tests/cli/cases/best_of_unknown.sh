# exit: 2
# stderr: one line
# stderr: *names nothing that the judge knows*
$reelm generate -p "waves on a beach" --best-of 4 -o out.mp4
