# exit: 1
# stderr: *list:1: 'weights' holds for the whole batch*list:2: 'from-metadata' holds*2 of 2 clips failed*
# What the model is opened with cannot differ from clip to clip.
printf '{"weights": "int8"}\n{"from_metadata": "a.mp4"}\n' >list
$reelm generate --prompts-file list -o 'x%d.gif'
