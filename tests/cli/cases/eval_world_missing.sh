# exit: 6
# stderr: *nowhere.safetensors*
# stderr: one line
$reelm eval world --judge nowhere.safetensors --count 1
