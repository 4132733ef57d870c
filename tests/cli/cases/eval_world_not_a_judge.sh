# exit: 4
# stderr: *is not the weights of a judge*
# stderr: one line
$reelm eval world --judge $model/video.safetensors --count 1
