# exit: 2
# stderr: *none of video, audio, lm
$reelm train images --data . --out run
