# exit: 2
# stderr: *none of video, audio, lm, text
$reelm train images --data . --out run
