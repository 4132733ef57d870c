# exit: 4
# stderr: *SqueezeNet v1.1 is expected*
$reelm eval video --world 1 --perceptual "$model/audio.safetensors"
