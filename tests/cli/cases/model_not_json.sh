# exit: 4
# stderr: *config.json*
# stderr: one line
mkdir m
echo "{" >m/config.json
$reelm info -m m
